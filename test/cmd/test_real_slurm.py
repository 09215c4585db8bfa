"""What only a real Slurm shows: two nodes here. The rest is in test_schedulers.py."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

import launching
import pytest
import slurm_cluster
from launching import LONG, TRAINER, job_id, read_until, wait_for

pytestmark = [pytest.mark.timeout(240), slurm_cluster.needed]
launch = functools.partial(launching.launch, "slurm")


@pytest.fixture
def place(on_slurm):
    return on_slurm


def test_an_array_with_a_gpu_each(place) -> None:
    script = "echo gpu $CUDA_VISIBLE_DEVICES; test JOB != 2"
    launched = launch("--gpu", "1", "JOB=1:3", "x.JOB.log", "bash", "-c", script)
    assert launched.wait(60) == 1
    assert "1 of 3 tasks failed" in launched.stderr.read()
    assert "\ngpu 0\n" in Path("x.1.log").read_text()


def test_a_job_that_is_cancelled_while_it_waits(place, cluster) -> None:
    launched = launch(*LONG)
    wait_for("started")
    cluster.call("scontrol", "requeuehold", job_id())
    cluster.call("scancel", job_id())
    assert launched.wait(30) == 1
    assert "the scheduler says CANCELLED" in launched.stderr.read()


def test_what_no_node_can_give(place, cluster) -> None:
    launched = launch("--mem", "900G", "a.log", "true")
    assert launched.wait(20) == 76
    assert "E_CLUSTER_SUBMIT" in launched.stderr.read()
    Path("conf/slurm.conf").write_text("command sbatch -p nowhere\n")
    launched = launch("a.log", "true")
    assert launched.wait(20) == 76
    assert "invalid partition specified: nowhere" in launched.stderr.read()


def test_a_job_that_can_never_start_is_warned_of(place, cluster) -> None:
    cluster.call("scontrol", "update", "NodeName=n[1-2]", "State=DRAIN", "Reason=test")
    try:
        launched = launch("a.log", "true")
        err = read_until(launched, "W_CLUSTER_STUCK")
    finally:
        cluster.call("scontrol", "update", "NodeName=n[1-2]", "State=RESUME")
    assert launched.wait(30) == 0
    assert (err + launched.stderr.read()).count("W_CLUSTER_STUCK") == 1


def test_a_node_that_goes_down_requeues_the_job(place, cluster) -> None:
    script = "echo run >>runs; touch started; sleep $((5 - 2 * $(wc -l <runs)))"
    launched = launch("a.log", "bash", "-c", script)
    wait_for("started")
    node = cluster.call("squeue", "-h", "-j", job_id(), "-o", "%N")
    cluster.call("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        assert launched.wait(60) == 0, launched.stderr.read()
    finally:
        resume = ("scontrol", "update", f"NodeName={node}", "State=RESUME")
        cluster.call(*resume, check=False)  # it may be back by itself
    assert Path("runs").read_text() == "run\nrun\n"
    cluster.wait_idle()


def test_one_task_of_an_array_requeues_itself_alone(place, cluster) -> None:
    """The last one, whose id in Slurm is that of the array."""
    Path("trainer.py").write_text(TRAINER)
    script = f"if [ JOB = 1 ]; then sleep 9; else exec {sys.executable} trainer.py; fi"
    launched = launch("JOB=1:2", "x.JOB.log", "bash", "-c", script)
    wait_for("started")
    cluster.call("scancel", "--signal=USR2", "--batch", f"{job_id()}_2")
    assert launched.wait(60) == 0, launched.stderr.read()
    logs = [Path(f"x.{n}.log").read_text() for n in (1, 2)]
    assert [log.count("# Started at") for log in logs] == [1, 2]


def test_a_preempted_step_saves_and_makes_room_at_once(place, cluster) -> None:
    """Slurm would grant it five minutes, and tells nobody but the step."""
    Path("trainer.py").write_text(TRAINER.replace("SIGUSR2", "SIGTERM"))
    launched = launch("a.log", "srun", "-n1", sys.executable, "trainer.py")
    wait_for("started")
    words = ("-p", "urgent", "-N2", "-n4", "-o", "/dev/null", "--wrap", "touch urgent")
    cluster.call("sbatch", *words)
    wait_for("urgent", 30)
    assert launched.wait(60) == 0, launched.stderr.read()
    assert "\nresumed\n" in Path("a.log").read_text()


def test_a_controller_outage_and_a_crash(place, cluster) -> None:
    launched = launch("a.log", "bash", "-c", "touch started; sleep 8; touch ended")
    wait_for("started")
    job_id()
    time.sleep(6)  # the controller has saved its state by then
    cluster.kill_controller()
    time.sleep(4)
    cluster.start_controller()
    assert launched.wait(60) == 0
    assert Path("ended").exists()


def test_the_controller_forgets_a_young_job(place, cluster) -> None:
    """It crashed before the job was in its saved state; the job's node runs on."""
    cluster.wait_idle()
    saved = cluster.copy_state()
    launched = launch("a.log", "bash", "-c", "sleep 2; touch ended")
    forgotten = job_id()
    wait_for("a.log")
    cluster.kill_controller()
    cluster.restore_state(saved)
    cluster.start_controller()
    status = launched.wait(60)
    assert (status == 0) == Path("ended").exists(), launched.stderr.read()
    # The job's number is given again, but its node would refuse it and be drained.
    held = ("sbatch", "--parsable", "--hold", "-o", "/dev/null", "--wrap", "true")
    again = [cluster.call(*held)]
    assert int(again[0]) <= int(forgotten), "it was not forgotten"
    while int(again[-1]) < int(forgotten):
        again.append(cluster.call(*held))
    cluster.call("scancel", *again)
    for node in ("n1", "n2"):
        call = ("scontrol", "update", f"NodeName={node}", "State=RESUME")
        cluster.call(*call, check=False)
    cluster.wait_idle()


@pytest.mark.timeout(900)
def test_an_outage_of_a_minute(place, cluster) -> None:
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
