"""The launchers of Slurm and Grid Engine beside made-up schedulers, and real ones.

What is asked of ``anywhere`` and ``requeuing`` is asked of real ones at night. Those
need Debian's slurmctld, slurmd, slurm-client and munge; or, for root,
gridengine-master, gridengine-exec and gridengine-client.
"""

from __future__ import annotations

import re
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from launching import (
    REPOSITORY,
    TRAINER,
    Place,
    job_id,
    read_until,
    wait_for,
    wait_until,
)

from espnet_topdown.cmd.launch import why_waiting

CONF = REPOSITORY / "egs2" / "TEMPLATE" / "asr1" / "conf"
pytestmark = pytest.mark.timeout(240)
SLEEP = ("long.log", "bash", "-c", "touch started; sleep 600; touch ended")
UNTIL = "touch started; until [ -e go ]; do sleep 0.1; done; echo once >>ended"
HELD = ("a.log", "bash", "-c", UNTIL)  # until there is a file ``go``
AWAY = "Batch job submission failed: Unexpected message received"
LIMIT = "Batch job submission failed: Job violates accounting/QOS policy"


@pytest.fixture(params=["slurm", "sge"])
def place(request, tmp_path: Path) -> Place:
    return Place(tmp_path, request.param)


@pytest.fixture
def slurm(tmp_path: Path) -> Place:
    return Place(tmp_path, "slurm")


def go(place: Place) -> None:
    (place.folder / "go").touch()


def once(place: Place) -> bool:
    return (place.folder / "ended").read_text() == "once\n"


def test_a_job_and_its_log(place: Place) -> None:
    (place.folder / "path.sh").write_text("export FROM_PATH_SH=yes\n")
    place.env["OMP_NUM_THREADS"] = "7"
    script = 'echo $FROM_PATH_SH $OMP_NUM_THREADS "$@"'
    words = ("a.log", "bash", "-c", script, "", "two  words", "$HOME")
    assert place.call(*words) in ((0, ""), (0, ""))
    log = (place.folder / "a.log").read_text()
    assert "\nyes 7 two  words $HOME\n" in log
    assert re.search("^# Running on .*\n# Started at ", log)
    assert re.search(r"# Ended \(code 0\) at ", log)


# backend: ESPnet's conf file, options, words of the line that submits
WITH_CONF = {
    "slurm": (
        "slurm.conf",
        "--time 1:00:00 --num-threads 2",
        ["--export=PATH", "-p gpu --gres=gpu:1 -c 1", "--mem-per-cpu 1G", "--requeue"]
        + ["--cpus-per-task 2", "--time 1:00:00", "--comment=topdown-"]
        + ["--open-mode=append", "--array=1-3%2"],
    ),
    "sge": (
        "queue.conf",
        "-pe smp 2",
        ["-v PATH -cwd -S /bin/bash", "-l gpu=1 -q g.q", "-pe smp 2", "-t 1-3 -tc 2"]
        + ["-l mem_free=1G,ram_free=1G", "-terse -ac topdown=topdown-"],
    ),
}


def test_an_array_with_a_failing_task_and_espnets_conf_file(anywhere: Place) -> None:
    conf, options, words = WITH_CONF[anywhere.backend]
    (anywhere.folder / "conf").mkdir()
    shutil.copy(CONF / conf, anywhere.folder / "conf")
    args = f"--gpu 1 --mem 1G {options} --max-jobs-run 2 JOB=1:3 x.JOB.log bash -c"
    script = "echo I am JOB with GPU $CUDA_VISIBLE_DEVICES.; test JOB != 2"
    status, err = anywhere.call(*args.split(), script)
    assert status == 1 and re.search(r"1 of 3 tasks failed \(job \d+\)", err), err
    gpu = "" if anywhere.made_up or anywhere.backend == "sge" else "0"
    assert f"  I am 2 with GPU {gpu}." in err
    assert anywhere.call("b.log", "true")[0] == 0  # nobody has asked for a GPU
    if anywhere.made_up:
        first, second = anywhere.submissions()
        assert [w for w in words if w not in first] == []
        assert "gpu" not in second
        assert ("-p cpu" in second) == (anywhere.backend == "slurm")


def test_the_commands_own_status(anywhere: Place) -> None:
    for _ in range(2):
        assert anywhere.call("a.log", "bash", "-c", "exit 75")[0] == 75
    assert (anywhere.folder / "a.log.1").exists(), "it ran again; the log is kept"


def test_a_cancelled_job_is_an_error_soon(anywhere: Place) -> None:
    launched = anywhere.started(*SLEEP)
    anywhere.cancel()
    assert launched.wait(60) == 1
    says = {"slurm": "says CANCELLED", "sge": "(lost it|says failed)"}
    said = launched.stderr.read()
    assert re.search(f"no exit status; the scheduler {says[anywhere.backend]}", said)
    assert not (anywhere.folder / "ended").exists()


@pytest.mark.parametrize(
    "number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_term_and_int_cancel_the_job(anywhere: Place, number: int, status: int) -> None:
    launched = anywhere.started(*SLEEP)
    launched.send_signal(number)
    assert launched.wait(30) == status
    assert wait_until(anywhere.cancelled, 90)  # a busy Grid Engine takes its time


@pytest.mark.parametrize(
    "number, rewritten", [(signal.SIGHUP, False), (signal.SIGKILL, True)]
)
def test_a_launcher_that_died_is_attached_again(
    anywhere: Place, number, rewritten
) -> None:
    """Also where the site rewrites comments: the job's script tells it from others."""
    if rewritten:
        anywhere.switch("comment", "project 42")
    launched = anywhere.started(*HELD)
    launched.send_signal(number)
    assert launched.wait(30) in (129, -9)
    launched = anywhere.start(*HELD)
    assert "attached to job " in read_until(launched, "attached")
    go(anywhere)
    assert launched.wait(60) == 0 and once(anywhere)
    assert anywhere.call(*HELD)[0] == 0
    ended = (anywhere.folder / "ended").read_text()
    assert ended == "once\nonce\n", "its end was seen: a new call is a new job"


def test_an_outage_is_waited_for_and_nothing_submitted_twice(place: Place) -> None:
    place.started(*SLEEP).kill()
    place.switch("down")
    status, err = place.call(*SLEEP)
    assert (status, "E_CLUSTER_UNREACHABLE" in err) == (76, True), err
    place.unswitch("down")
    launched = place.start(*SLEEP)
    read_until(launched, "attached")
    place.switch("down")
    err = read_until(launched, "W_CLUSTER_UNREACHABLE")
    time.sleep(1)  # five more questions
    launched.terminate()  # and what cannot be cancelled is not forgotten
    assert launched.wait(30) == 143
    err += launched.stderr.read()
    assert err.count("W_CLUSTER_UNREACHABLE") == 1
    assert "W_CLUSTER_CANCEL: " in err and "job 1 is not cancelled" in err
    place.unswitch("down")
    launched = place.start(*SLEEP)
    assert "attached to job 1" in read_until(launched, "attached")
    launched.terminate()
    assert launched.wait(30) == 143 and place.cancelled()


@pytest.mark.parametrize(
    "switch, said, code",
    [
        ("refuse", LIMIT, "REFUSED"),
        ("refuse", AWAY, "UNREACHABLE"),
        ("refuse", "Please name your project, see the wiki", "REFUSED"),
        ("down", "", "UNREACHABLE"),
    ],
)
def test_what_may_be_over_soon_is_waited_for(place: Place, switch, said, code) -> None:
    place.switch(switch, said)
    launched = place.start("a.log", "true")
    err = read_until(launched, f"W_CLUSTER_{code}")
    if switch == "down":
        place.unswitch("down")
    assert launched.wait(30) == 0 and said in err, err + launched.stderr.read()
    assert len(place.submissions()) == 1


@pytest.mark.parametrize(
    "refused, away, do",
    [
        (
            "Requested time limit is invalid (missing or exceeds)!",
            "600",
            "correct --time",
        ),
        ("Please name your project!", "0.1", "correct the launcher's options"),
        (AWAY + "!", "0.1", "run the same command again when the scheduler answers"),
    ],
)
def test_a_refusal(place: Place, refused: str, away: str, do: str) -> None:
    place.env["TOPDOWN_CLUSTER_AWAY"] = away
    place.switch("refuse", refused)
    status, err = place.call("a.log", "true")
    assert status == 76 and re.search(
        rf"E_CLUSTER_SUBMIT: \w+ refused a.log: .*{do}", err
    )
    assert ("W_CLUSTER" in err) <= (away == "0.1")


OUTER = {"SLURM_JOB_ID": "106", "SLURM_RESTART_COUNT": "3", "SBATCH_ARRAY_INX": "1-9"}
OUTER.update(SLURM_ARRAY_JOB_ID="99", SLURM_ARRAY_TASK_ID="7", PMI_RANK="1")
OUTER_SGE = {"JOB_ID": "106", "SGE_TASK_ID": "7", "RESTARTED": "1", "NSLOTS": "9"}
OUTER_SGE.update(OMPI_COMM_WORLD_RANK="1")


@pytest.mark.parametrize(
    "outer, array", [(OUTER, ("JOB=1:2",)), (OUTER, ()), (OUTER_SGE, ())]
)
def test_a_launcher_in_a_job_of_its_own(place: Place, outer, array) -> None:
    place.env.update(outer)
    script = "echo $PMI_RANK$OMPI_COMM_WORLD_RANK$SLURM_RESTART_COUNT$RESTARTED$NSLOTS."
    log = "a.JOB.log" if array else "a.log"
    status, err = place.call(*array, log, "bash", "-c", script)
    assert status == 0, err
    assert "\n.\n" in (place.folder / log.replace("JOB", "1")).read_text()


@pytest.mark.parametrize(
    "conf, args, says",
    [
        ("command sbatch\noption mem=* -m $0\n", "--mme 4", "E_CLUSTER_OPTION.*mem"),
        ("command sbatch\noptoin mem=* -m\n", "", "E_CLUSTER_CONF: .*line 2.*option"),
        ("option mem=* -m $0\n", "", "E_CLUSTER_CONF.*no 'command'"),
        ("command sbatch 'x\n", "", "E_CLUSTER_CONF.*line 1.*quote"),
        ("command sbatch\noption mem -m $0\n", "", "E_CLUSTER_CONF.*line 2"),
        ("command qsubb\n", "", "E_CLUSTER_CMD.*'qsubb'"),
        ("command sbatch --refuse\n", "", "E_CLUSTER_SUBMIT.*invalid partition"),
        (None, "", "E_MISSING: cannot read x.conf"),
    ],
)
def test_bad_configuration(slurm: Place, conf: str, args: str, says: str) -> None:
    if conf:
        (slurm.folder / "x.conf").write_text(conf)
    status, err = slurm.call("--config", "x.conf", *args.split(), "a.log", "true")
    assert status in (66, 76, 78) and re.search(says, err), err
    assert slurm.submissions() == []


def test_no_scheduler_and_two_calls_for_the_same_log(place: Place) -> None:
    launched = place.started(*SLEEP)
    status, err = place.call(*SLEEP)
    assert (status, "E_LOCKED" in err) == (75, True), err
    launched.terminate()
    launched.wait(30)
    place.env["PATH"] = "/nowhere"
    status, err = place.call("a.log", "true")
    assert (status, "E_CLUSTER_CMD" in err) == (76, True), err


@pytest.mark.parametrize(
    "backend, state, says",
    [
        ("slurm", "PartitionConfig", "W_CLUSTER_STUCK.*may never start: PENDING, Part"),
        ("slurm", "JobHoldMaxRequeue", "W_CLUSTER_STUCK.*may never start: PENDING, Jo"),
        ("slurm", "ReservationDeleted", "W_CLUSTER_STUCK.*never start: PENDING, Res"),
        ("slurm", "Priority", "waits in the queue: PENDING, Priority"),
        ("slurm", "BeginTime", "waits in the queue: PENDING, BeginTime"),
        ("sge", "Eqw", "W_CLUSTER_STUCK.*may never start"),
    ],
)
def test_a_job_that_waits_says_so_once(tmp_path, backend, state, says) -> None:
    """``sbatch --begin`` has the same reason as a requeue: it is left alone."""
    place = Place(tmp_path, backend)
    place.switch("pend", state)
    launched = place.start("exp/a.log", "sleep", "9")
    err = read_until(launched, says.partition(".*")[0])
    time.sleep(1)
    assert state in why_waiting(place.folder / "exp" / "a.log"), err
    launched.terminate()
    assert launched.wait(30) == 143
    assert len(re.findall(says, err + launched.stderr.read())) == 1
    assert "scontrol update" not in (place.fake / "calls").read_text()


# What only Slurm does, or its simulator.


def test_a_job_that_was_lost(slurm: Place) -> None:
    """The scheduler may have given its id to another job by now, which runs."""
    slurm.switch("lose")
    slurm.switch("sacct", "NODE_FAIL\n")
    launched = slurm.start("a.log", "true")
    assert wait_until(slurm.submissions)
    other = slurm.started(*SLEEP)
    assert launched.wait(30) == 1
    assert "the scheduler says NODE_FAIL" in launched.stderr.read()
    other.terminate()
    assert other.wait(15) == 143 and len(slurm.submissions()) == 2


@pytest.mark.parametrize("own_session", [True, False])
def test_hang_up_under_nohup(slurm: Place, own_session: bool) -> None:
    """Heeded where a search is the parent, which then has died, and only there."""
    launched = slurm.started(
        *HELD,
        start_new_session=own_session,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    launched.send_signal(signal.SIGHUP)
    if not own_session:
        time.sleep(1)
        go(slurm)
    assert launched.wait(30) == (129 if own_session else 0)
    assert slurm.task()["state"] != "CANCELLED"
    go(slurm)
    assert wait_until((slurm.folder / "ended").exists), "nothing is left running"


@pytest.mark.parametrize(
    "switch, status, rewritten",
    [("die", -9, False), ("die", -9, True), ("mute", 0, False)],
)
def test_an_answer_that_was_lost(slurm: Place, switch, status, rewritten) -> None:
    """The job is found by its token, or by its script."""
    if rewritten:
        slurm.switch("comment", "project 42")
    slurm.switch(switch, "sbatch")
    go(slurm)
    assert slurm.call(*HELD)[0] == status
    assert status == 0 or slurm.call(*HELD)[0] == 0
    assert len(slurm.submissions()) == 1 and once(slurm)


def test_a_job_that_ended_while_nobody_watched_is_not_run_again(slurm: Place) -> None:
    slurm.started(*HELD).kill()
    go(slurm)
    assert wait_until(lambda: list(slurm.folder.glob("q/*/rc.1")))
    assert slurm.call(*HELD)[0] == 0
    assert len(slurm.submissions()) == 1


@pytest.mark.parametrize(
    "line, environ",
    [
        ("sbatch -M big", {}),
        ("sbatch -Mbig -p x", {}),
        ("sbatch --clusters=a,big", {}),
        ("sbatch", {"SBATCH_CLUSTERS": "big"}),
        ("sbatch", {"SLURM_CLUSTERS": "big"}),
    ],
)
def test_a_job_on_another_cluster(slurm: Place, line: str, environ: dict) -> None:
    """Every question has its name; without it Slurm does not know the job."""
    (slurm.folder / "x.conf").write_text(f"command {line}\n")
    slurm.env.update(environ)
    slurm.switch("cluster", "big")
    slurm.switch("mute")  # which cluster took it has to be found out
    command = ("--config", "x.conf", *SLEEP)
    launched = slurm.started(*command)
    assert wait_until(lambda: job_id(slurm.folder) == "1;big")
    launched.kill()
    launched = slurm.start(*command)
    assert "attached to job 1;big again" in read_until(launched, "attached")
    launched.terminate()
    assert launched.wait(30) == 143 and slurm.cancelled()
    assert len(slurm.submissions()) == 1


def test_a_comment_of_the_sites_own_loses_no_job_that_waits(slurm: Place) -> None:
    """Whatever is in it: nobody runs yet, so only Slurm's answer tells of the job."""
    slurm.switch("pend", "Priority")
    slurm.switch("comment", "project=42|user=me|%k")
    launched = slurm.start("a.log", "true")
    assert "PENDING, Priority" in read_until(launched, "waits in the queue")
    launched.kill()
    launched.wait()
    launched = slurm.start("a.log", "true")
    assert "attached to job 1" in read_until(launched, "attached")
    time.sleep(1)  # five more questions, longer than what is lost is waited for
    assert launched.poll() is None
    launched.terminate()
    assert launched.wait(30) == 143 and len(slurm.submissions()) == 1


@pytest.mark.parametrize("died", [False, True])
def test_a_job_that_slurm_forgets_while_it_runs(slurm: Place, died: bool) -> None:
    """Its log is being written: it is neither lost nor submitted again."""
    launched = slurm.started(*HELD)
    if died:
        launched.kill()
    (slurm.fake / "jobs.json").write_text('{"next": 1}')
    if died:
        launched = slurm.start(*HELD)
    err = read_until(launched, "W_CLUSTER_UNKNOWN_JOB")
    go(slurm)
    assert launched.wait(30) == 0, err + launched.stderr.read()
    assert "W_CLUSTER_UNKNOWN_JOB" in err and once(slurm)


def test_a_job_whose_number_nobody_knows(slurm: Place) -> None:
    """Its launcher was killed before the answer, and Slurm has forgotten it."""
    slurm.started(*HELD).kill()
    (slurm.fake / "jobs.json").write_text('{"next": 1}')
    (note,) = slurm.folder.glob("q/*/submit.json")
    note.write_text(re.sub('"job": "1"', '"job": ""', note.read_text()))
    launched = slurm.start(*HELD)
    wait_until(lambda: launched.poll() is not None)
    go(slurm)
    assert launched.wait(30) == 75
    assert "E_LOCKED: a job of an earlier call is writing" in launched.stderr.read()
    assert wait_until((slurm.folder / "ended").exists), "nothing is left running"


def test_a_requeued_job_is_waited_for(requeuing: Place) -> None:
    """Slurm's log goes on. Started in the second of its requeue it would fail."""
    script = "echo run | tee -a runs; touch started; [ -e go ] || exec sleep 60"
    launched = requeuing.started("a.log", "bash", "-c", script)
    if requeuing.made_up:
        time.sleep(1.0 - time.time() % 1.0)  # it is looked at often in a second
    go(requeuing)
    requeuing.requeue()
    assert launched.wait(90) == 0, launched.stderr.read()
    assert (requeuing.folder / "runs").read_text() == "run\nrun\n"
    log = (requeuing.folder / "a.log").read_text()
    assert log.count("\nrun\n") == (2 if requeuing.backend == "slurm" else 1)
    if requeuing.made_up:
        assert (requeuing.fake / "scontrol").read_text().count("update JobId=1 ") == 1
        assert len(requeuing.submissions()) == 1


@pytest.mark.parametrize("program", ["trainer.py", "deaf"])
def test_usr2_saves_and_requeues(requeuing: Place, program: str) -> None:
    """At once; a command that knows nothing of it is left alone."""
    (requeuing.folder / "trainer.py").write_text(TRAINER)
    trains = program == "trainer.py"
    command = ("a.log", sys.executable, program) if trains else HELD
    launched = requeuing.started(*command)
    requeuing.warn_of_end()
    go(requeuing)
    # Slurm alone would hold it for two minutes
    assert launched.wait(90) == 0, launched.stderr.read()
    assert ("\nresumed\n" in (requeuing.folder / "a.log").read_text()) == trains
    if trains and requeuing.made_up:
        assert "requeue 1" in (requeuing.fake / "scontrol").read_text()


def test_a_preempted_job_asks_for_its_requeue(slurm: Place) -> None:
    """Slurm tells only the steps that ``srun`` has started, not the batch script."""
    script = "[ -e saved ] && exit; touch saved; until [ -e go ]; do sleep 0.1; done"
    launched = slurm.start("a.log", "bash", "-c", f"{script}; exit 75")
    wait_for(slurm.folder / "saved")
    slurm.switch("preempt", "2026-11-22T01:30:49")
    (slurm.folder / "go").touch()
    assert launched.wait(30) == 0, launched.stderr.read()
    assert "requeue 1" in (slurm.fake / "scontrol").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("program", ["squeue", "sbatch"])
def test_stopped_before_the_submission(slurm: Place, number: int, program: str) -> None:
    """While an earlier job is looked for, or the scheduler is away: none is begun."""
    slurm.started(*SLEEP).kill()
    slurm.cancel()
    if program == "sbatch":
        slurm.switch("down")
        launched = slurm.start("other.log", "true")
        read_until(launched, "W_CLUSTER_UNREACHABLE")
    else:
        slow = Path(str(shutil.which("squeue", path=slurm.env["PATH"])))
        slow.write_text("#!/bin/sh\ntouch started.squeue; sleep 1\n")
        launched = slurm.start(*SLEEP)
        wait_for(slurm.folder / "started.squeue")
    launched.send_signal(number)
    assert launched.wait(30) == 128 + number
    assert len(slurm.submissions()) == 1
