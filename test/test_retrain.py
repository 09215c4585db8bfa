from __future__ import annotations

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

JOB = Path("exp/job")


def spec(base: Path, frozen=("softmax",), **options) -> RetrainSpec:
    options.setdefault("frozen_from", base / "4epoch.pth")
    options.setdefault("seed", 1000)
    return RetrainSpec.make(Experiment(base), "job", frozen, **options)


def trained(folder: Path, base: Path, change: dict | None = None) -> None:
    """What a trainer would leave: frozen as before, everything else new."""
    weights = rnn_weights(seed=7)
    weights.update(load_weights(folder / "frozen.pth"))
    weights.update(change or {})
    write_experiment(folder, weights)


def test_the_plan_sums_to_the_model(toy_experiment):
    planned = plan(spec(toy_experiment))
    assert sum(planned.sizes.values()) == sum(w.numel() for w in rnn_weights().values())
    table = planned.table(spec(toy_experiment))
    assert "softmax" in table and "12 frozen" in table and "24 re-initialised" in table
    table = planned.table(spec(toy_experiment, reinit="keep"))
    assert "24 by keep" in table and "re-initialised" not in table


def test_layers_may_come_from_another_experiments_best_epoch(toy_experiment):
    other = write_experiment(Path("exp/other"), rnn_weights(seed=3))
    by_hand = spec_by_hand(toy_experiment, "softmax", frozen_from=other)
    assert by_hand.frozen_from == other / "valid.loss.best.pth"
    tokens = ["<blank>", "<unk>", "b", "a", "<sos/eos>"]
    swapped = write_experiment(Path("exp/swap"), rnn_weights(), token_list=tokens)
    with pytest.raises(TopDownError, match="E_TOKENS_CHANGED.*line 3"):
        plan(spec_by_hand(toy_experiment, "softmax", frozen_from=swapped))


def test_the_plan_writes_nothing(toy_experiment):
    before = sorted(Path().rglob("*"))
    plan(spec(toy_experiment))
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    "frozen, options, message",
    [
        (["softmaks"], {}, "E_FREEZE_NOMATCH.*nearest: softmax"),
        (["softmax", "blstm1", "blstm0"], {}, "E_FREEZE_ALL"),
        (["blstm0"], {}, "E_FREEZE_ORDER"),
        (["softmax"], {"seed": -1}, "E_CONFIG_KEY: seed -1: .*NumPy takes 0 to"),
        (["softmax"], {"seed": 2**32 - 1}, "E_CONFIG_KEY: seed 4294967295"),
    ],
)
def test_what_is_refused(toy_experiment, frozen, options, message):
    with pytest.raises(TopDownError, match=message) as e:
        plan(spec(toy_experiment, frozen, **options))
    assert e.value.status == 78


def test_freeze_lowest_is_possible_when_asked_for(toy_experiment):
    planned = plan(spec(toy_experiment, ["blstm0"], any_order=True))
    assert all("0" in n for n in planned.frozen_params)


def test_layers_of_another_model(toy_experiment):
    other = write_experiment(Path("exp/other"), rnn_weights(seed=3))
    prepare(spec(toy_experiment, frozen_from=other / "4epoch.pth"), JOB)
    want = rnn_weights(seed=3)["ctc.ctc_lo.bias"]
    assert torch.equal(load_weights(JOB / "frozen.pth")["ctc.ctc_lo.bias"], want)


def test_another_token_order_is_refused(toy_experiment):
    tokens = ["<blank>", "<unk>", "b", "a", "<sos/eos>"]
    other = write_experiment(Path("exp/other"), rnn_weights(), token_list=tokens)
    with pytest.raises(TopDownError, match="E_TOKENS_CHANGED.*first in line 3") as e:
        plan(spec(toy_experiment, frozen_from=other / "4epoch.pth"))
    assert e.value.status == 65


def test_another_size_is_refused(toy_experiment):
    weights = {n: torch.zeros(5, 2) for n in rnn_weights()}
    torch.save(weights, "wide.pth")
    with pytest.raises(TopDownError, match=r"E_SHAPE_MISMATCH.*\(3, 2\).*\(5, 2\)"):
        plan(spec(toy_experiment, frozen_from=Path("wide.pth")))


@pytest.mark.espnet
class TestJobFolder:
    """prepare, then verify."""

    def test_frozen_file_holds_the_frozen_tensors_only(self, toy_experiment):
        prepare(spec(toy_experiment), JOB)
        frozen = load_weights(JOB / "frozen.pth")
        assert set(frozen) == {"ctc.ctc_lo.weight", "ctc.ctc_lo.bias"}

    def test_preparing_twice_changes_nothing(self, toy_experiment):
        prepare(spec(toy_experiment), JOB)
        before = {p: p.read_bytes() for p in JOB.iterdir()}
        prepare(spec(toy_experiment), JOB)
        assert {p: p.read_bytes() for p in JOB.iterdir()} == before

    def test_another_job_may_not_use_the_folder(self, toy_experiment):
        prepare(spec(toy_experiment), JOB)
        with pytest.raises(TopDownError, match="E_CONFIG_CHANGED.*frozen"):
            prepare(spec(toy_experiment, ["softmax", "blstm1"]), JOB)

    def test_a_run_is_made_longer_never_shorter(self, toy_experiment):
        prepare(spec(toy_experiment), JOB)
        for asked, got in [(9, 9), (5, 9)]:
            extend(JOB, asked)
            assert read_yaml(JOB / "train.yaml")["max_epoch"] == got

    def test_frozen_that_stayed_is_verified(self, toy_experiment):
        prepare(spec(toy_experiment), JOB)
        trained(JOB, toy_experiment)
        assert verify(JOB) == ["exp/job/4epoch.pth"]

    @pytest.mark.parametrize(
        "change, message",
        [
            ({"ctc.ctc_lo.bias": torch.zeros(3, 2)}, "E_FROZEN_CHANGED.*ctc_lo.bias"),
            ("as_base", "E_REINIT_SAME.*layer blstm1"),
        ],
    )
    def test_what_verify_finds(self, toy_experiment, change, message):
        prepare(spec(toy_experiment), JOB)
        if change == "as_base":
            base = rnn_weights()
            change = {n: base[n] for n in base if "1" in n}
        trained(JOB, toy_experiment, change)
        with pytest.raises(TopDownError, match=message) as e:
            verify(JOB)
        assert e.value.status == 70

    def test_a_layer_that_never_moved_under_the_same_seed(self, toy_experiment, caplog):
        """Both begin with the same values: equal layers do not prove a copy."""
        base = rnn_weights()
        prepare(spec(toy_experiment, seed=0), JOB)
        trained(JOB, toy_experiment, {n: base[n] for n in base if "1" in n})
        verify(JOB)
        assert "W_REINIT_SAME: exp/job/4epoch.pth: layer blstm1 equals" in caplog.text

    def test_one_changed_bit_in_one_epoch_file_is_found(self, toy_experiment):
        prepare(spec(toy_experiment), JOB)
        trained(JOB, toy_experiment)
        weights = load_weights(JOB / "4epoch.pth")
        value = weights["ctc.ctc_lo.weight"]
        value.view(torch.int32)[0, 0] ^= 1
        torch.save(weights, JOB / "3epoch.pth")
        with pytest.raises(TopDownError, match="E_FROZEN_CHANGED.*3epoch.pth"):
            verify(JOB)

    def test_no_epoch_was_trained(self, toy_experiment):
        prepare(spec(toy_experiment), JOB)
        trained(JOB, toy_experiment)
        for path in JOB.glob("*epoch.pth"):
            path.unlink()
        with pytest.raises(TopDownError, match="E_NO_EPOCH: no epoch file in") as e:
            verify(JOB)
        assert e.value.status == 70

    def test_a_changed_frozen_file_is_found(self, toy_experiment):
        prepare(spec(toy_experiment), JOB)
        trained(JOB, toy_experiment)
        torch.save({n: w + 1 for n, w in rnn_weights().items()}, JOB / "frozen.pth")
        with pytest.raises(TopDownError, match="E_DIGEST"):
            verify(JOB)


PRETRAINED = Path("pretrained.pth")


@pytest.mark.espnet
class TestWhatTheBaseFrozeOrBeganWith:
    """Its freeze_param and init_param go on in every retraining of it."""

    def base(self, **config):
        return write_experiment(Path("exp/own"), rnn_weights(), **config)

    @pytest.fixture
    def pretrained(self, toy_experiment):
        other = rnn_weights(seed=5)
        kept = {f"enc.{n[12:]}": other[n] for n in other if "0.birnn" in n}
        torch.save(kept, PRETRAINED)
        return {n: other[n] for n in other if "0.birnn" in n}

    def test_a_frozen_layer_stays_frozen(self, toy_experiment):
        base = self.base(freeze_param=["encoder.enc.0.birnn0", "encoder.enc.0.bt0"])
        for options in ({}, {"trainable": True}):
            made = spec(base, **options)
            table = plan(made).table(made)
            assert re.search(r"blstm0 +12 +frozen in the base +exp/own/valid", table)
        prepare(spec(base), JOB)
        train, held = read_yaml(JOB / "train.yaml"), load_weights(JOB / "frozen.pth")
        assert [n for n in train["freeze_param"] if "0" in n] == [
            "encoder.enc.0.birnn0.weight_ih_l0",
            "encoder.enc.0.bt0.weight",
        ]
        assert torch.equal(
            held["encoder.enc.0.bt0.weight"], rnn_weights()["encoder.enc.0.bt0.weight"]
        )
        trained(JOB, base)
        verify(JOB)
        weights = load_weights(JOB / "4epoch.pth")
        weights["encoder.enc.0.bt0.weight"] += 1
        torch.save(weights, JOB / "3epoch.pth")
        with pytest.raises(TopDownError, match="E_FROZEN_CHANGED.*bt0"):
            verify(JOB)

    def test_a_frozen_part_of_a_layer(self, toy_experiment):
        made = spec(self.base(freeze_param="encoder.enc.0.bt1"))
        table = plan(made).table(made)
        assert re.search(r"blstm1 +12 +new +seed 1000; 6 frozen in the base", table)
        assert "18 frozen" in table and "18 trained" in table

    def test_it_is_no_layer_to_freeze_and_leaves_something_to_train(self, search):
        base = self.base(freeze_param=["encoder.enc.0.birnn0", "encoder.enc.0.bt0"])
        with pytest.raises(TopDownError, match="E_FREEZE_NOMATCH.*in the base"):
            plan(spec(base, ["softmax", "blstm1", "blstm0"]))
        with pytest.raises(TopDownError, match="E_FREEZE_ALL"):
            plan(spec(base, ["softmax", "blstm1"]))

    def test_a_pretrained_layer_begins_at_that_again(self, pretrained):
        entry = f"{PRETRAINED}:enc:encoder.enc"
        base = self.base(init_param=[entry])
        prepare(spec(base), JOB)
        start = load_weights(JOB / "start.pth")
        assert start.keys() == pretrained.keys()
        assert all(torch.equal(start[n], pretrained[n]) for n in start)
        train = read_yaml(JOB / "train.yaml")
        assert train["init_param"] == ["exp/job/frozen.pth", "exp/job/start.pth"]
        table = plan(spec(base)).table(spec(base))
        assert f"seed 1000; 6 from {PRETRAINED} (init_param)" in table
        whole = spec_by_hand(base, "softmax", reinit="random")
        assert str(PRETRAINED) not in plan(whole).table(whole)
        assert plan(whole).initial == {}

    def test_another_file_is_another_job(self, pretrained):
        base = self.base(init_param=[f"{PRETRAINED}:enc:encoder.enc"])
        prepare(spec(base), JOB)
        PRETRAINED.write_bytes(PRETRAINED.read_bytes() + b" ")
        with pytest.raises(TopDownError, match="E_C"):
            prepare(spec(base), JOB)

    def test_a_file_that_is_gone(self, toy_experiment):
        base = self.base(init_param=["gone.pth"])
        with pytest.raises(TopDownError, match="E_MISSING.*init_param names gone.pth"):
            plan(spec(base))
        plan(spec(base, reinit="random"))


MINE = """\
layers:
- {name: out, params: ['ctc\\.']}
- {name: rest, params: ['encoder\\.']}
"""


@pytest.mark.espnet
class TestStackFile:
    """A stack of the user's own belongs to the folder that was made with it."""

    @pytest.fixture
    def job(self, toy_experiment):
        Path("mine.yaml").write_text(MINE)
        made = self.by_hand(toy_experiment)
        prepare(made, JOB)
        trained(JOB, toy_experiment)
        return toy_experiment

    def by_hand(self, base, stack="mine.yaml"):
        return spec_by_hand(base, "out", stack=stack, folder=JOB)

    def test_it_may_move(self, job):
        Path("mine.yaml").rename("elsewhere.yaml")
        verify(JOB)
        prepare(self.by_hand(job), JOB)
        assert (JOB / "stack.yaml").read_text() == MINE

    def test_another_text_is_another_job(self, job):
        Path("mine.yaml").write_text(MINE.replace("rest", "body"))
        with pytest.raises(TopDownError, match="E_CONFIG_CHANGED.*stack_sha256|reinit"):
            prepare(self.by_hand(job), JOB)

    def test_another_name_is_unknown(self, job):
        with pytest.raises(TopDownError, match="E_STACK"):
            self.by_hand(job, "other.yaml")

    def test_the_folders_text_is_the_one_it_was_made_with(self, job):
        (JOB / "stack.yaml").write_text(MINE + "# more\n")
        with pytest.raises(TopDownError, match="E_DIGEST: .*stack.yaml"):
            verify(JOB)


@pytest.mark.espnet
class TestOldFolder:
    """Prepared before folders carried their stack: it stands there by name."""

    @pytest.fixture
    def old(self, toy_experiment):
        prepare(spec(toy_experiment), JOB)
        trained(JOB, toy_experiment)
        (JOB / "stack.yaml").unlink()
        job = read_yaml(JOB / "retrain.yaml")
        del job["stack_sha256"]
        return job

    def test_it_is_read_and_continued(self, toy_experiment, old):
        write_yaml(JOB / "retrain.yaml", old)
        assert verify(JOB) == ["exp/job/4epoch.pth"]
        prepare(spec(toy_experiment), JOB)

    @pytest.mark.parametrize(
        "change", [{"layers": {"softmax": 11, "blstm1": 25}}, {"stack": "mine"}]
    )
    def test_not_where_the_stack_is_another_one_now(self, old, change):
        write_yaml(JOB / "retrain.yaml", {**old, **change})
        with pytest.raises(TopDownError, match="E_VERSION: .*is not what it was"):
            verify(JOB)


def test_by_hand_is_as_in_a_search(toy_experiment):
    made = spec_by_hand(toy_experiment, "softmax,blstm1")
    assert made.frozen == ("softmax", "blstm1")
    assert made.seed == 1000
    assert made.frozen_from == toy_experiment / "valid.loss.best.pth"


@pytest.mark.parametrize(
    "path, message",
    [
        ("exp/B", "E_EXP: no ESPnet experiment in exp/B.*stage 11"),
        ("exp/B/3epoch.pth", "E_CKPT_MISSING: no file exp/B/3epoch.*train exp/B first"),
        ("exp/B/harvest/9.pth", "E_CKPT_MISSING.*train exp/B with --harvest LAYER"),
    ],
)
def test_a_model_that_is_not_trained_yet(toy_experiment, path, message):
    with pytest.raises(TopDownError, match=message) as e:
        spec_by_hand(toy_experiment, "softmax", Path(path))
    assert e.value.status == 66


def test_layer_table(toy_experiment):
    table = layer_table(toy_experiment).splitlines()
    assert [line.split()[1] for line in table[1:4]] == ["softmax", "blstm1", "blstm0"]
    assert "36" in table[4]
