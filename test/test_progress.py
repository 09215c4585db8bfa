from __future__ import annotations

import dataclasses
import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.search import progress
from espnet_topdown.search.progress import Progress, run_and_show
from espnet_topdown.search.request import Search, SearchRequest

STATE = {
    "epoch": 12,
    "max_epoch": 40,
    "seconds_per_epoch": 10.0,
    "eta_seconds": 280,
    "valid": {"cer_ctc": 0.311},
}


def write(folder, node, **changes):
    (folder / node).mkdir()
    (folder / node / "progress.json").write_text(json.dumps({**STATE, **changes}))


def test_one_line_for_all_running_jobs(tmp_path):
    write(tmp_path, "m1.4")
    write(tmp_path, "control.warm", epoch=3, valid={}, eta_seconds=80)
    shown = Progress(tmp_path)
    assert shown.line(["m1.4", "control.warm"], left=2) == (
        "m1.4 epoch 12/40, valid CER 31.1 %, 5 min left | control.warm epoch 3/40, "
        "80 s left | search: at most about 11 min left"
    )


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_display_never_fails(tmp_path, text):
    (tmp_path / "m1.4").mkdir()
    (tmp_path / "m1.4" / "progress.json").write_text(text)
    assert Progress(tmp_path).line(["m1.4"]) == ""


def test_the_same_line_is_not_repeated(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "INTERVAL_S", 0.0)
    caplog.set_level(logging.INFO)
    write(tmp_path, "exp")
    shown = Progress(tmp_path)
    shown.show(["exp"])
    shown.show(["exp"])
    assert caplog.text.count("exp epoch 12/40") == 1


@pytest.mark.parametrize("status", [0, 3])
def test_the_launchers_status_comes_back(tmp_path, status):
    code = f"import sys; print('here'); sys.exit({status})"
    got = run_and_show(
        [sys.executable, "-c", code], tmp_path / "log", tmp_path / "exp", "", "local"
    )
    assert got == status
    assert "here" in (tmp_path / "log").read_text()


def made_up(seconds: float = 36.0, n: int = 5, **options: object) -> Search:
    request = SearchRequest(Path("exp"), Path("out"), **options)
    spans = {1: {"train": {"time": seconds - 6}, "valid": {"time": 6.0}}}
    base = SimpleNamespace(folder=Path("exp"), stats=spans, config={"max_epoch": 100})
    return Search(request, base, None, SimpleNamespace(n=n), None)


@pytest.mark.parametrize(
    "options, count",
    [
        ({}, 4),
        ({"strategy": "full"}, 15),
        ({"strategy": "full", "controls": ("joint", "warm")}, 17),
        ({"controls": ("bottom_up",)}, 8),
        ({"strategy": "epoch", "epochs": (5, 9)}, 3),
    ],
)
def test_trainings_are_counted(options: dict, count: int) -> None:
    assert made_up(**options).most_trainings == count


def test_hours(tmp_path: Path) -> None:
    asked = made_up(strategy="full", max_jobs=5)
    assert progress._hours(asked) == ", hours unknown"
    asked.base.folder = tmp_path
    (tmp_path / "checkpoint.pth").touch()
    assert progress.seconds_per_epoch(asked.base) == 36.0
    three = ", at most about 3.0 hours of training"  # 15 / 5 x 100 x 36 s
    assert progress._hours(asked) == three
    request = dataclasses.replace(asked.request, max_epoch=10)
    asked = dataclasses.replace(asked, request=request)
    assert progress._hours(asked) == ", at most about 18 minutes of training"


def test_more_than_expected_needs_a_yes() -> None:
    with pytest.raises(TopDownError, match="E_BUDGET.*15 trainings.*is 9.*--yes true"):
        progress.check_budget(made_up(strategy="full", max_jobs_total=9))
    progress.check_budget(made_up(strategy="full", max_jobs_total=9, yes=True))
    progress.check_budget(made_up(strategy="full", max_jobs_total=15))
