"""python -m espnet_topdown.cmd.slurm [--option value].. [JOB=1:N] LOG command..

Runs a command on a Slurm cluster, output to LOG; with JOB=1:N it is a job array. It
blocks; the exit status is 0 only if every task succeeded.

  --config FILE      what options mean to sbatch, Kaldi's format (conf/slurm.conf)
  --max_jobs_run N   tasks of an array at a time
  --mem, --gpu, --num_threads, --time, --name, ...   as the conf file says

INT and TERM cancel the job. It runs on when this command is killed or hung up on; the
same call then waits for it instead of submitting it again. Jobs source ./path.sh.
TOPDOWN_CLUSTER_ASK (seconds, default 30) is how often squeue is asked at most.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Sequence

from espnet_topdown.cmd import cluster, process
from espnet_topdown.cmd.conf import Conf
from espnet_topdown.cmd.local import parse
from espnet_topdown.cmd.scheduler import State, Unreachable
from espnet_topdown.cmd.submission import Submission
from espnet_topdown.errors import CLUSTER, USAGE, TopDownError, command

SIGNAL_SECONDS = 120  # before the time limit: USR2, see cmd/node.py
# A node refuses a job that starts in the very second in which the node has ended its
# last run (whose credential is revoked); Slurm calls the job FAILED then. The seconds
# are also for clocks that differ; Slurm itself waits for two minutes.
START_SECONDS = 5
_RELEASE_SECONDS = 60  # between two attempts
_OURS = ("config", "max_jobs_run")
_ENDED = (
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED "
    "REVOKED TIMEOUT"
).split()
_STUCK = re.compile(
    "PartitionConfig|BadConstraints|Dependency\\w*Never|Held|held|InactiveLimit|"
    "InvalidAccount|InvalidQOS|Reserved?Deleted|PartitionDown|PartitionNodeLimit|"
    "PartitionTimeLimit|Assoc\\w*Limit|QOSMax\\w*PerJob|down|DOWN|drain|DRAIN|"
    "ReqNodeNotAvail|NodeDown|AccountNotAllowed"
)
_BUILTIN = """command sbatch
option name=* --job-name $0
option time=* --time $0
option mem=* --mem-per-cpu $0
option mem=0
option num_threads=* --cpus-per-task $0
option num_nodes=* --nodes $0
option partition=* --partition $0
default gpu=0
option gpu=0
option gpu=* --gres=gpu:$0
"""


class Slurm:
    """sbatch, squeue and scancel."""

    name = "slurm"
    default_conf = "conf/slurm.conf"
    builtin = _BUILTIN

    def __init__(self) -> None:
        self._again: dict[str, float] = {}  # not released again before, by task

    def submit_line(self, conf: Conf, submission: Submission, token: str) -> list[str]:
        """The sbatch call; what we add stands behind the conf file's words."""
        given = submission.request.given
        options = {k: v for k, v in given.items() if k not in _OURS or conf.knows(k)}
        line = [*conf.line(options), "--parsable", f"--comment={token}"]
        line += ["--requeue", "--open-mode=append"]
        output = "out.%a" if submission.array else "out"
        line += [f"--output={submission.folder}/{output}"]
        line += [f"--signal=B:USR2@{SIGNAL_SECONDS}"]
        if "name" not in given:
            line += [f"--job-name={submission.folder.parents[1].name}"]
        if submission.array:
            most = submission.request.options.get("max_jobs_run")
            line += [f"--array={submission.array}" + (f"%{most}" if most else "")]
        return [_find(line[0]), *line[1:], str(submission.folder / "job.sh")]

    def job_of(self, output: str) -> str:
        """The id in what sbatch printed; a site's messages may stand before it."""
        lines = output.split("\n")
        found = [m for m in (re.match(r"(\d+)(;|$)", s) for s in lines) if m]
        if not found:
            what = f"sbatch printed no job id: {output.strip()!r}"
            raise TopDownError("E_CLUSTER_SUBMIT", what, "see 'squeue'", CLUSTER)
        return found[-1][1]

    def states(self, job: str, token: str) -> dict[str, State]:
        """Of the tasks that Slurm still knows; none if the id is another's by now."""
        line = ["squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%K|%T|%k|%r"]
        status, out, err = process.capture(line)
        if status != 0:
            if "Invalid job id" in err:
                return {}
            raise Unreachable(" ".join(err.split()) or f"squeue status {status}")
        found = {}
        for row in out.splitlines():
            number, word, comment, reason = (row.split("|", 3) + [""] * 3)[:4]
            if comment != token:
                continue
            active = word not in _ENDED
            stuck = reason if word == "PENDING" and _STUCK.search(reason) else ""
            if word == "PENDING" and reason == "BeginTime":
                self._release(f"{job}_{number}" if number.isdigit() else job)
            found[number if number.isdigit() else "1"] = State(word, active, stuck)
        return found

    def find(self, token: str) -> str:
        """The id of the job with this token, "" if there is none."""
        line = ["squeue", "-h", "-t", "all", "-o", "%A|%F|%k"]
        status, out, err = process.capture(line)
        if status != 0:
            raise Unreachable(" ".join(err.split()) or f"squeue status {status}")
        rows = [row.split("|", 2) for row in out.splitlines()]
        return next((row[1] for row in rows if row[-1] == token), "")

    def cancel(self, job: str) -> None:
        """scancel, whatever it says."""
        process.capture(["scancel", job])

    def post_mortem(self, job: str) -> str:
        """What accounting says of a job that squeue has forgotten, if there is any."""
        line = ["sacct", "-n", "-X", "-P", "-j", job, "-o", "State"]
        status, out, _ = process.capture(line)
        return out.split("\n")[0].strip() if status == 0 else ""

    def _release(self, task: str) -> None:
        """Let a requeued task start soon; one of ``sbatch --begin`` is left alone."""
        if time.monotonic() < self._again.get(task, 0.0):
            return
        status, out, _ = process.capture(["scontrol", "-o", "show", "job", task])
        if status == 0 and re.search(r" Restarts=[1-9]", out):
            start = f"StartTime=now+{START_SECONDS}"
            line = ["scontrol", "update", f"JobId={task}", start]
            if process.capture(line)[0] == 0:
                self._again[task] = time.monotonic() + _RELEASE_SECONDS


def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        what = f"there is no '{program}' here, so no Slurm to submit to"
        do = "go to a machine that submits jobs, or use cmd_backend=local"
        raise TopDownError("E_CLUSTER_CMD", what, do, CLUSTER)
    return found


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run one launcher call."""
    args = list(sys.argv[1:] if cmd is None else cmd)
    if not args or args[0] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if args else USAGE)
    sys.exit(cluster.run(parse(args), Slurm()))


if __name__ == "__main__":
    main()
