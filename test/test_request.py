"""What may be asked of a search, and what is refused before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet_topdown.cli._fsck import fsck
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_yaml, sha256
from espnet_topdown.records import Journal
from espnet_topdown.search import request

pytestmark = pytest.mark.espnet  # reads the option names of ESPnet's trainer
OUT = Path("exp/search")


@pytest.mark.parametrize(
    "change",
    [
        {"fix_eval_dropout": True},
        {"strategy": "full"},
        {"criterion": "wer"},
        {"max_frozen": 1},
        {"max_epoch": 9},
        {"controls": ()},
        {"max_frozen": 1, "controls": ("joint", "warm")},  # narrower, and wider
    ],
)
def test_another_request_may_not_use_the_folder(search, change):
    errors = {"m3": 50, "m1.2": 60}
    search(errors, controls=("warm",))
    before = (OUT / "search.yaml").read_bytes()
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED") as e:
        search(errors, **{"controls": ("warm",), **change})
    assert e.value.status == 78
    assert (OUT / "search.yaml").read_bytes() == before


@pytest.mark.parametrize(
    "options, message",
    [
        ({"strategy": "gredy"}, "--search gredy is unknown .nearest: greedy"),
        ({"criterion": "loss"}, "give one of auto, cer, wer, ter"),
        ({"controls": ("jont",)}, "nearest: joint"),
        ({"max_frozen": -1}, "--max_frozen -1 is negative"),
        ({"max_frozen": 3}, "--max_frozen 3: there are 3 layers.*give 2 or less"),
    ],
)
def test_unknown_words(search, options, message):
    with pytest.raises(TopDownError, match=message):
        search({}, **options)


def test_more_trainings_than_expected_need_a_yes(search):
    with pytest.raises(TopDownError, match="E_BUDGET.*3 trainings.*is 2.*--yes"):
        search({}, strategy="full", max_jobs_total=2)
    assert not (OUT / "journal.jsonl").exists()
    errors = {"m3": 5, "m1.2": 4, "m2.1": 3, "m1.1.1": 6}
    result, _ = search(errors, strategy="full", max_jobs_total=2, yes=True)
    assert result["best"] == "m2.1"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"strategy": "epoch"}, "needs --epochs"),
        ({"epochs": (3,)}, "--epochs has no meaning"),
        ({"strategy": "full", "budget": 3}, "--budget has no meaning"),
        ({"strategy": "beam", "width": 0}, "--width"),
        ({"reinit": "shrink:0.4"}, "give full, random, keep"),
        ({"criterion": "ppl"}, "E_RANGE.*is of kind 'asr'"),
    ],
)
def test_options_that_do_not_go_together(search, options, message):
    with pytest.raises(TopDownError, match=message):
        search({}, **options)


@pytest.mark.parametrize("name, value", [("halving", "2:8"), ("proxy", "0.25")])
def test_a_folder_of_an_option_that_was_removed_is_not_continued(search, name, value):
    errors = {"m3": 50, "m1.2": 60}
    search(errors)
    with (OUT / "search.yaml").open("a") as f:
        f.write(f"{name}: '{value}'\n")
    with pytest.raises(TopDownError, match="E_VERSION.*0.1.0") as e:
        search(errors)
    assert e.value.status == 78


ERRORS = {"m3": 50, "m1.2": 40, "m2.1": 35, "m1.1.1": 30}
JOINT = ("joint",)


def trained_files() -> dict[Path, bytes]:
    """What a retraining leaves, without what its display and its log say."""
    names = ("retrain.yaml", "train.yaml", "score.json", ".done")
    return {p: p.read_bytes() for n in names for p in OUT.glob(f"m*/{n}")}


@pytest.mark.parametrize(
    "first, then, new",
    [
        ({"max_frozen": 1}, {"max_frozen": 2}, ["m1.1.1"]),
        ({"max_frozen": 1}, {}, ["m1.1.1"]),
        ({}, {"controls": ("warm",)}, ["control.warm"]),
        ({"max_frozen": 1}, {"controls": ("warm",)}, ["control.warm", "m1.1.1"]),
        (
            {"strategy": "full", "max_frozen": 1},
            {"strategy": "full"},
            ["m1.1.1", "m2.1"],
        ),
        (
            {"strategy": "beam", "width": 1, "max_frozen": 1, "budget": 1},
            {"strategy": "beam", "width": 2},
            ["m1.1.1", "m2.1"],
        ),
    ],
)
def test_a_wider_request_continues_the_narrower_ones_folder(search, first, then, new):
    search(ERRORS, **first)
    before, asked = trained_files(), (OUT / "search.yaml").read_bytes()
    result, calls = search(ERRORS, **then)
    assert sorted(calls) == new, "nothing is trained twice"
    assert {p: trained_files()[p] for p in before} == before
    assert result["best"] == "m1.1.1" and set(new) <= set(result["nodes"])
    assert (OUT / "search.yaml").read_bytes() != asked
    events = Journal(OUT / "journal.jsonl").events()
    (wider,) = [e for e in events if e["event"] == "search_widened"]
    assert wider["request"] == sha256(OUT / "search.yaml")
    _, calls = search(ERRORS, **then)
    assert calls == [], "and the same request again does nothing"
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED"):
        search(ERRORS, **first)
    fake = "E_REINIT_SAME"  # its weights are the base's
    assert [f for f in fsck(OUT).problems if fake not in f] == []


def test_a_wider_request_lets_control_joint_train_on(search):
    search(ERRORS, max_frozen=1, controls=JOINT)
    joint = OUT / "control.joint" / "train.yaml"
    assert read_yaml(joint)["max_epoch"] == 4 + 4
    _, calls = search(ERRORS, controls=JOINT)
    assert calls == ["m1.1.1", "control.joint"]
    assert read_yaml(joint)["max_epoch"] == 4 + 4 + 4


@pytest.mark.parametrize("when", ["before search.yaml", "after search.yaml"])
def test_killed_while_it_was_widened(search, monkeypatch, when):
    """The journal speaks first: either request then continues, and none is finished."""
    search(ERRORS, max_frozen=1)

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    name = "write_yaml" if when == "before search.yaml" else "put_aside"
    with monkeypatch.context() as m:
        m.setattr(request, name, killed)
        with pytest.raises(KeyboardInterrupt):
            search(ERRORS)
    result, calls = search(ERRORS)
    assert (calls, result["best"]) == (["m1.1.1"], "m1.1.1")


def test_a_wider_request_needs_a_yes_too(search):
    search(ERRORS, max_frozen=1)
    with pytest.raises(TopDownError, match="E_BUDGET"):
        search(ERRORS, max_jobs_total=1)
    search(ERRORS, max_jobs_total=1, max_frozen=1)


def test_dropout_at_test_time_can_be_fixed(search):
    """Every retraining, and every score of the base, has the encoder without it."""
    search({"m3": 50, "m1.2": 60}, fix_eval_dropout=True)
    assert read_yaml(OUT / "search.yaml")["fix_eval_dropout"] is True
    for node in ("m3", "m1.2"):
        assert read_yaml(OUT / node / "retrain.yaml")["fix_eval_dropout"] is True
    assert read_yaml(OUT / "m1.2" / "train.yaml")["encoder"] == "td_rnn"
    search({"m3": 50, "m1.2": 60}, fix_eval_dropout=True)  # continued


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
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED.*stack_sha256"):
        search(errors, stack="mine.yaml")
