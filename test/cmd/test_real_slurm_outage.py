"""A long outage of a real Slurm's controller (``TOPDOWN_SLURM=all``)."""

from __future__ import annotations

import functools
import time
from pathlib import Path

import launching
import pytest
import slurm_cluster
from launching import job_id, wait_for
from slurm_cluster import long

launch = functools.partial(launching.launch, "slurm")
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(900),
    slurm_cluster.needed,
]


@long
def test_an_outage_of_a_minute(on_slurm, cluster) -> None:
    """A job that runs on and ends meanwhile, and one that is submitted meanwhile."""
    first = launch("a.log", "bash", "-c", "touch started; sleep 30; touch ended")
    wait_for("started")
    job_id()
    time.sleep(6)  # the controller has saved its state by then
    cluster.kill_controller()
    begun = time.monotonic()
    second = launch("b.log", "bash", "-c", "echo once >>b_ended")
    time.sleep(60)
    assert first.poll() == 0, "its exit status is a file: no controller is needed"
    assert second.poll() is None, "it waits"
    assert not Path("b_ended").exists()
    cluster.start_controller()
    assert second.wait(120) == 0, second.stderr.read()
    print(f"submitted and ended {time.monotonic() - begun - 60:.1f} s after the outage")
    warned = second.stderr.read().count("W_CLUSTER_UNREACHABLE")
    assert 1 <= warned <= 6, "with pauses that double"
    assert Path("b_ended").read_text() == "once\n", "nothing is submitted twice"
