"""The Grid Engine launcher on a real Grid Engine, started and stopped here.

Skipped where it is not installed or we are not root: ``apt-get install
--no-install-recommends gridengine-master gridengine-exec gridengine-client`` (Debian).
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from pathlib import Path

import launching
import pytest
import sge_cluster
from launching import LONG, TRAINER, go_to, job_id, read_until, wait_for

pytestmark = [pytest.mark.timeout(120), sge_cluster.needed]


@pytest.fixture(scope="module")
def cell():
    with tempfile.TemporaryDirectory(prefix="sge") as folder:
        cell = sge_cluster.Cell(Path(folder))
        try:
            cell.start()
            yield cell
        finally:
            cell.stop()


@pytest.fixture
def place(cell, tmp_path, monkeypatch):
    """The current folder, with ESPnet's conf/queue.conf."""
    go_to(tmp_path, monkeypatch, cell.env, "queue.conf", ask=1)
    return tmp_path


launch = functools.partial(launching.launch, "sge")


def test_an_array_with_espnets_conf_file(place) -> None:
    script = "echo task $SGE_TASK_ID of $JOB_ID; test JOB != 2"
    options = ("--gpu", "1", "--mem", "1G", "--max_jobs_run", "2")
    launched = launch(*options, "JOB=1:3", "x.JOB.log", "bash", "-c", script)
    assert launched.wait(60) == 1
    assert "1 of 3 tasks failed" in launched.stderr.read()
    assert "\ntask 3 of " in Path("x.3.log").read_text()


def test_the_exit_status_comes_back(place) -> None:
    launched = launch("--name", "three", "a.log", "bash", "-c", "exit 3")
    assert launched.wait(60) == 3
    assert "job failed" in launched.stderr.read()


def test_a_job_with_several_slots_is_waited_for(place) -> None:
    """Its line in qstat ends with the slots, which are no number of a task."""
    script = "sleep 6; touch ended"
    launched = launch("--num_threads", "2", "a.log", "bash", "-c", script)
    assert launched.wait(60) == 0, launched.stderr.read()
    assert Path("ended").exists()


def test_a_job_that_qdel_ended(place, cell) -> None:
    launched = launch(*LONG)
    wait_for("started")
    cell.call("qdel", job_id())
    assert launched.wait(60) == 1
    assert "no exit status; the scheduler says failed" in launched.stderr.read()
    assert not Path("ended").exists()


def test_term_deletes_the_job(place, cell) -> None:
    launched = launch(*LONG)
    wait_for("started")
    job = job_id()
    launched.terminate()
    assert launched.wait(30) == 143
    deadline = time.monotonic() + 30
    while cell.call("qstat", "-j", job, check=False):
        assert time.monotonic() < deadline, "the job runs on"
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["command qsub -cwd -S /bin/bash -q nowhere"], "unknown queue"),
        (["command qsub -cwd -S /bin/bash -l nosuch=1"], "unknown resource"),
    ],
)
def test_what_the_cell_refuses(place, options, what) -> None:
    Path("conf/queue.conf").write_text("\n".join(options) + "\n")
    launched = launch("a.log", "true")
    assert launched.wait(30) == 76
    err = launched.stderr.read()
    assert "E_CLUSTER_SUBMIT" in err and what in err


def test_what_no_host_can_give_is_warned_of(place) -> None:
    launched = launch("--num_threads", "64", "a.log", "true")
    err = read_until(launched, "W_CLUSTER_STUCK")
    time.sleep(3)
    launched.terminate()
    assert launched.wait(30) == 143
    err += launched.stderr.read()
    assert err.count("W_CLUSTER_STUCK") == 1 and "cannot run" in err, err


def test_a_launcher_that_was_killed_is_attached_again(place, cell) -> None:
    command = ("a.log", "bash", "-c", "echo run >>runs; touch started; sleep 4")
    launched = launch(*command)
    wait_for("started")
    job = job_id()
    launched.kill()
    launched.wait()
    again = launch(*command)
    assert again.wait(60) == 0
    assert f"attached to job {job} again" in again.stderr.read()
    assert Path("runs").read_text() == "run\n"


def test_a_rescheduled_job_runs_again(place, cell) -> None:
    script = "echo run >>runs; touch started; sleep $((40 - 20 * $(wc -l <runs)))"
    launched = launch("a.log", "bash", "-c", script)
    wait_for("started")
    cell.call("qmod", "-rj", job_id())
    assert launched.wait(90) == 0, launched.stderr.read()
    assert Path("runs").read_text() == "run\nrun\n"


def test_usr2_saves_and_the_job_runs_again(place, cell) -> None:
    """A job that ends with 99 is put back into the queue."""
    Path("trainer.py").write_text(TRAINER)
    launched = launch("a.log", sys.executable, "trainer.py")
    wait_for("started")
    pattern = f"espnet_topdown.cmd.node {place}/.*request.json"
    (pid,) = cell.call("pgrep", "-f", pattern).split()
    cell.call("kill", "-USR2", pid)
    assert launched.wait(60) == 0, launched.stderr.read()
    assert "\nresumed\n" in Path("a.log").read_text()


def test_an_outage_of_the_master(place, cell) -> None:
    launched = launch("a.log", "bash", "-c", "touch started; sleep 5; touch ended")
    wait_for("started")
    job_id()
    cell.kill_master()
    time.sleep(7)  # the job ends meanwhile
    cell.start_daemon(sge_cluster.MASTER)
    assert launched.wait(60) == 0, launched.stderr.read()
    assert Path("ended").exists()
