"""Jobs that run again on the simulator of Slurm: requeued, preempted, out of time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launching import TRAINER
from submitting import SlurmPlace as Place

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_requeued_job_is_waited_for_and_appends_its_log(place: Place) -> None:
    """Started in the second of its requeue it would fail."""
    first = "touch started; echo first; sleep 20"
    command = (
        "a.log",
        "bash",
        "-c",
        f"if [ -e started ]; then echo 2nd; else {first}; fi",
    )
    launched = place.start(*command)
    place.wait_for("started")
    time.sleep(1.0 - time.time() % 1.0)  # it is looked at often in a second
    subprocess.run(["scontrol", "requeue", "1"], env=place.env, check=True)
    assert launched.wait(15) == 0
    log = (place.folder / "a.log").read_text()
    assert "\nfirst\n" in log and "\n2nd\n" in log
    assert (place.fake / "scontrol").read_text().count("update JobId=1 ") == 1
    assert len(place.submissions()) == 1


def test_a_job_that_was_told_to_start_later_is_left_alone(place: Place) -> None:
    """``sbatch --begin`` has the same reason as a requeue."""
    place.switch("pend", "BeginTime")
    launched = place.start("a.log", "true")
    time.sleep(2)
    launched.terminate()
    assert launched.wait(15) == 143
    assert "update" not in (place.fake / "scontrol").read_text()


def test_usr2_saves_and_requeues(place: Place) -> None:
    (place.folder / "trainer.py").write_text(TRAINER)
    launched = place.start("a.log", sys.executable, "trainer.py")
    place.wait_for("started")
    os.kill(place.task()["pid"], signal.SIGUSR2)
    assert launched.wait(15) == 0, launched.stderr.read()
    assert "\nresumed\n" in (place.folder / "a.log").read_text()
    assert "requeue 1" in (place.fake / "scontrol").read_text()


def test_a_preempted_job_asks_for_its_requeue(place: Place) -> None:
    """Slurm tells only the steps that ``srun`` has started, not the batch script."""
    script = "[ -e saved ] && exit; touch saved; until [ -e go ]; do sleep 0.1; done"
    launched = place.start("a.log", "bash", "-c", f"{script}; exit 75")
    place.wait_for("saved")
    place.switch("preempt", "2026-11-22T01:30:49")
    (place.folder / "go").touch()
    assert launched.wait(20) == 0, launched.stderr.read()
    assert "requeue 1" in (place.fake / "scontrol").read_text()


def test_usr2_does_not_end_a_command_that_knows_nothing_of_it(
    place: Place,
) -> None:
    launched = place.start("a.log", "bash", "-c", "touch started; sleep 1; echo done")
    place.wait_for("started")
    os.kill(place.task()["pid"], signal.SIGUSR2)
    assert launched.wait(15) == 0
