"""What runs on a node, without a scheduler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_slurm
import pytest
from launching import wait_for

from espnet_topdown.cmd import node

REPOSITORY = Path(__file__).parents[2]
PATIENT = """import sys
from pathlib import Path
from espnet_topdown.cmd import node
node._LAST_SECONDS = 60.0
sys.exit(node.run_task(Path("request.json"), "1"))
"""
GRACEFUL = "trap 'kill %1; exit 0' TERM; touch started; sleep 60 & wait"


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(script: str, program: str = "") -> subprocess.Popen:
    """Start the one task of a request."""
    asked = {"tasks": {"1": ["a.log", ["bash", "-c", script]]}, "threads": 1}
    Path("request.json").write_text(json.dumps(asked))
    line = ["-c", program] if program else ["-m", node.__name__, "request.json", "1"]
    return subprocess.Popen([sys.executable, *line])


@pytest.mark.parametrize("status", [0, 3, 75])
def test_the_status_of_a_command(place, status: int) -> None:
    assert run(f"exit {status}").wait(30) == status
    assert Path("rc.1").read_text() == f"{status}\n"


def test_success_of_a_command_that_was_told_to_end_proves_nothing(place) -> None:
    task = run(GRACEFUL)
    wait_for("started")
    task.terminate()
    assert task.wait(30) == 143
    assert not Path("rc.1").exists()


def test_a_command_that_slurm_has_ended_before_us(place) -> None:
    """Its shell goes on after its child was ended, with success."""
    task = run("sleep 60 & echo $! >pid; touch started; wait; true", PATIENT)
    wait_for("started")
    os.kill(int(Path("pid").read_text()), signal.SIGTERM)
    deadline = time.monotonic() + 30
    while "# Ended (code 0)" not in Path("a.log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    task.terminate()
    assert task.wait(30) == 143
    assert not Path("rc.1").exists()


def test_told_to_end_before_the_command_is_known(place) -> None:
    """It has started, but not yet been noted."""
    late = """import os, signal, sys
from pathlib import Path
from espnet_topdown.cmd import node, process
start = process.start
def slow(*args, **options):
    started = start(*args, **options)
    os.kill(os.getpid(), signal.SIGTERM)
    return started
process.start = slow
sys.exit(node.run_task(Path("request.json"), "1"))
"""
    assert run("sleep 60", late).wait(30) == 143
    assert not Path("rc.1").exists()


@pytest.mark.parametrize(
    ("environ", "job"),
    [
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "6", "SLURM_ARRAY_TASK_ID": "0"},
         "6_0"),
        ({"JOB_ID": "7"}, ""),
    ],
)  # fmt: skip
def test_the_id_of_a_task(monkeypatch, environ, job) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert node._slurm_job() == job


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("JobState=RUNNING Restarts=0 PreemptTime=2026-11-22T01:30:49", True),
        ("JobState=SIGNALING Restarts=0 PreemptTime=2026-11-22T01:30:49", True),
        ("JobState=COMPLETING Restarts=1 PreemptTime=2026-11-22T01:30:49", False),
        ("JobState=RUNNING Restarts=0 PreemptTime=None", False),
        ("", False),
    ],
)
def test_whether_a_job_is_preempted(place, monkeypatch, says, told) -> None:
    path = fake_slurm.install(place / "bin")
    (path / "scontrol").write_text(f'#!/bin/sh\necho "JobId=7 {says}"\n')
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    assert not node.preempted(), "no job of Slurm's"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert node.preempted() == told
