"""What runs on a cluster's host, without a scheduler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import fake_slurm
import pytest
from launching import REPOSITORY, wait_for, wait_until

from espnet_topdown.cmd import node

START = "sys.exit(node._run_task(Path('request.json'), '1'))"
IMPORTS = "import os, signal, sys\nfrom pathlib import Path\n"
IMPORTS += "from espnet_topdown.cmd import _process, node\n"
PATIENT = f"{IMPORTS}node._LAST_SECONDS = 60.0\n{START}"
# told to end when its command has started, but has not yet been noted
LATE = f"""{IMPORTS}start = _process.start
def slow(*args, **options):
    started = start(*args, **options)
    os.kill(os.getpid(), signal.SIGTERM)
    return started
_process.start = slow
{START}"""
JOB_NAMES = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "JOB_ID")


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    for name in JOB_NAMES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(script: str, program: str = "") -> subprocess.Popen:
    """Start the one task of a request."""
    asked = {"tasks": {"1": ["a.log", ["bash", "-c", script]]}, "threads": 1}
    Path("request.json").write_text(json.dumps(asked))
    line = ["-c", program] if program else ["-m", node.__name__, "request.json", "1"]
    return subprocess.Popen([sys.executable, *line])


@pytest.mark.parametrize(
    "script, program",
    [
        ("trap 'kill %1; exit 0' TERM; touch started; sleep 60 & wait", ""),
        # Slurm ends the child first; its shell goes on, with success
        ("sleep 60 & echo $! >pid; touch started; wait; true", PATIENT),
        ("sleep 60", LATE),
    ],
)
def test_success_of_a_command_that_was_told_to_end_proves_nothing(
    place, script, program
) -> None:
    task = run(script, program)
    if program != LATE:
        wait_for("started")
    if program == PATIENT:
        os.kill(int(Path("pid").read_text()), signal.SIGTERM)
        assert wait_until(lambda: "# Ended (code 0)" in Path("a.log").read_text())
    if program != LATE:
        task.terminate()
    assert task.wait(30) == 143
    assert not Path("rc.1").exists()


@pytest.mark.parametrize(
    "environ, job",
    [
        ("SLURM_JOB_ID=7", "7"),
        ("SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=6 SLURM_ARRAY_TASK_ID=0", "6_0"),
        ("JOB_ID=7", ""),
    ],
)
def test_the_id_of_a_task(place, monkeypatch, environ: str, job: str) -> None:
    for pair in environ.split():
        monkeypatch.setenv(*pair.split("="))
    assert node._slurm_job() == job


@pytest.mark.parametrize(
    "says, told",
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
    assert not node._preempted(), "no job of Slurm's"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert node._preempted() == told
