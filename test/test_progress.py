from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from espnet_topdown.search import progress
from espnet_topdown.search.progress import ProgressLine, run_and_show
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


@pytest.mark.parametrize(
    "running, left, says",
    [
        (
            ["m1.4", "control.warm"],
            2,
            "m1.4 epoch 12/40, valid CER 31.1 %, 5 min left | control.warm epoch 3/40, "
            "80 s left | search: about 12 min left",
        ),
        (
            ["control.warm"],
            0,
            "control.warm epoch 3/40, 80 s left | search: about 2 min",
        ),
        (["empty", "torn", "list", "none"], 2, ""),  # a display never fails
    ],
)
def test_one_line_for_all_running_jobs(tmp_path, running, left, says):
    write(tmp_path, "m1.4")
    write(tmp_path, "control.warm", epoch=3, valid={}, eta_seconds=80)
    for name, text in (("empty", ""), ("torn", "{"), ("list", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "progress.json").write_text(text)
    line = ProgressLine(tmp_path).line(running, left)
    assert line.startswith(says) and bool(line) == bool(says)


def test_the_same_line_is_not_repeated(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "INTERVAL_S", 0.0)
    caplog.set_level(logging.INFO)
    write(tmp_path, "exp")
    shown = ProgressLine(tmp_path)
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
    "options, count, time",
    [
        ({}, 4, "about 4.0 hours"),  # 4 x 100 x 36 s, and 5 jobs of half a minute
        ({"max_epoch": 1, "max_frozen": 1}, 1, "about 2 minutes"),
        ({"max_epoch": 1, "max_frozen": 1, "max_jobs": 9}, 1, "about 1 minute"),
        ({"strategy": "full", "max_jobs": 5}, 15, "about 3.0 hours"),
        ({"strategy": "full", "controls": ("joint", "warm")}, 17, "about 21.1 hours"),
        ({"controls": ("long",), "max_epoch": 1}, 5, "about 2.1 hours"),
        ({"controls": ("bottom_up",)}, 8, "about 8.1 hours"),
        ({"strategy": "epoch", "epochs": (5, 9)}, 3, "about 3.0 hours"),
    ],
)
def test_what_a_search_may_take(tmp_path, options, count, time):
    asked = made_up(**options)
    assert asked.most_trainings == count
    assert progress.expected_time(asked) == "hours unknown"
    asked.base.folder = tmp_path
    (tmp_path / "checkpoint.pth").touch()
    assert progress.expected_time(asked) == time
