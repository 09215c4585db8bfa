"""What only real schedulers show; Slurm has two nodes. See also test_schedulers.py."""

from __future__ import annotations

import sys
import time

import pytest
from launching import TRAINER, Place, job_id, read_until, wait_for

pytestmark = pytest.mark.timeout(300)
QSUB = "command qsub -cwd -S /bin/bash"
REFUSED = {
    "slurm": {
        "command sbatch --mem 900G": "Memory specification can not be satisfied",
        "command sbatch -p nowhere": "invalid partition specified: nowhere",
    },
    "sge": {f"{QSUB} -q nowhere": "unknown queue", f"{QSUB} -l no=1": "unknown res"},
}
STUCK = {"slurm": ("command sbatch --hold", "Held"), "sge": (QSUB, "cannot run")}


def test_what_is_refused(real: Place) -> None:
    for conf, says in REFUSED[real.backend].items():
        (real.folder / "x.conf").write_text(conf)
        status, err = real.call("--config", "x.conf", "a.log", "true")
        assert status == 76 and "E_CLUSTER_SUBMIT" in err and says in err, err


def test_a_job_that_can_never_start_is_warned_of_once(real: Place) -> None:
    conf, says = STUCK[real.backend]
    (real.folder / "x.conf").write_text(f"{conf}\noption num_threads=* -pe smp $0\n")
    threads = ("--num_threads", "64") if real.backend == "sge" else ()
    launched = real.start("--config", "x.conf", *threads, "a.log", "true")
    err = read_until(launched, "W_CLUSTER_STUCK")
    time.sleep(3)
    launched.terminate()
    assert launched.wait(30) == 143
    err += launched.stderr.read()
    assert err.count("W_CLUSTER_STUCK") == 1 and says in err, err


def test_an_outage(real: Place) -> None:
    """A job runs on and ends meanwhile, another one is submitted meanwhile.

    In Grid Engine's list its line ends with its slots, which are no task's number.
    """
    threads = ("--num_threads", "2")
    first = real.started(*threads, "a.log", "bash", "-c", "touch started; sleep 16")
    time.sleep(6)  # the controller has saved its state by then
    real.cluster.crash("master")
    second = real.start("b.log", "bash", "-c", "echo once >>b_ended")
    time.sleep(30)
    assert first.poll() == 0, "its exit status is a file: no controller is needed"
    assert second.poll() is None and not (real.folder / "b_ended").exists()
    real.cluster.start_master()
    err = second.communicate(timeout=120)[1]
    assert second.returncode == 0, err
    assert 1 <= err.count("W_CLUSTER_UNREACHABLE") <= 6, "with pauses that double"
    assert (real.folder / "b_ended").read_text() == "once\n", "submitted once"


def test_a_job_that_is_cancelled_while_it_waits(real_slurm: Place) -> None:
    launched = real_slurm.started("a.log", "bash", "-c", "touch started; sleep 60")
    real_slurm.tell("scontrol", "requeuehold", real_slurm.job)
    real_slurm.cancel()
    assert launched.wait(30) == 1
    assert "the scheduler says CANCELLED" in launched.stderr.read()


def test_a_node_that_goes_down_requeues_the_job(real_slurm: Place) -> None:
    script = "echo run >>runs; touch started; sleep $((5 - 2 * $(wc -l <runs)))"
    launched = real_slurm.started("a.log", "bash", "-c", script)
    node = real_slurm.cluster.call("squeue", "-h", "-j", real_slurm.job, "-o", "%N")
    update = ("scontrol", "update", f"NodeName={node}")
    real_slurm.tell(*update, "State=DOWN", "Reason=test")
    try:
        assert launched.wait(60) == 0, launched.stderr.read()
    finally:  # it may be back by itself
        real_slurm.cluster.call(*update, "State=RESUME", check=False)
    assert (real_slurm.folder / "runs").read_text() == "run\nrun\n"
    real_slurm.cluster.wait_idle()


def test_one_task_of_an_array_requeues_itself_alone(real_slurm: Place) -> None:
    """The last one, whose id in Slurm is that of the array."""
    (real_slurm.folder / "trainer.py").write_text(TRAINER)
    script = f"if [ JOB = 1 ]; then sleep 9; else exec {sys.executable} trainer.py; fi"
    launched = real_slurm.started("JOB=1:2", "x.JOB.log", "bash", "-c", script)
    real_slurm.tell("scancel", "--signal=USR2", "--batch", f"{real_slurm.job}_2")
    assert launched.wait(60) == 0, launched.stderr.read()
    logs = [(real_slurm.folder / f"x.{n}.log").read_text() for n in (1, 2)]
    assert [log.count("# Started at") for log in logs] == [1, 2]


def test_a_preempted_step_saves_and_makes_room_at_once(real_slurm: Place) -> None:
    """Slurm would grant it five minutes, and tells nobody but the step."""
    trainer = real_slurm.folder / "trainer.py"
    trainer.write_text(TRAINER.replace("SIGUSR2", "SIGTERM"))
    command = ("a.log", "srun", "-n1", sys.executable, "trainer.py")
    launched = real_slurm.started(*command)
    urgent = real_slurm.folder / "urgent"
    words = ("-p", "urgent", "-N2", "-n4", "-o", "/dev/null", "--wrap")
    real_slurm.tell("sbatch", *words, f"touch {urgent}")
    wait_for(urgent)
    assert launched.wait(60) == 0, launched.stderr.read()
    assert "\nresumed\n" in (real_slurm.folder / "a.log").read_text()


def test_the_controller_forgets_a_young_job(real_slurm: Place) -> None:
    """It crashed before the job was in its saved state; the job's node runs on."""
    cluster = real_slurm.cluster
    cluster.wait_idle()
    saved = cluster.copy_state()
    launched = real_slurm.start("a.log", "bash", "-c", "sleep 2; touch ended")
    forgotten = int(job_id(real_slurm.folder))
    wait_for(real_slurm.folder / "a.log")
    cluster.crash("master")
    cluster.restore_state(saved)
    cluster.start_master()
    status = launched.wait(60)
    assert (status == 0) == (real_slurm.folder / "ended").exists()
    # The job's number is given again, but its node would refuse it and be drained.
    held = ("sbatch", "--parsable", "--hold", "-o", "/dev/null", "--wrap", "true")
    again = [int(cluster.call(*held))]
    assert again[0] <= forgotten, "it was not forgotten"
    while again[-1] < forgotten:
        again.append(int(cluster.call(*held)))
    cluster.call("scancel", *map(str, again))
    for node in ("n1", "n2"):
        words = ("scontrol", "update", f"NodeName={node}", "State=RESUME")
        cluster.call(*words, check=False)
    cluster.wait_idle()
