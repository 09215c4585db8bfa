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

import os
import re
import sys
import time
from collections.abc import Sequence

from espnet_topdown.cmd import cluster, process
from espnet_topdown.cmd.local import parse
from espnet_topdown.cmd.scheduler import Signs, State, Unreachable
from espnet_topdown.cmd.submission import Submission
from espnet_topdown.errors import CLUSTER, USAGE, TopDownError, command

SIGNAL_SECONDS = 120  # before the time limit: USR2, see cmd/node.py
# A node refuses a job that starts in the very second in which the node has ended its
# last run (whose credential is revoked); Slurm calls the job FAILED then. The seconds
# are also for clocks that differ; Slurm itself waits for two minutes.
START_SECONDS = 5
_RELEASE_SECONDS = 60  # between two attempts
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
    """sbatch, squeue and scancel.

    Args:
        line: the call of sbatch, as the conf file has it. It, or the environment, may
            choose another cluster (``-M``); all questions then go there.
    """

    name = "slurm"
    default_conf = "conf/slurm.conf"
    builtin = _BUILTIN
    programs = ("squeue", "scancel")
    task = "SLURM_ARRAY_TASK_ID"

    def __init__(self, line: Sequence[str] = ()) -> None:
        self._line = list(line)
        self._again: dict[str, float] = {}  # not released again before, by task

    def submit_line(self, submission: Submission, token: str) -> list[str]:
        """The sbatch call; what we add stands behind the conf file's words."""
        line = [*self._line, "--parsable", f"--comment={token}"]
        line += ["--requeue", "--open-mode=append"]
        output = "out.%a" if submission.array else "out"
        line += [f"--output={submission.folder}/{output}"]
        line += [f"--signal=B:USR2@{SIGNAL_SECONDS}"]
        if "name" not in submission.request.given:
            line += [f"--job-name={submission.folder.parents[1].name}"]
        if submission.array:
            most = submission.request.options.get("max_jobs_run")
            line += [f"--array={submission.array}" + (f"%{most}" if most else "")]
        return [*line, str(submission.script)]

    def job_of(self, output: str) -> str:
        """The id in what sbatch printed; a site's messages may stand before it.

        >>> Slurm().job_of("Welcome\\n12;big\\n")
        '12;big'
        """
        found = re.findall(r"^(\d+(?:;\S+)?)\s*$", output, re.MULTILINE)
        if not found:
            what = f"sbatch printed no job id: {output.strip()!r}"
            raise TopDownError("E_CLUSTER_SUBMIT", what, "see 'squeue'", CLUSTER)
        return str(found[-1])

    def states(self, job: str, signs: Signs) -> dict[str, State]:
        """Of the tasks that Slurm still knows; none if the id is another's by now."""
        number, where = _place(job)
        line = ["squeue", *where, "-h", "-r", "-t", "all", "-j", number]
        found = {}
        for row in _rows([*line, "-o", "%K|%T|%k|%r|%o"]):
            index, word, comment, reason, script = (row + [""] * 5)[:5]
            if not word or not signs.fit(comment, script):
                continue
            task = index if index.isdigit() else "1"
            waits = ""
            if word == "PENDING":
                waits = f"{word}, {reason}"
            if word == "PENDING" and reason == "BeginTime":
                self._release(f"{number}_{index}" if index.isdigit() else number, where)
            stuck = bool(waits and _STUCK.search(reason))
            found[task] = State(word, word not in _ENDED, waits, stuck)
        return found

    def find(self, signs: Signs) -> str:
        """The id of the job with these signs, "" if there is none.

        Where a site has rewritten the comment, one that runs the script and lives.
        """
        likely = ""
        for where in self._clusters():
            line = ["squeue", *where, "-h", "-t", "all", "-o", "%A|%F|%k|%T|%o"]
            for row in _rows(line):
                _, job, comment, word, script = (row + [""] * 5)[:5]
                job = ";".join([job, *where[1:]])
                if comment == signs.token:
                    return job
                if script == signs.script and word not in _ENDED:
                    likely = job if signs.fit(comment, script) else likely
        return likely

    def cancel_line(self, job: str) -> list[str]:
        """The scancel call."""
        number, where = _place(job)
        return ["scancel", *where, number]

    def has_ended(self, said: str) -> bool:
        """Whether there is nothing to cancel any more."""
        return bool(re.search("invalid job id|already complet", said, re.IGNORECASE))

    def post_mortem(self, job: str) -> str:
        """What accounting says of a job that squeue has forgotten, if there is any."""
        number, where = _place(job)
        line = ["sacct", *where, "-n", "-X", "-P", "-j", number, "-o", "State"]
        status, out, _ = process.capture(line)
        return out.split("\n")[0].strip() if status == 0 else ""

    def _clusters(self) -> list[list[str]]:
        """The options for each cluster that a job may have gone to."""
        words = " ".join(self._line)
        chosen = re.search(r"(?:^| )(?:-M ?|--clusters?[= ])(\S+)", words)
        names = chosen[1] if chosen else os.environ.get("SBATCH_CLUSTERS", "")
        names = names or os.environ.get("SLURM_CLUSTERS", "")
        return [["-M", name] for name in names.split(",") if name] or [[]]

    def _release(self, task: str, where: list[str]) -> None:
        """Let a requeued task start soon; one of ``sbatch --begin`` is left alone."""
        if time.monotonic() < self._again.get(task, 0.0):
            return
        show = ["scontrol", *where, "-o", "show", "job", task]
        status, out, _ = process.capture(show)
        if status == 0 and re.search(r" Restarts=[1-9]", out):
            start = f"StartTime=now+{START_SECONDS}"
            line = ["scontrol", *where, "update", f"JobId={task}", start]
            if process.capture(line)[0] == 0:
                self._again[task] = time.monotonic() + _RELEASE_SECONDS


def _place(job: str) -> tuple[str, list[str]]:
    """A job's number, and the option that says on which cluster it is."""
    number, _, cluster_name = job.partition(";")
    return number, ["-M", cluster_name] if cluster_name else []


def _rows(line: list[str]) -> list[list[str]]:
    """What squeue prints; nothing if it knows no such job."""
    status, out, err = process.capture(line)
    if status != 0:
        if "Invalid job id" in err:
            return []
        raise Unreachable(" ".join(err.split()) or f"squeue status {status}")
    return [row.split("|", 4) for row in out.splitlines()]


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run one launcher call."""
    args = list(sys.argv[1:] if cmd is None else cmd)
    if not args or args[0] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if args else USAGE)
    sys.exit(cluster.run(parse(args), Slurm))


if __name__ == "__main__":
    main()
