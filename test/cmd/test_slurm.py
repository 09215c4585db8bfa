"""The Slurm launcher against a simulator that can do all that a scheduler does."""

from __future__ import annotations

import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from launching import read_until
from submitting import REPOSITORY
from submitting import SlurmPlace as Place

from espnet_topdown.cmd.submission import why_waiting

ESPNETS = REPOSITORY / "egs2" / "TEMPLATE" / "asr1" / "conf" / "slurm.conf"
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


SLEEP = ("long.log", "bash", "-c", "touch started; sleep 20; touch ended")


def test_a_job_and_its_log(place: Place) -> None:
    assert place.call("a.log", "echo", "two  words", "$HOME") == (0, "")
    log = (place.folder / "a.log").read_text()
    assert "\ntwo  words $HOME\n" in log
    assert re.search("^# Running on .*\n# Started at ", log)
    assert re.search(r"# Ended \(code 0\) at ", log)


def test_espnets_conf_file_unchanged(place: Place) -> None:
    (place.folder / "conf").mkdir()
    shutil.copy(ESPNETS, place.folder / "conf")
    args = ("--gpu", "1", "--mem", "4G", "--num-threads", "3", "--time", "1:00:00")
    assert place.call(*args, "a.log", "true")[0] == 0
    (line,) = place.submissions()
    for words in (
        "--export=PATH",
        "-p gpu --gres=gpu:1 -c 1",
        "--mem-per-cpu 4G",
        "--cpus-per-task 3",
        "--time 1:00:00",
        "--comment=topdown-",
        "--requeue --open-mode=append",
    ):
        assert words in line
    assert place.call("b.log", "true")[0] == 0
    assert "-p cpu" in place.submissions()[1]


def test_an_array_with_a_failing_task(place: Place) -> None:
    args = ("--max-jobs-run", "2", "JOB=1:3", "x.JOB.log", "bash", "-c")
    status, err = place.call(*args, "echo I am JOB; test JOB != 2")
    assert status == 1
    assert "1 of 3 tasks failed" in err and "  I am 2" in err
    assert "--array=1-3%2" in place.submissions()[0]


def test_the_commands_own_status(place: Place) -> None:
    assert place.call("a.log", "bash", "-c", "exit 75")[0] == 75
    assert place.call("a.log", "bash", "-c", "exit 75")[0] == 75
    assert len(place.submissions()) == 2, "a failed job is submitted again"
    assert (place.folder / "a.log.1").exists(), "the first log is kept"


def test_a_cancelled_job_is_an_error_soon(place: Place) -> None:
    launched = place.start(*SLEEP)
    place.wait_for("started")
    place.scancel("1")
    assert launched.wait(15) == 1
    assert "the scheduler says CANCELLED" in launched.stderr.read()
    assert not (place.folder / "ended").exists()


def test_a_job_that_was_lost(place: Place) -> None:
    place.switch("lose")
    place.switch("sacct", "NODE_FAIL\n")
    status, err = place.call("a.log", "true")
    assert (status, "the scheduler says NODE_FAIL" in err) == (1, True), err


def test_the_id_of_a_lost_job_may_be_anothers_by_now(place: Place) -> None:
    place.switch("lose")
    launched = place.start("a.log", "true")
    deadline = time.monotonic() + 15
    while not place.submissions():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    other = place.start(*SLEEP)  # the scheduler gives it the same id
    assert launched.wait(15) == 1, "another's running job is not ours"
    other.terminate()
    assert other.wait(15) == 143


@pytest.mark.parametrize(
    "signum, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_term_and_int_cancel_the_job(place: Place, signum: int, status: int) -> None:
    launched = place.start(*SLEEP)
    place.wait_for("started")
    launched.send_signal(signum)
    assert launched.wait(15) == status
    assert place.task()["state"] == "CANCELLED"


@pytest.mark.parametrize("own_session", [True, False])
def test_hang_up_under_nohup(place: Place, own_session: bool) -> None:
    """Heeded where a search is the parent, which then has died, and only there."""
    launched = place.start(
        *("a.log", "bash", "-c", "touch started; sleep 1.5"),
        start_new_session=own_session,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    place.wait_for("started")
    launched.send_signal(signal.SIGHUP)
    assert launched.wait(15) == (129 if own_session else 0)
    assert place.task()["state"] != "CANCELLED"


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGKILL])
def test_a_launcher_that_died_is_attached_again(place: Place, signum: int) -> None:
    command = ("a.log", "bash", "-c", "touch started; sleep 1.5; echo done")
    launched = place.start(*command)
    place.wait_for("started")
    launched.send_signal(signum)
    assert launched.wait(15) in (129, -9)
    status, err = place.call(*command)
    assert (status, "attached to job 1 again" in err) == (0, True), err
    assert len(place.submissions()) == 1
    assert (place.folder / "a.log").read_text().count("\ndone\n") == 1
    assert place.call(*command)[0] == 0
    assert len(place.submissions()) == 2, "its end was seen: a new call is a new job"


def test_a_job_that_ended_while_nobody_watched_is_not_run_again(
    place: Place,
) -> None:
    command = ("a.log", "bash", "-c", "touch started; sleep 0.5; touch ended")
    launched = place.start(*command)
    place.wait_for("started")
    launched.kill()
    place.wait_for("ended")
    place.wait_for(f"q/{next((place.folder / 'q').iterdir()).name}/rc.1")
    assert place.call(*command)[0] == 0
    assert len(place.submissions()) == 1


def test_killed_between_submission_and_its_answer(place: Place) -> None:
    command = ("a.log", "bash", "-c", "touch started; sleep 1")
    place.switch("die", "sbatch")
    assert place.call(*command)[0] == -9
    place.wait_for("started")
    assert place.call(*command)[0] == 0
    assert len(place.submissions()) == 1, "found by its token"


def test_nothing_is_submitted_twice_while_the_controller_is_away(
    place: Place,
) -> None:
    launched = place.start(*SLEEP)
    place.wait_for("started")
    launched.kill()
    place.switch("down")
    status, err = place.call(*SLEEP)
    assert (status, "E_CLUSTER_UNREACHABLE" in err) == (76, True), err
    (place.fake / "down").unlink()
    place.scancel("1")


def test_an_outage_is_waited_for(place: Place) -> None:
    launched = place.start("a.log", "bash", "-c", "touch started; sleep 2")
    place.wait_for("started")
    place.switch("down")
    err = read_until(launched, "W_CLUSTER_UNREACHABLE")
    time.sleep(1)  # five more questions
    (place.fake / "down").unlink()
    assert launched.wait(15) == 0
    assert (err + launched.stderr.read()).count("W_CLUSTER_UNREACHABLE") == 1


@pytest.mark.parametrize("switch", ["down", "mute"])
def test_a_submission_waits_for_the_controller(place: Place, switch: str) -> None:
    place.switch(switch)
    launched = place.start("a.log", "bash", "-c", "echo once >>ended")
    err = read_until(launched, "W_CLUSTER_UNREACHABLE")
    time.sleep(1)
    (place.fake / "down").unlink(missing_ok=True)
    status = launched.wait(15)
    err += launched.stderr.read()
    assert (status, err.count("W_CLUSTER_UNREACHABLE")) == (0, 1), err
    assert (place.folder / "ended").read_text() == "once\n"
    assert len(place.submissions()) == 1, "an answer that was lost: found by its token"


def test_a_submission_does_not_wait_for_ever(place: Place) -> None:
    place.env["TOPDOWN_CLUSTER_AWAY"] = "0.5"
    place.switch("down")
    status, err = place.call("a.log", "true")
    assert (status, "E_CLUSTER_SUBMIT" in err) == (76, True), err


def test_a_job_that_can_never_start_is_said_once(place: Place) -> None:
    place.switch("pend", "PartitionConfig")
    launched = place.start("a.log", "true")
    err = read_until(launched, "W_CLUSTER_STUCK")
    time.sleep(1)
    launched.terminate()
    assert launched.wait(15) == 143
    assert (err + launched.stderr.read()).count("W_CLUSTER_STUCK") == 1


def test_path_sh_is_sourced_and_the_environment_comes_along(place: Place) -> None:
    (place.folder / "path.sh").write_text("export FROM_PATH_SH=yes\n")
    place.env["OMP_NUM_THREADS"] = "7"
    assert place.call("a.log", "env")[0] == 0
    log = (place.folder / "a.log").read_text()
    assert "\nFROM_PATH_SH=yes\n" in log and "\nOMP_NUM_THREADS=7\n" in log


@pytest.mark.parametrize(
    "conf, args, says",
    [
        (
            "command sbatch\noption mem=* -m $0\n",
            ["--mme", "4"],
            "E_CLUSTER_OPTION.*mem",
        ),
        ("command sbatch\noptoin mem=* -m\n", [], r"E_CLUSTER_CONF: .*line 2.*option"),
        ("option mem=* -m $0\n", [], "E_CLUSTER_CONF.*no 'command'"),
        ("command sbatch 'x\n", [], "E_CLUSTER_CONF.*line 1.*quote"),
        ("command sbatch\noption mem -m $0\n", [], "E_CLUSTER_CONF.*line 2"),
        ("command qsubb\n", [], "E_CLUSTER_CMD.*'qsubb'"),
        ("command sbatch --refuse\n", [], "E_CLUSTER_SUBMIT.*invalid partition"),
    ],
)
def test_bad_configuration(place: Place, conf: str, args: list[str], says: str) -> None:
    (place.folder / "x.conf").write_text(conf)
    status, err = place.call("--config", "x.conf", *args, "a.log", "true")
    assert status in (76, 78), err
    assert re.search(says, err), err
    assert place.submissions() == []


def test_a_missing_conf_file(place: Place) -> None:
    status, err = place.call("--config", "no.conf", "a.log", "true")
    assert (status, "E_MISSING: cannot read no.conf" in err) == (66, True)


def test_no_scheduler(place: Place) -> None:
    place.env["PATH"] = "/nowhere"
    status, err = place.call("a.log", "true")
    assert (status, "E_CLUSTER_CMD" in err) == (76, True), err


def test_two_calls_for_the_same_log(place: Place) -> None:
    launched = place.start(*SLEEP)
    place.wait_for("started")
    status, err = place.call(*SLEEP)
    assert (status, "E_LOCKED" in err) == (75, True), err
    launched.terminate()
    launched.wait(15)


@pytest.mark.parametrize(
    "outer",
    [
        {"SLURM_JOB_ID": "106", "SLURM_ARRAY_JOB_ID": "99", "SLURM_ARRAY_TASK_ID": "7"},
        {"JOB_ID": "106", "SGE_TASK_ID": "7"},
        {"SLURM_JOB_ID": "106", "SLURM_RESTART_COUNT": "3", "PMI_RANK": "1"},
        {"SBATCH_ARRAY_INX": "1-9", "OMPI_COMM_WORLD_RANK": "1"},
    ],
)
@pytest.mark.parametrize("array", [(), ("JOB=1:2",)])
def test_a_launcher_in_a_job_of_its_own(place: Place, outer, array) -> None:
    place.env.update(outer)
    script = "echo $PMI_RANK$OMPI_COMM_WORLD_RANK $SLURM_RESTART_COUNT $SGE_TASK_ID."
    log = "a.JOB.log" if array else "a.log"
    status, err = place.call(*array, log, "bash", "-c", script)
    assert status == 0, err
    assert "\n.\n" in (place.folder / log.replace("JOB", "1")).read_text()


@pytest.mark.parametrize(
    "refused, code",
    [
        ("Batch job submission failed: Job violates accounting/QOS policy", "REFUSED"),
        ("Batch job submission failed: Unexpected message received", "UNREACHABLE"),
        ("Please name your project, see the wiki", "REFUSED"),
    ],
)
def test_what_may_be_over_soon_is_waited_for(place: Place, refused, code) -> None:
    place.switch("refuse", refused)
    status, err = place.call("a.log", "true")
    assert status == 0 and f"W_CLUSTER_{code}" in err and refused in err, err


def test_what_is_unknown_is_not_waited_for_long(place: Place) -> None:
    place.env["TOPDOWN_CLUSTER_AWAY"] = "0.1"
    place.switch("refuse", "Please name your project!")
    status, err = place.call("a.log", "true")
    assert status == 76 and "E_CLUSTER_SUBMIT: sbatch refused a.log: sbatch: " in err
    assert "Please name your project" in err


def test_a_wrong_request_is_refused_with_its_option(place: Place) -> None:
    place.switch("refuse", "Requested time limit is invalid (missing or exceeds)")
    status, err = place.call("--time", "9-0", "a.log", "true")
    assert status == 76 and "Do: correct --time" in err, err
    assert "W_CLUSTER" not in err


@pytest.mark.parametrize("conf", ["command sbatch -M big\n", "command sbatch\n"])
def test_a_job_on_another_cluster(place: Place, conf: str) -> None:
    """Every question has its name; without it Slurm does not know the job."""
    (place.folder / "x.conf").write_text(conf)
    if "-M" not in conf:
        place.env["SBATCH_CLUSTERS"] = "big"
    place.switch("cluster", "big")
    command = ("--config", "x.conf", "a.log", "bash", "-c", "touch started; sleep 2")
    launched = place.start(*command)
    place.wait_for("started")
    launched.kill()
    status, err = place.call(*command)
    assert (status, "attached to job 1;big again" in err) == (0, True), err
    launched = place.start("--config", "x.conf", *SLEEP)
    place.wait_for("long.log")
    launched.terminate()
    assert launched.wait(15) == 143
    assert place.task("2")["state"] == "CANCELLED"


@pytest.mark.parametrize("died", ["", "launcher", "sbatch"])
def test_a_site_that_rewrites_comments(place: Place, died: str) -> None:
    """The job's script tells it from others, also after its launcher's death."""
    place.switch("comment", "project 42")
    command = ("a.log", "bash", "-c", "touch started; sleep 2.5; echo once >>ended")
    if died == "sbatch":
        place.switch("die", "sbatch")
    launched = place.start(*command)
    place.wait_for("started")
    if died:
        launched.kill()
        launched.wait()
        launched = place.start(*command)
    assert launched.wait(20) == 0, launched.stderr.read()
    assert (place.folder / "ended").read_text() == "once\n"
    assert len(place.submissions()) == 1


@pytest.mark.parametrize("died", [False, True])
def test_a_job_that_slurm_forgets_while_it_runs(place: Place, died: bool) -> None:
    """Its log is being written: it is neither lost nor submitted again."""
    command = ("a.log", "bash", "-c", "touch started; sleep 3; echo once >>ended")
    launched = place.start(*command)
    place.wait_for("started")
    if died:
        launched.kill()
    (place.fake / "jobs.json").write_text('{"next": 1}')
    if died:
        launched = place.start(*command)
    assert launched.wait(15) == 0, launched.stderr.read()
    assert "W_CLUSTER_UNKNOWN_JOB" in launched.stderr.read()
    assert (place.folder / "ended").read_text() == "once\n"


def test_a_job_that_waits_in_the_queue_says_so(place: Place) -> None:
    place.switch("pend", "Priority")
    launched = place.start("exp/a.log", "true")
    err = read_until(launched, "waits in the queue: PENDING, Priority")
    assert why_waiting(place.folder / "exp" / "a.log") == "PENDING, Priority", err
    launched.terminate()
    assert launched.wait(15) == 143


def test_what_cannot_be_cancelled_is_not_forgotten(place: Place) -> None:
    launched = place.start(*SLEEP)
    place.wait_for("started")
    place.switch("down")
    launched.terminate()
    assert launched.wait(20) == 143
    assert "W_CLUSTER_CANCEL: slurm: job 1 is not cancelled" in launched.stderr.read()
    (place.fake / "down").unlink()
    launched = place.start(*SLEEP)
    assert "attached to job 1" in read_until(launched, "attached")
    launched.terminate()
    assert launched.wait(15) == 143
    assert place.task()["state"] == "CANCELLED"
