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

STATE = {"max_epoch": 40, "seconds_per_epoch": 10.0, "valid": {"cer_ctc": 0.311}}
M14 = "m1.4 epoch 12/40, valid CER 31.1 %, 5 min left"
JOINT = "control.joint epoch 30/35"
WARM = "control.warm epoch 3/40, 80 s left"


def write(folder, node, epoch=12, eta_seconds=280, **changes):
    (folder / node).mkdir()
    state = {**STATE, "epoch": epoch, "eta_seconds": eta_seconds, **changes}
    (folder / node / "progress.json").write_text(json.dumps(state))


@pytest.mark.parametrize(
    "running, left, path, says",
    [
        ("m1.4 control.warm", 2, 0, f"{M14} | {WARM} | search: about 12 min left"),
        (
            "none control.warm m5 m1.4 m1.1.3",
            0,
            0,
            f"{WARM} | m5 being scored | {M14} | m1.1.3 waiting | search: about 16 min",
        ),
        (
            "ended m5",
            0,
            0,
            "ended all epochs trained | m5 being scored | search: about",
        ),
        ("control.warm", 0, 0, f"{WARM} | search: about 2 min"),
        # it may be trained on, to the epochs of the path
        (
            "control.joint",
            0,
            57,
            f"{JOINT} (at most 57), 50 s left | search: about 5 m",
        ),
        ("control.joint", 0, 35, f"{JOINT}, 50 s left | search: about 80 s left"),
        ("control.joint", 0, 0, f"{JOINT}, 50 s left | search: about 80 s left"),
        ("m1.4 control.joint", 0, 57, f"{M14} | {JOINT} (at most 57), 50 s left | sea"),
        ("m1.4", 0, 57, f"{M14} | search: about 9 min left"),
        # a display never fails
        ("empty torn", 2, 0, "empty no epoch yet | torn no epoch yet"),
        ("list none", 2, 0, "list no epoch yet"),
        ("none", 2, 0, ""),
    ],
)
def test_one_line_for_all_running_jobs(tmp_path, running, left, path, says):
    write(tmp_path, "m1.4")
    write(tmp_path, "control.warm", epoch=3, valid={}, eta_seconds=80)
    write(tmp_path, "control.joint", epoch=30, max_epoch=35, eta_seconds=50, valid={})
    write(tmp_path, "ended", epoch=40, eta_seconds=0)
    logs = {"m5": "", "m1.1.3": "# Waiting for a place (Sun)\n"}
    for name, text in {"empty": "", "torn": "{", "list": "[]"}.items():
        write(tmp_path, name)
        (tmp_path / name / "progress.json").write_text(text)
        logs[name] = ""
    for name, text in logs.items():
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "train.log").write_text(text)
    (tmp_path / "m5" / "retrain.yaml").write_text("trainer: null\n")
    line = ProgressLine(tmp_path).line(running.split(), left, path)
    assert line.startswith(says) and bool(line) == bool(says)


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
    words = [sys.executable, "-c", f"print('here'); raise SystemExit({status})"]
    log = tmp_path / "log"
    assert run_and_show(words, log, tmp_path / "exp", "", "local") == status
    assert "here" in log.read_text()


@pytest.mark.parametrize(
    "options, count, time",
    [
        ({}, 4, "about 4.0 hours"),  # 4 x 100 x 36 s, and 5 jobs of half a minute
        ({"max_epoch": 1, "max_frozen": 1}, 1, "about 2 minutes"),
        ({"max_epoch": 1, "max_frozen": 1, "max_jobs": 9}, 1, "about 1 minute"),
        ({"max_jobs": 5}, 4, "about 4.0 hours"),  # one after another
        ({"strategy": "full", "max_jobs": 5}, 15, "about 4.0 hours"),  # so are levels
        ({"steps": (1, 4), "controls": ("joint",)}, 3, "about 5.0 hours"),  # 2 + 3
        ({"strategy": "full", "controls": ("joint", "warm")}, 17, "about 21.1 hours"),
        ({"controls": ("long",), "max_epoch": 1}, 5, "about 2.1 hours"),
        ({"controls": ("bottom_up",)}, 8, "about 8.1 hours"),
        ({"strategy": "epoch", "epochs": (5, 9)}, 3, "about 3.0 hours"),
    ],
)
def test_what_a_search_may_take(tmp_path, options, count, time):
    spans = {1: {"train": {"time": 30.0}, "valid": {"time": 6.0}}}
    base = SimpleNamespace(folder=Path("exp"), stats=spans, config={"max_epoch": 100})
    request = SearchRequest(Path("exp"), Path("out"), **options)
    asked = Search(request, base, None, SimpleNamespace(n=5), None)
    assert asked.max_trainings == count
    assert asked.max_time == "hours unknown"
    base.folder = tmp_path
    (tmp_path / "checkpoint.pth").touch()
    assert asked.max_time == time
