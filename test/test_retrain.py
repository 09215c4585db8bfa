"""One retraining: planned, prepared, verified; nothing is trained here."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from toys import rnn_weights, write_experiment

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_yaml, write_yaml
from espnet_topdown.jobs.plan import layer_table, plan
from espnet_topdown.jobs.prepare import extend, prepare
from espnet_topdown.jobs.spec import RetrainSpec, spec_by_hand
from espnet_topdown.jobs.verify import verify
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.weights import load_weights

pytestmark = pytest.mark.espnet  # reads the option names of ESPnet's trainer
JOB = Path("exp/job")
PRETRAINED = Path("pretrained.pth")
OTHER = Path("exp/other/4epoch.pth")
LOWEST = ["encoder.enc.0.birnn0", "encoder.enc.0.bt0"]
BEGUN = [f"{PRETRAINED}:enc:encoder.enc"]
CLASSIFIER = ["ctc.ctc_lo.weight", "ctc.ctc_lo.bias"]
BT0, BIRNN0 = "encoder.enc.0.bt0.weight", "encoder.enc.0.birnn0.weight_ih_l0"
LOWEST_FROZEN = {"config": {"freeze_param": LOWEST}}


@pytest.fixture
def files(toy_experiment) -> None:
    """Another model, one of another size, one for a start."""
    other = rnn_weights(seed=3)
    write_experiment(Path("exp/other"), other)
    torch.save({n: torch.zeros(5, 9) for n in other}, "wide.pth")
    torch.save({f"enc.{BIRNN0[12:]}": other[BIRNN0]}, PRETRAINED)


def spec(frozen="softmax", config=None, **options) -> RetrainSpec:
    """Of exp/joint, or of a base with another config."""
    base = Path("exp/joint")
    if config:
        base = write_experiment(Path("exp/own"), rnn_weights(), **config)
    options.setdefault("frozen_from", base / "4epoch.pth")
    options.setdefault("seed", 1000)
    return RetrainSpec.make(Experiment(base), "job", frozen.split(), **options)


def trained(change: dict | None = None) -> None:
    """What a trainer would leave: frozen as before, everything else new."""
    weights = rnn_weights(seed=7)
    weights.update(load_weights(JOB / "frozen.pth"))
    write_experiment(JOB, {**weights, **(change or {})})


@pytest.mark.parametrize(
    "frozen, options, rows",
    [
        ("softmax", {}, ["softmax .*frozen", "15 frozen", "24 re-initialised"]),
        ("softmax", {"reinit": "keep"}, ["24 by keep"]),
        ("blstm0", {"any_order": True}, [r"blstm0 +12 +frozen", r"softmax +15 +new"]),
        ("softmax", {"frozen_from": OTHER}, [f"frozen +{OTHER}"]),
        ("softmax", LOWEST_FROZEN, [r"blstm0 +12 +frozen in the base +exp/own/valid"]),
        (
            "softmax",
            {**LOWEST_FROZEN, "trainable": True},
            [r"softmax +15 +copied", r"blstm0 +12 +frozen in the base"],
        ),
        (
            "softmax",
            {"config": {"freeze_param": "encoder.enc.0.bt1"}},
            ["blstm1 .*new +seed 1000; 6 frozen in the base", "21 fro", "18 trained"],
        ),
        (
            "softmax",
            {"config": {"init_param": BEGUN}},
            [rf"seed 1000; 6 from {PRETRAINED} \(init_param\)"],
        ),
        ("softmax", {"config": {"init_param": ["gone"]}, "reinit": "random"}, ["new"]),
    ],
)
def test_what_is_planned(files, frozen, options, rows):
    made = spec(frozen, **options)
    before = sorted(Path().rglob("*"))
    planned = plan(made)
    assert sorted(Path().rglob("*")) == before, "a plan writes nothing"
    every = sum(w.numel() for w in rnn_weights().values())
    assert sum(planned.layers.sizes.values()) == every
    table = planned.table(made)
    assert all(re.search(row, table) for row in rows), table
    assert ("re-initialised" in table) == (made.reinit != "keep")


@pytest.mark.parametrize(
    "frozen, options, message, status",
    [
        ("softmaks", {}, "E_FREEZE_NOMATCH.*nearest: softmax", 78),
        ("softmax", {"seed": -1}, "E_CONFIG_KEY: seed -1: .*NumPy takes 0 to", 78),
        ("softmax", {"seed": 2**32 - 1}, "E_CONFIG_KEY: seed 4294967295", 78),
        (
            "softmax",
            {"frozen_from": Path("wide.pth")},
            r"E_SHAPE_MISMATCH.*\(5, 2\).*\(5, 9\)",
            65,
        ),
        ("softmax blstm1 blstm0", LOWEST_FROZEN, "E_FREEZE_NOMATCH.*in the base", 78),
        ("softmax blstm1", LOWEST_FROZEN, "E_FREEZE_ALL", 78),
        ("softmax", {"config": {"freeze_param": ["encoder"]}}, "E_FREEZE_ALL.*mor", 78),
        ("softmax", {"config": {"init_param": ["gone.pth"]}}, "E_MISSING.*gone.pt", 66),
    ],
)
def test_what_cannot_be_planned(files, frozen, options, message, status):
    with pytest.raises(TopDownError, match=message) as e:
        plan(spec(frozen, **options))
    assert e.value.status == status


@pytest.mark.parametrize("epochs", [20, 2000])
def test_the_seed_that_is_proposed_shares_nothing(files, epochs, caplog):
    near = spec(config={"seed": 21000, "max_epoch": epochs}, seed=21001)
    plan(near)
    assert "W_SEED_OVERLAP: seeds 21000 and 21001 share" in caplog.text
    proposed = int(caplog.text.split("e.g. ")[1].split()[0])
    caplog.clear()
    plan(dataclasses.replace(near, seed=proposed))
    assert "W_SEED_OVERLAP" not in caplog.text


@pytest.mark.parametrize(
    "options, frozen, start",
    [
        ({}, dict.fromkeys(CLASSIFIER, 0), {}),
        ({"frozen_from": OTHER}, dict.fromkeys(CLASSIFIER, 3), {}),
        (LOWEST_FROZEN, dict.fromkeys([*CLASSIFIER, BT0, BIRNN0], 0), {}),
        (
            {"config": {"init_param": BEGUN}},
            dict.fromkeys(CLASSIFIER, 0),
            {BIRNN0: 3},
        ),
    ],
)
def test_the_files_of_a_job(files, options, frozen, start):
    """Tensor -> the seed of the model that it is from."""
    made = spec(**options)
    prepare(made, JOB)
    wanted = {"frozen.pth": frozen, **({"start.pth": start} if start else {})}
    for name, tensors in wanted.items():
        values = load_weights(JOB / name)
        assert set(values) == set(tensors)
        assert all(
            torch.equal(values[n], rnn_weights(seed=s)[n]) for n, s in tensors.items()
        )
    train = read_yaml(JOB / "train.yaml")
    assert train["init_param"] == [f"exp/job/{name}" for name in wanted]
    assert set(train["freeze_param"]) == set(frozen)
    before = {p: p.read_bytes() for p in JOB.iterdir()}
    prepare(made, JOB)
    assert {p: p.read_bytes() for p in JOB.iterdir()} == before
    trained()
    assert verify(JOB) == ["exp/job/4epoch.pth"]


def test_kept_values_are_of_the_model_that_supplies_the_frozen_layers(files):
    prepare(spec_by_hand(Path("exp/joint"), "softmax", OTHER, reinit="keep"), JOB)
    kept = load_weights(JOB / "frozen.pth") | load_weights(JOB / "start.pth")
    assert kept.keys() == rnn_weights().keys()
    assert all(torch.equal(kept[n], w) for n, w in rnn_weights(seed=3).items())


def test_another_job_may_not_use_the_folder(files):
    made = spec(config={"init_param": BEGUN})
    prepare(made, JOB)
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED.*frozen"):
        prepare(dataclasses.replace(made, frozen=("softmax", "blstm1")), JOB)
    PRETRAINED.write_bytes(PRETRAINED.read_bytes() + b" ")
    with pytest.raises(TopDownError, match="E_C"):
        prepare(made, JOB)


def test_a_run_is_made_longer_never_shorter(toy_experiment):
    prepare(spec(), JOB)
    for asked, got in [(9, 9), (5, 9)]:
        extend(JOB, asked)
        assert read_yaml(JOB / "train.yaml")["max_epoch"] == got


def test_killed_while_it_was_made_longer(toy_experiment, monkeypatch):
    prepare(spec(), JOB)

    def killed(*args):
        write_yaml(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr("espnet_topdown.jobs.prepare.write_yaml", killed)
        extend(JOB, 9)
    extend(JOB, 9)
    for name in ("train", "retrain"):
        assert read_yaml(JOB / f"{name}.yaml")["max_epoch"] == 9


AS_BASE = {n: t for n, t in rnn_weights().items() if "1" in n}


def one_bit() -> None:
    weights = load_weights(JOB / "4epoch.pth")
    weights["ctc.ctc_lo.weight"].view(torch.int32)[0, 0] ^= 1
    torch.save(weights, JOB / "3epoch.pth")


def no_epoch() -> None:
    (JOB / "4epoch.pth").unlink()


def another_file() -> None:
    torch.save({n: w + 1 for n, w in rnn_weights().items()}, JOB / "frozen.pth")


@pytest.mark.parametrize(
    "change, spoil, message, status",
    [
        ({BT0: torch.zeros(3, 2)}, None, "E_FROZEN_CHANGED.*bt0", 70),
        (AS_BASE, None, "E_REINIT_SAME.*layer blstm1", 70),
        ({}, one_bit, "E_FROZEN_CHANGED.*3epoch.pth", 70),
        ({}, no_epoch, "E_NO_EPOCH: no epoch file in", 70),
        ({}, another_file, "E_DIGEST", 65),
    ],
)
def test_what_verify_finds(toy_experiment, change, spoil, message, status):
    prepare(spec(**LOWEST_FROZEN), JOB)
    trained(change)
    if spoil:
        spoil()
    with pytest.raises(TopDownError, match=message) as e:
        verify(JOB)
    assert e.value.status == status


def test_a_layer_that_never_moved_under_the_same_seed(toy_experiment, caplog):
    """Both begin with the same values: equal layers do not prove a copy."""
    prepare(spec(seed=0), JOB)
    trained(AS_BASE)
    verify(JOB)
    assert "W_REINIT_SAME: exp/job/4epoch.pth: layer blstm1 equals" in caplog.text


MINE = """\
layers:
- {name: out, params: ['ctc\\.']}
- {name: rest, params: ['encoder\\.']}
"""


def by_hand() -> RetrainSpec:
    return spec_by_hand(Path("exp/joint"), "out", stack="mine.yaml", folder=JOB)


def test_a_stack_file_belongs_to_the_folder_that_was_made_with_it(toy_experiment):
    Path("mine.yaml").write_text(MINE)
    prepare(by_hand(), JOB)
    trained()
    Path("mine.yaml").write_text(MINE.replace("rest", "body"))
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED.*stack_sha256|reinit"):
        prepare(by_hand(), JOB)
    Path("mine.yaml").unlink()  # it may move
    verify(JOB)
    prepare(by_hand(), JOB)
    (JOB / "stack.yaml").write_text(MINE + "# more\n")
    with pytest.raises(TopDownError, match="E_DIGEST: .*stack.yaml"):
        verify(JOB)


@pytest.mark.parametrize(
    "change", [{"layers": {"softmax": 11, "blstm1": 25}}, {"stack": "mine"}]
)
def test_a_folder_older_than_stack_files(toy_experiment, change):
    """It names its stack: taken where that still gives the same layers."""
    prepare(spec(), JOB)
    trained()
    (JOB / "stack.yaml").unlink()
    job = read_yaml(JOB / "retrain.yaml")
    del job["stack_sha256"]
    write_yaml(JOB / "retrain.yaml", job)
    assert verify(JOB) == ["exp/job/4epoch.pth"]
    prepare(spec(), JOB)
    write_yaml(JOB / "retrain.yaml", {**job, **change})
    with pytest.raises(TopDownError, match="E_VERSION: .*is not what it was"):
        verify(JOB)


@pytest.mark.parametrize(
    "source, file",
    [
        (None, "exp/joint/valid.loss.best.pth"),
        ("exp/other", "exp/other/valid.loss.best.pth"),
        (str(OTHER), str(OTHER)),
        ("exp/B", "E_EXP: no ESPnet experiment in exp/B.*recipe's folder"),
        ("exp/B/3epoch.pth", "E_CKPT_MISSING: no file exp/B/3epoch.*train exp/B first"),
        ("exp/B/harvest/9.pth", "E_CKPT_MISSING.*train exp/B with --harvest LAYER"),
    ],
)
def test_a_retraining_by_hand(files, source, file):
    call = (Path("exp/joint"), "softmax,blstm1", source and Path(source))
    if file.startswith("E_"):
        with pytest.raises(TopDownError, match=file) as e:
            spec_by_hand(*call)
        assert e.value.status == 66
        return
    made = spec_by_hand(*call)
    assert (made.frozen, made.seed) == (("softmax", "blstm1"), 1000)
    assert made.frozen_from == Path(file)


def test_layer_table(toy_experiment):
    table = layer_table(toy_experiment).splitlines()
    assert [line.split()[1] for line in table[1:4]] == ["softmax", "blstm1", "blstm0"]
    assert "39" in table[4]
