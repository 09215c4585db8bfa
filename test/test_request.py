"""What may be asked of a search, and what is refused before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet_topdown.errors import TopDownError

pytestmark = pytest.mark.espnet  # reads the option names of ESPnet's trainer
OUT = Path("exp/search")


@pytest.mark.parametrize(
    "change",
    [{"strategy": "full"}, {"criterion": "wer"}, {"max_frozen": 1}, {"max_epoch": 9}],
)
def test_another_request_may_not_use_the_folder(search, change):
    search({"m3": 50, "m1.2": 60})
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED") as e:
        search({"m3": 50, "m1.2": 60}, **change)
    assert e.value.status == 78


@pytest.mark.parametrize(
    "options, message",
    [
        ({"strategy": "gredy"}, "--search gredy is unknown .nearest: greedy"),
        ({"criterion": "loss"}, "give one of auto, cer, wer, ter"),
        ({"controls": ("jont",)}, "nearest: joint"),
        ({"max_frozen": -1}, "--max_frozen -1 is negative"),
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
