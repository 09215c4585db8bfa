"""The Grid Engine launcher against a simulator: what differs from Slurm's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import submitting
from launching import read_until

ESPNETS = submitting.REPOSITORY / "egs2" / "TEMPLATE" / "asr1" / "conf" / "queue.conf"
pytestmark = pytest.mark.timeout(60)

QSUB = """#!/bin/bash
echo "$@" >>$FAKE/calls
n=$(( $(cat $FAKE/next 2>/dev/null || echo 6) + 1 )); echo $n >$FAKE/next
while [ $# -gt 1 ]; do
  case $1 in -ac) token=$2 ;; -t) tasks=$2 ;; -o) out=$2 ;; esac; shift
done
echo "$token" >$FAKE/$n.token
echo "$1" >$FAKE/$n.script
[ -e $FAKE/full ] && { cat $FAKE/full; rm $FAKE/full; exit 1; } >&2
[ -e $FAKE/refuse ] && { echo "Unable to run job: unknown queue" >&2; exit 1; }
for i in $(seq ${tasks%-*} ${tasks#*-}) ${tasks:-undefined}; do
  case $i in *-*) continue ;; esac
  if [ -z "$tasks" ]; then i=undefined; fi
  SGE_TASK_ID=$i JOB_ID=$n setsid bash $1 >>$out 2>&1 </dev/null &
  echo $! >>$FAKE/$n.pids
done
echo "$n${tasks:+.$tasks:1}"
"""
QSTAT = """#!/bin/bash
[ -e $FAKE/down ] && { echo "error: unable to contact qmaster" >&2; exit 1; }
alive() {
  for p in $(cat $FAKE/$1.pids); do kill -0 $p 2>/dev/null && return 0; done
  return 1
}
if [ "$1" = -j ]; then
  found=1
  for f in $FAKE/*.token; do
    n=$(basename $f .token)
    { [ "$2" = "*" ] || [ "$2" = $n ]; } && alive $n || continue
    echo "job_number:                 $n"
    echo "context:                    $(cat $FAKE/context 2>/dev/null || cat $f)"
    echo "script_file:                $(cat $FAKE/$n.script)"
    found=0
  done
  [ $found = 0 ] || echo "Following jobs do not exist: $2" >&2
  exit $found
fi
echo "job-ID  prior   name user state submit/start at queue slots ja-task-ID"
for f in $FAKE/*.token; do
  n=$(basename $f .token)
  state=$(cat $FAKE/state 2>/dev/null || echo r)
  alive $n && echo "$n 0.5 x me $state 11/21/2026 18:00:00 q@h 3"  # slots
done
exit 0
"""
QDEL = """#!/bin/bash
for p in $(cat $FAKE/$1.pids); do kill -KILL -- -$p; done
echo "$1" >>$FAKE/deleted
"""


class Place(submitting.Place):
    """Beside the three commands above."""

    def __init__(self, folder: Path) -> None:
        commands = folder / "bin"
        commands.mkdir()
        for name, text in (("qsub", QSUB), ("qstat", QSTAT), ("qdel", QDEL)):
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        super().__init__(folder, "sge", commands, "FAKE", ask=0.3)

    def calls(self) -> list[str]:
        return (self.fake / "calls").read_text().splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


SLEEP = ("long.log", "bash", "-c", "touch started; sleep 20")


def test_espnets_conf_file_unchanged(place: Place) -> None:
    (place.folder / "conf").mkdir()
    shutil.copy(ESPNETS, place.folder / "conf")
    status = place.call("--gpu", "1", "--mem", "4G", "-pe", "smp", "3", "a.log", "true")
    assert status == (0, "")
    (line,) = place.calls()
    for words in ("-l gpu=1 -q g.q", "-l mem_free=4G,ram_free=4G", "-pe smp 3"):
        assert words in line
    assert "-v PATH -cwd -S /bin/bash" in line and "-terse -ac topdown=topdown-" in line


def test_an_array_with_a_failing_task(place: Place) -> None:
    command = ("JOB=1:3", "x.JOB.log", "bash", "-c", "test JOB != 2")
    status, err = place.call("--max-jobs-run", "2", *command)
    assert (status, "1 of 3 tasks failed (job 7)" in err) == (1, True), err
    assert "-t 1-3 -tc 2" in place.calls()[0]


def test_a_job_that_vanished(place: Place) -> None:
    launched = place.start(*SLEEP)
    place.wait_for("started")
    subprocess.run(["qdel", "7"], env=place.env, check=True)
    assert launched.wait(15) == 1
    assert "no exit status; the scheduler lost it" in launched.stderr.read()


def test_term_deletes_the_job(place: Place) -> None:
    launched = place.start(*SLEEP)
    place.wait_for("started")
    launched.terminate()
    assert launched.wait(15) == 143
    assert (place.fake / "deleted").read_text() == "7\n"


def test_a_launcher_that_was_killed_is_attached_again(place: Place) -> None:
    command = ("a.log", "bash", "-c", "touch started; sleep 2")
    launched = place.start(*command)
    place.wait_for("started")
    launched.kill()
    launched.wait()
    status, err = place.call(*command)
    assert (status, "attached to job 7 again" in err) == (0, True), err
    assert len(place.calls()) == 1


def test_a_job_in_error_is_said_once_and_an_outage_waited_for(place: Place) -> None:
    launched = place.start("a.log", "bash", "-c", "touch started; sleep 3")
    (place.fake / "state").write_text("Eqw")
    place.wait_for("started")
    err = read_until(launched, "W_CLUSTER_STUCK")
    (place.fake / "down").touch()
    assert launched.wait(20) == 0
    err += launched.stderr.read()
    assert (err.count("W_CLUSTER_STUCK"), err.count("W_CLUSTER_UNREACHABLE")) == (1, 1)


def test_a_refused_submission_and_no_scheduler(place: Place) -> None:
    (place.fake / "refuse").touch()
    status, err = place.call("a.log", "true")
    assert status == 76
    assert "E_CLUSTER_SUBMIT" in err and "unknown queue" in err
    place.env["PATH"] = "/nowhere"
    status, err = place.call("a.log", "true")
    assert (status, "E_CLUSTER_CMD" in err) == (76, True)


@pytest.mark.parametrize(
    "outer",
    [{"SLURM_JOB_ID": "106", "SLURM_ARRAY_TASK_ID": "7"},
     {"JOB_ID": "106", "SGE_TASK_ID": "7", "RESTARTED": "1", "NSLOTS": "9"}],
)  # fmt: skip
def test_a_launcher_in_a_job_of_its_own(place: Place, outer) -> None:
    place.env.update(outer)
    script = "echo $SLURM_JOB_ID$RESTARTED$NSLOTS."
    status, err = place.call("a.log", "bash", "-c", script)
    assert status == 0 and "\n.\n" in (place.folder / "a.log").read_text(), err


def test_a_limit_of_jobs_is_waited_for(place: Place) -> None:
    said = "Unable to run job: job rejected: only 2 jobs are allowed per user"
    place.switch("full", said)
    status, err = place.call("a.log", "true")
    assert status == 0 and f"W_CLUSTER_REFUSED: sge: not submitted yet: {said}" in err


def test_a_site_that_rewrites_contexts(place: Place) -> None:
    place.switch("context", "project=42")
    command = ("a.log", "bash", "-c", "touch started; sleep 2; echo once >>ended")
    launched = place.start(*command)
    place.wait_for("started")
    launched.kill()
    assert place.call(*command)[0] == 0
    assert (place.folder / "ended").read_text() == "once\n"
