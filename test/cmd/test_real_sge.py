"""What only a real Grid Engine shows. The rest is in test_schedulers.py."""

from __future__ import annotations

import functools
import time
from pathlib import Path

import launching
import pytest
import sge_cluster
from launching import go_to, job_id, read_until, wait_for

pytestmark = [pytest.mark.timeout(120), sge_cluster.needed]


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


def test_a_job_with_several_slots_is_waited_for(place) -> None:
    """Its line in qstat ends with the slots, which are no number of a task."""
    script = "sleep 6; touch ended"
    launched = launch("--num_threads", "2", "a.log", "bash", "-c", script)
    assert launched.wait(60) == 0, launched.stderr.read()
    assert Path("ended").exists()


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


def test_an_outage_of_the_master(place, cell) -> None:
    launched = launch("a.log", "bash", "-c", "touch started; sleep 5; touch ended")
    wait_for("started")
    job_id()
    cell.kill_master()
    time.sleep(7)  # the job ends meanwhile
    cell.start_daemon(sge_cluster.MASTER)
    assert launched.wait(60) == 0, launched.stderr.read()
    assert Path("ended").exists()
