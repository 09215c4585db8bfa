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
            ["none", "control.warm", "m5", "m1.4", "m1.1.3"],
            0,
            "control.warm epoch 3/40, 80 s left | m5 being scored | m1.4 epoch 12/40, "
            "valid CER 31.1 %, 5 min left | m1.1.3 waiting | search: about 16 min left",
        ),
        (
            ["ended", "m5"],
            0,
            "ended all epochs trained | m5 being scored | search: about 8 m",
        ),
        (
            ["control.warm"],
            0,
            "control.warm epoch 3/40, 80 s left | search: about 2 min",
        ),
        # a display never fails
        (["empty", "torn"], 2, "empty no epoch yet | torn no epoch yet"),
        (["list", "none"], 2, "list no epoch yet"),
        (["none"], 2, ""),
    ],
)
def test_one_line_for_all_running_jobs(tmp_path, running, left, says):
    write(tmp_path, "m1.4")
    write(tmp_path, "control.warm", epoch=3, valid={}, eta_seconds=80)
    write(tmp_path, "ended", epoch=40, eta_seconds=0)
    (tmp_path / "m5").mkdir()
    (tmp_path / "m5" / "retrain.yaml").write_text("trainer: null\n")
    (tmp_path / "m1.1.3").mkdir()
    (tmp_path / "m1.1.3" / "train.log").write_text("# Waiting for a place (Sun)\n")
    (tmp_path / "m5" / "train.log").touch()
    for name, text in (("empty", ""), ("torn", "{"), ("list", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.log").touch()
        (tmp_path / name / "progress.json").write_text(text)
    line = ProgressLine(tmp_path).line(running, left)
    assert line.startswith(says) and bool(line) == bool(says)


@pytest.mark.parametrize(
    "running, path, says",
    [
        (["control.joint"], 57, "epoch 30/35 (at most 57), 50 s left | search: about "),
        (["control.joint"], 35, "epoch 30/35, 50 s left | search: about 80 s left"),
        (["control.joint"], 0, "epoch 30/35, 50 s left | search: about 80 s left"),
        (
            ["m1.4", "control.joint"],
            57,
            "epoch 12/40, 5 min left | control.joint epoch "
            "30/35 (at most 57), 50 s left | search: about 9 min left",
        ),
        (["m1.4"], 57, "epoch 12/40, 5 min left | search: about 9 min left"),
    ],
)
def test_control_joint_may_be_trained_on(tmp_path, running, path, says):
    write(tmp_path, "control.joint", epoch=30, max_epoch=35, eta_seconds=50, valid={})
    write(tmp_path, "m1.4", valid={})
    line = ProgressLine(tmp_path).line(running, 0, path)
    assert line.startswith(f"{running[0]} {says}")


def test_the_same_line_is_repeated_after_a_minute(tmp_path, monkeypatch, caplog):
    clock = iter((100.0, 130.0, 161.0, 170.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    caplog.set_level(logging.INFO)
    write(tmp_path, "exp")
    shown = ProgressLine(tmp_path)
    for times in (1, 1, 2, 2):
        shown.show(["exp"])
        assert caplog.text.count("exp epoch 12/40") == times
    assert "search" not in caplog.messages[0]  # it is one training


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
    assert asked.max_trainings == count
    assert asked.max_time == "hours unknown"
    asked.base.folder = tmp_path
    (tmp_path / "checkpoint.pth").touch()
    assert asked.max_time == time
