"""A search from its request to its result; only the training is made up.

What may be asked, what follows from it, what is refused before anything is written,
and how the same or a wider request continues a folder.
"""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from toys import rnn_weights, write_experiment

from espnet_topdown.cli._fsck import fsck
from espnet_topdown.cmd import places
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_yaml, sha256, write_yaml
from espnet_topdown.models.weights import load_weights, save_weights
from espnet_topdown.records import Journal
from espnet_topdown.search import driver, request

pytestmark = pytest.mark.espnet  # reads the option names of ESPnet's trainer
OUT = Path("exp/search")
WORSE = {"m3": 50, "m1.2": 60}
BETTER = {"m3": 50, "m1.2": 40, "m1.1.1": 30}
EVERY = {"m3": 50, "m1.2": 40, "m2.1": 35, "m1.1.1": 30}
EPOCH_2 = {"strategy": "epoch", "epochs": (2,)}
SHARED = {"cmd": "", "ngpu": 1, "max_jobs": 2, "jobs_per_gpu": 2}


def events() -> list[dict]:
    return Journal(OUT / "journal.jsonl").events()


@pytest.fixture
def harvest(toy_experiment) -> dict:
    """The classifier after the second epoch of joint training."""
    weights = load_weights(toy_experiment / "4epoch.pth")
    classifier = {n: t + 1 for n, t in weights.items() if n.startswith("ctc.")}
    (toy_experiment / "harvest").mkdir()
    save_weights(classifier, toy_experiment / "harvest" / "2.pth")
    return classifier


@pytest.mark.parametrize(
    "errors, options, best",
    [
        (BETTER, {}, "m1.1.1"),
        ({"m3": 50, "m1.2": 40, "m1.1.1": 41}, {}, "m1.2"),
        (WORSE, {}, "m3"),
        ({"m3": 50, "m1.2": 50, "m1.1.1": 50}, {}, "m1.1.1"),
        (EVERY, {"strategy": "full", "max_jobs": 3}, "m1.1.1"),
        ({**WORSE, "m1.2@2": 30}, {**EPOCH_2, "max_jobs": 2}, "m1.2@2"),
    ],
)
def test_a_search(search, harvest, errors, options, best):
    result, calls = search(errors, **options)
    assert result["best"] == best == os.readlink(OUT / "best")
    assert json.loads((OUT / "result.json").read_text()) == result
    assert {n: v["errors"] for n, v in result["nodes"].items()} == errors
    assert sorted(calls) == sorted(errors)
    if not options:
        assert calls == list(errors)
        steps = ("started", "trained", "scored")
        story = [(step, name) for name in errors for step in steps]
        story = [("search_open", None), *story, ("search_done", None)]
        assert [(e["event"], e.get("node")) for e in events()] == story


FIRST = {
    "seed": 1000,
    "init_param": ["exp/search/m1.2/frozen.pth"],
    "freeze_param": ["ctc.ctc_lo.weight", "ctc.ctc_lo.bias"],
    "max_epoch": 4,
}
JOINT_MODEL = "exp/joint/valid.loss.best.pth"
FROM_JOINT = {"frozen": ["softmax"], "frozen_from": JOINT_MODEL}
M12_MODEL = "exp/search/m1.2/valid.loss.best.pth"
FROM_M12 = {"frozen": ["softmax", "blstm1"], "frozen_from": M12_MODEL}
FROM_EPOCH_2 = {"frozen_from": "exp/joint/harvest/2.pth"}
STARTED = {"init_param": [f"exp/search/m1.2/{n}.pth" for n in ("frozen", "start")]}
KEPT, REWOUND = {"start": "keep"}, {"start": "rewind:4"}
NO_DROPOUT = {"fix_eval_dropout": True}  # in every retraining and the base's score


@pytest.mark.parametrize(
    "options, wanted",
    [
        ({}, {"m1.2/train": FIRST, "m1.2/retrain": FROM_JOINT}),
        ({}, {"m1.1.1/train": {"seed": 3000}, "m1.1.1/retrain": FROM_M12}),
        ({"retrain_seed": "same"}, {"m1.2/train": {"seed": 0}}),
        ({"max_epoch": 2}, {"m1.2/train": {"max_epoch": 2}}),
        (EPOCH_2, {"m1.2@2/train": {"seed": 1000}, "m1.2@2/retrain": FROM_EPOCH_2}),
        ({"reinit": "keep"}, {"m1.2/train": STARTED, "m1.2/retrain": KEPT}),
        ({"reinit": "rewind:4"}, {"m1.2/train": STARTED, "m1.2/retrain": REWOUND}),
        ({"reinit": "shrink:0.4,0.1"}, {"m1.2/train": STARTED}),
        (NO_DROPOUT, {"m1.2/train": {"encoder": "td_rnn"}, "m1.2/retrain": NO_DROPOUT}),
        (NO_DROPOUT, {"m3/retrain": NO_DROPOUT}),
    ],
)
def test_what_is_trained(search, harvest, options, wanted):
    search({**BETTER, "m1.2@2": 30}, **options)
    for name, entries in wanted.items():
        written = read_yaml(OUT / f"{name}.yaml")
        assert {k: written[k] for k in entries} == entries
    assert "required" not in read_yaml(OUT / "m1.2" / "train.yaml")
    if options == EPOCH_2:
        frozen = load_weights(OUT / "m1.2@2" / "frozen.pth")
        assert all((frozen[n] == harvest[n]).all() for n in harvest)
    if reinit := options.get("reinit"):
        start = load_weights(OUT / "m1.2" / "start.pth")
        base = load_weights(Path(JOINT_MODEL))
        assert set(start) == {n for n in base if n.startswith("encoder.")}
        same = all((start[n] == base[n]).all() for n in start)
        assert same == (not reinit.startswith("shrink"))


STATUS = {"E_CLUSTER_CMD": 76, "E_HARVEST": 66}  # others: 78


@pytest.mark.parametrize(
    "options, message",
    [
        ({"strategy": "gredy"}, "--search gredy is unknown .nearest: greedy"),
        ({"criterion": "loss"}, "give one of auto, cer, wer, ter"),
        ({"criterion": "ppl"}, "E_RANGE.*is of kind 'asr'"),
        ({"controls": ("jont",)}, "nearest: joint"),
        ({"max_frozen": -1}, "--max_frozen -1 is negative"),
        ({"max_frozen": 3}, "--max_frozen 3: there are 3 layers.*give 2 or less"),
        ({"strategy": "epoch"}, "needs --epochs"),
        ({"epochs": (3,)}, "--epochs has no meaning"),
        ({"strategy": "epoch", "epochs": (3,)}, "E_HARVEST.*epoch 3; it has 4"),
        ({"strategy": "full", "budget": 3}, "--budget has no meaning"),
        ({"strategy": "beam", "width": 0}, "--width"),
        ({"width": 3}, "--width has no meaning in --search greedy"),
        ({"steps": (1, 3)}, "--steps 3: there are 3 layers.*give 2 or less"),
        ({"reinit": "shrink:0.4"}, "give full, random, keep"),
        ({"strategy": "full", "max_jobs_total": 2}, "E_BUDGET.*3 .*is 2.*--yes"),
        ({"cmd": "", "cmd_backend": "slurm"}, "E_CLUSTER_CMD: there is no 'sbatch'"),
        ({"cmd": "no_such.pl"}, "E_CLUSTER_CMD.*'no_such.pl'"),
        ({"cmd": "", "ngpu": 1}, "E_GPU: 1 GPUs"),
        ({"jobs_per_gpu": 0}, "--jobs_per_gpu 0 is not between 1 and --max_jobs 1"),
        ({"jobs_per_gpu": 2}, "--jobs_per_gpu 2 is not between 1 and --max_jobs 1"),
        ({**SHARED, "ngpu": 0}, "E_GPU.*a training has --ngpu 0. Do: give --ngpu 1"),
        ({**SHARED, "ngpu": 2}, "E_GPU.*a training has --ngpu 2"),
        ({**SHARED, "ngpu": None}, "E_GPU.*a training has --ngpu 0"),
        (SHARED, "E_GPU: 1 GPUs are asked for, this machine shows 0"),
        ({**SHARED, "cmd_backend": "slurm"}, "E_GPU: --jobs_per_gpu 2.*a job that"),
        ({"base_exp": Path("exp/lm"), "stack": "lm_awd_lstm"}, "E_NOT_CONV.*3 of 9"),
        ({"stack": "all.yaml"}, "E_STACK: layer stack all has one layer"),
    ],
)
def test_what_is_refused_before_it_begins(search, monkeypatch, options, message):
    names = ("lm.out.weight", "lm.rnns.0.weight", "lm.rnns.1.weight")
    lm = dict(zip(names, rnn_weights().values()))
    more = {"max_epoch": 9, "lm": "awd_lstm", "model": "continuous"}
    write_experiment(Path("exp/lm"), lm, epochs=3, **more)
    layers = [{"name": "all", "params": [""]}]
    write_yaml(Path("all.yaml"), {"about": "", "task": "asr", "layers": layers})
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(TopDownError, match=message) as e:
        search({}, **options)
    assert e.value.status == STATUS.get(e.value.code, 78)
    assert not OUT.exists()


def test_a_finished_search_does_nothing(search):
    first, _ = search(BETTER, controls=("joint",))
    before = {p: p.stat().st_mtime_ns for p in OUT.rglob("*") if p.name != "lock"}
    again, calls = search(BETTER, controls=("joint",))
    assert calls == [] and again == first
    after = {p: p.stat().st_mtime_ns for p in OUT.rglob("*") if p.name != "lock"}
    assert after == before


def test_a_failed_job_is_named_and_the_same_command_continues(search):
    with pytest.raises(TopDownError, match="E_JOB_FAILED.*m1.2.*train.log") as e:
        search({"m3": 50, "m1.2": "fail"})
    assert e.value.status == 70
    assert not (OUT / "result.json").exists()
    result, calls = search({"m3": 50, "m1.2": 40, "m1.1.1": 60})
    assert calls == ["m1.2", "m1.1.1"], "the finished m3 is not done again"
    assert result["best"] == "m1.2"


@pytest.fixture
def one_gpu(monkeypatch, tmp_path, fake_cmd) -> Callable[[str], None]:
    """A GPU whose free memory (MiB) stands in a file; jobs that take 3584 MiB of it."""
    smi = f"#!/bin/sh\necho ask >> {tmp_path}/asked; cat {tmp_path}/free\n"
    (tmp_path / "nvidia-smi").write_text(smi)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(places, "_ASK_S", 0.0)
    monkeypatch.setattr(driver, "python_module", lambda name: shlex.split(fake_cmd))

    def has(free: str) -> None:
        (tmp_path / "free").write_text(free)

    return has


TWICE = ["started", "failed", "started"]


@pytest.mark.parametrize(
    "free, words, at_once, of_m12",
    [
        ("3584", "meet", 2, ["started"]),
        ("3583", "", 1, ["started"]),  # others fill the GPU
        ("9999", "meet, m1.2 beside", 2, TWICE),
        ("9999", "meet, m1.2 always", 2, [*TWICE, "failed"]),
        ("3583", "m1.2 always", 1, ["started", "failed"]),
    ],
)
def test_jobs_that_share_a_gpu(
    search, one_gpu, monkeypatch, tmp_path, capfd, free, words, at_once, of_m12
):
    one_gpu(free)
    monkeypatch.setenv("FAKE_GPU", words)
    if of_m12[-1] == "failed":
        with pytest.raises(TopDownError, match="E_JOB_FAILED: m1.2 failed"):
            search(EVERY, strategy="full", **SHARED)
    else:
        assert search(EVERY, strategy="full", **SHARED)[0]["best"] == "m1.1.1"
    ran = [line.split() for line in (tmp_path / "gpu").read_text().splitlines()]
    assert max(int(count) for _, count, _ in ran) == at_once
    assert {gpu for *_, gpu in ran} == {"3"}
    story = [e["event"] for e in events() if e.get("node") == "m1.2"]
    assert [step for step in story if step in TWICE] == of_m12
    again = [int(count) for name, count, _ in ran if name == "m1.2"]
    assert again[1:] == [1] * (of_m12.count("started") - 1)
    err = capfd.readouterr().err
    if at_once == 1:  # until an epoch has shown the memory, or because of it
        assert "GPU 3: another training waits, " in err
    else:
        assert "3584 MiB must be free" not in err


def test_a_search_goes_on_with_more_jobs_on_a_gpu(search, one_gpu, monkeypatch):
    search(EVERY, strategy="full", max_frozen=1)
    one_gpu("9999")
    monkeypatch.setenv("FAKE_GPU", "")
    assert search(EVERY, strategy="full", **SHARED)[0]["best"] == "m1.1.1"


def test_a_changed_validation_set_is_no_comparison(search):
    search(BETTER, max_frozen=1)
    score = OUT / "m1.2" / "score.json"
    score.write_text(score.read_text().replace('"utts": 10', '"utts": 9'))
    (OUT / "result.json").unlink()
    with pytest.raises(TopDownError, match="E_EVAL_SET"):
        search(BETTER, max_frozen=1)


@pytest.mark.parametrize("max_jobs, first", [(1, ["m3"]), (3, ["m3", "m1.2", "m2.1"])])
def test_the_joint_model_is_scored_beside_the_first_retrainings(
    search, max_jobs, first
):
    """They do not depend on its error, but nothing is compared before it is there."""
    search({**EVERY, "m1.2": 51}, strategy="full", max_jobs=max_jobs)
    order = [(e["event"], e.get("node")) for e in events()]
    scored = [node for event, node in order if event == "scored"]
    before = order[: order.index(("scored", "m3"))]
    assert scored[0] == "m3"
    assert [node for event, node in before if event == "started"] == first


REFUSED = "E_CONFIG_CHANGED"


@pytest.mark.parametrize(
    "change, edited, message",
    [
        ({"fix_eval_dropout": True}, "", REFUSED),
        ({"reinit": "keep"}, "", REFUSED),
        ({"strategy": "full"}, "", REFUSED),
        ({"max_frozen": 1}, "", REFUSED),
        ({"max_epoch": 9}, "", REFUSED),
        ({"controls": ()}, "", REFUSED),
        ({"max_frozen": 1, "controls": ("joint", "warm")}, "", REFUSED),  # and wider
        ({}, "exp/joint/config.yaml: # edited", "exp/joint/config.yaml has changed"),
        ({}, "exp/search/search.yaml: halving: '2:8'", "E_VERSION.*0.1.0"),
        ({}, "exp/search/search.yaml: proxy: '0.25'", "E_VERSION.*0.1.0"),
    ],
)
def test_another_request_may_not_use_the_folder(search, change, edited, message):
    search(WORSE, controls=("warm",))
    if edited:
        file, _, line = edited.partition(": ")
        with Path(file).open("a") as f:
            f.write(line + "\n")
    before = (OUT / "search.yaml").read_bytes()
    with pytest.raises(TopDownError, match=message) as e:
        search(WORSE, **{"controls": ("warm",), **change})
    assert e.value.status == 78
    assert (OUT / "search.yaml").read_bytes() == before


def trained_files() -> dict[Path, bytes]:
    """What a retraining leaves, without what its display and its log say."""
    names = ("retrain.yaml", "train.yaml", "score.json", ".done")
    return {p: p.read_bytes() for n in names for p in OUT.glob(f"m*/{n}")}


NARROW = {"strategy": "beam", "width": 1, "max_frozen": 1, "budget": 1}
FULL, JOINT = {"strategy": "full"}, {"controls": ("joint",)}


@pytest.mark.parametrize(
    "first, then, new",
    [
        ({"max_frozen": 1}, {"max_frozen": 2}, ["m1.1.1"]),
        ({"max_frozen": 1}, {}, ["m1.1.1"]),
        ({}, {"controls": ("warm",)}, ["control.warm"]),
        ({}, {"controls": ("warm", "lowest")}, ["control.lowest", "control.warm"]),
        ({"max_frozen": 1}, {"controls": ("warm",)}, ["control.warm", "m1.1.1"]),
        ({**JOINT, "max_frozen": 1}, JOINT, ["control.joint", "m1.1.1"]),  # goes on
        ({**FULL, "max_frozen": 1}, FULL, ["m1.1.1", "m2.1"]),
        (NARROW, {"strategy": "beam", "width": 2}, ["m1.1.1", "m2.1"]),
    ],
)
def test_a_wider_request_continues_the_narrower_ones_folder(search, first, then, new):
    search(EVERY, **first)
    before, asked = trained_files(), (OUT / "search.yaml").read_bytes()
    result, calls = search(EVERY, **then)
    assert sorted(calls) == new, "nothing is trained twice"
    assert {p: trained_files()[p] for p in before} == before
    assert result["best"] == "m1.1.1" and set(new) <= set(result["nodes"])
    assert (OUT / "search.yaml").read_bytes() != asked
    (wider,) = [e for e in events() if e["event"] == "search_widened"]
    assert wider["request"] == sha256(OUT / "search.yaml")
    then = {**then, "controls": tuple(reversed(then.get("controls", ())))}
    _, calls = search(EVERY, **then)
    assert calls == [], "and the same request again does nothing"
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED"):
        search(EVERY, **first)
    fake = "E_REINIT_SAME"  # its weights are the base's
    assert [f for f in fsck(OUT).problems if fake not in f] == []


def test_a_candidates_folder_that_is_somebody_elses(search):
    (OUT / "m1.2").mkdir(parents=True)
    (OUT / "m1.2" / "config.yaml").write_text("mine")
    with pytest.raises(TopDownError, match="E_CREATE: .*m1.2.config.yaml is there"):
        search(BETTER)
    assert [p.name for p in (OUT / "m1.2").iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("errors, most", [(EVERY, 1), (WORSE, 2)])
def test_what_will_not_run_is_not_counted_as_time_left(
    search, monkeypatch, errors, most
):
    """Finished controls; retrainings below a rejected one."""
    search(errors, max_frozen=most, controls=("warm",))
    left, run_jobs = [], driver.run_jobs

    def polled(*args, on_poll, **options):
        on_poll()
        return run_jobs(*args, on_poll=on_poll, **options)

    monkeypatch.setattr(driver, "run_jobs", polled)
    monkeypatch.setattr(driver.ProgressLine, "show", lambda *args: left.append(args[2]))
    search(errors, max_frozen=most, controls=("warm", "restart"))
    assert left == [0], "what runs is the last"


@pytest.mark.parametrize(
    "place, name", [(os, "replace"), (request, "write_yaml"), (driver._Driver, "run")]
)
def test_killed_while_it_was_widened(search, monkeypatch, place, name):
    """The journal speaks first, then the result goes: the same request continues."""
    search(EVERY, max_frozen=1)

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(place, name, killed)
        with pytest.raises(KeyboardInterrupt):
            search(EVERY)
    assert (OUT / "result.json").exists() == (place is os)
    result, calls = search(EVERY)
    assert (calls, result["best"]) == (["m1.1.1"], "m1.1.1")


def test_a_wider_request_loses_no_model(search, harvest):
    errors = {**WORSE, "m1.2@2": 45, "m1.2@4": 30}
    search(errors, strategy="epoch", epochs=(4,), budget=2)
    result, calls = search(errors, strategy="epoch", epochs=(2, 4), budget=2)
    assert calls == ["m1.2@2"], "the budget ends before epoch 4"
    assert result["best"] == "m1.2@4"


def test_a_wider_request_is_refused_before_it_begins(search):
    search(WORSE)
    asked = (OUT / "search.yaml").read_bytes()
    with pytest.raises(TopDownError, match="E_CLUSTER_CMD"):
        search(WORSE, cmd="no_such.pl", controls=("warm",))
    assert (OUT / "search.yaml").read_bytes() == asked


def test_a_wider_request_needs_a_yes_too(search):
    search(EVERY, max_frozen=1)
    with pytest.raises(TopDownError, match="E_BUDGET"):
        search(EVERY, max_jobs_total=1)
    search(EVERY, max_jobs_total=1, max_frozen=1)
    assert search(EVERY, max_jobs_total=1, yes=True)[0]["best"] == "m1.1.1"


STACK = """\
layers:
- {name: out, params: ['ctc\\.']}
- {name: high, params: ['encoder\\.enc\\.0\\.\\w+1\\.']}
- {name: low, params: ['encoder\\.enc\\.0\\.\\w+0\\.']}
"""


def test_a_stack_file_that_moves_while_the_search_is_interrupted(search):
    Path("mine.yaml").write_text(STACK)
    with pytest.raises(TopDownError, match="E_JOB_FAILED"):
        search({"m3": 50, "m1.2": "fail"}, stack="mine.yaml")
    Path("mine.yaml").rename("elsewhere.yaml")
    errors = {"m3": 50, "m1.2": 40, "m1.1.1": 60}
    result, calls = search(errors, stack="mine.yaml")
    assert calls == ["m1.2", "m1.1.1"] and result["best"] == "m1.2"
    assert (OUT / "m1.2" / "stack.yaml").read_text() == STACK
    Path("mine.yaml").write_text(STACK + "# another text\n")
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED: layer stack mine has"):
        search(errors, stack="mine.yaml")
