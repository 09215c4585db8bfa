from __future__ import annotations

import json
import logging
import sys

import pytest

from espnet_topdown.search import progress
from espnet_topdown.search.progress import Progress, run_and_show

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
    shown.expect(2, ())
    for node in ("m1.4", "control.warm"):
        shown.started(node)
    assert shown.line() == (
        "m1.4 epoch 12/40, valid CER 31.1 %, 5 min left | control.warm epoch 3/40, "
        "80 s left | search: at most about 11 min left"
    )


def test_jobs_that_ended_are_not_shown(tmp_path):
    write(tmp_path, "m1.4")
    shown = Progress(tmp_path)
    shown.started("m1.4")
    shown.ended("m1.4")
    assert shown.line() == ""


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_display_never_fails(tmp_path, text):
    (tmp_path / "m1.4").mkdir()
    (tmp_path / "m1.4" / "progress.json").write_text(text)
    shown = Progress(tmp_path)
    shown.started("m1.4")
    assert shown.line() == ""


def test_the_same_line_is_not_repeated(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    caplog.set_level(logging.INFO)
    write(tmp_path, "exp")
    shown = Progress(tmp_path)
    shown.started("exp")
    shown.show()
    shown.show()
    assert caplog.text.count("exp epoch 12/40") == 1


@pytest.mark.parametrize("status", [0, 3])
def test_the_launchers_status_comes_back(tmp_path, status):
    code = f"import sys; print('here'); sys.exit({status})"
    got = run_and_show(
        [sys.executable, "-c", code], tmp_path / "log", tmp_path / "exp", "", "local"
    )
    assert got == status
    assert "here" in (tmp_path / "log").read_text()
