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
import time
from collections.abc import Sequence

from espnet_topdown.cmd import _cluster, _process
from espnet_topdown.cmd._scheduler import QueueRow, Scheduler, Signs
from espnet_topdown.cmd._submission import Submission
from espnet_topdown.cmd.local import launcher_main
from espnet_topdown.errors import command

_SIGNAL_SECONDS = 120  # before the time limit: USR2, see cmd/node.py
# A node refuses a job that starts in the very second in which the node has ended its
# last run (whose credential is revoked); Slurm calls the job FAILED then. The seconds
# are also for clocks that differ; Slurm itself waits for two minutes.
_START_SECONDS = 5
_RELEASE_SECONDS = 60  # between two attempts
_ENDED = (
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED "
    "REVOKED TIMEOUT"
).split()
_STUCK = re.compile(
    "PartitionConfig|BadConstraints|Dependency\\w*Never|Held|held|JobHold|InactiveLimit|"
    "InvalidAccount|InvalidQOS|ReservationDeleted|PartitionDown|PartitionNodeLimit|"
    "PartitionTimeLimit|Assoc\\w*Limit|QOSMax\\w*PerJob|down|DOWN|drain|DRAIN|"
    "ReqNodeNotAvail|NodeDown|AccountNotAllowed"
)
_SEPARATOR = "\x1f"  # stands in no comment of a site's, and in no name of a file
_FIELDS = _SEPARATOR.join(["%F", "%K", "%T", "%k", "%r", "%o"])


class Slurm(Scheduler):
    """sbatch, squeue and scancel.

    The call of sbatch, or the environment, may choose another cluster (``-M``); all
    questions then go there.
    """

    name = "slurm"
    default_conf = "conf/slurm.conf"
    builtin = """command sbatch
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
    programs = ("squeue", "scancel")
    task = "SLURM_ARRAY_TASK_ID"
    id = r"^(\d+(?:;\S+)?)\s*$"
    unknown = "invalid job id|already complet"

    def __init__(self, line: Sequence[str] = ()) -> None:
        super().__init__(line)
        self._again: dict[str, float] = {}  # not released again before, by task

    def submit_line(self, submission: Submission, token: str) -> list[str]:
        """Return the call of sbatch."""
        line = [*self._line, "--parsable", f"--comment={token}"]
        line += ["--requeue", "--open-mode=append"]
        output = "out.%a" if submission.array else "out"
        line += [f"--output={submission.folder}/{output}"]
        line += [f"--signal=B:USR2@{_SIGNAL_SECONDS}"]
        if "name" not in submission.request.options:
            line += [f"--job-name={submission.folder.parents[1].name}"]
        if submission.array:
            most = submission.request.count("max_jobs_run")
            line += [f"--array={submission.array}" + (f"%{most}" if most else "")]
        return [*line, str(submission.script)]

    def rows(self, job: str = "") -> list[QueueRow]:
        """Return what squeue lists."""
        number, where = _place(job)
        rows = []
        for place in [where] if job else self._clusters():
            line = ["squeue", *place, "-h", "-t", "all", "-o", _FIELDS]
            line += ["-r", "-j", number] if job else []
            for text in self.ask(line).splitlines():
                row = (text.split(_SEPARATOR, 5) + [""] * 6)[:6]
                rows += [_row(row, place)] if row[2] else []
        return rows

    def tasks(self, job: str, signs: Signs) -> dict[str, QueueRow]:
        """Return those that are still known; a requeued one is let go on soon."""
        tasks = super().tasks(job, signs)
        for row in tasks.values():
            if row.waits == "PENDING, BeginTime":
                self._release(row.id, _place(job)[1])
        return tasks

    def cancel_line(self, job: str) -> list[str]:
        """Return the call of scancel."""
        number, where = _place(job)
        return ["scancel", *where, number]

    def post_mortem(self, job: str) -> str:
        """Return the state that sacct knows."""
        number, where = _place(job)
        line = ["sacct", *where, "-n", "-X", "-P", "-j", number, "-o", "State"]
        status, out, _ = _process.capture(line)
        return out.split("\n")[0].strip() if status == 0 else ""

    def _clusters(self) -> list[list[str]]:
        """Return the options for each cluster that a job may have gone to."""
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
        status, out, _ = _process.capture(show)
        if status == 0 and re.search(r" Restarts=[1-9]", out):
            start = f"StartTime=now+{_START_SECONDS}"
            line = ["scontrol", *where, "update", f"JobId={task}", start]
            if _process.capture(line)[0] == 0:
                self._again[task] = time.monotonic() + _RELEASE_SECONDS


def _place(job: str) -> tuple[str, list[str]]:
    """Return a job's number, and the option that says on which cluster it is."""
    number, _, cluster_name = job.partition(";")
    return number, ["-M", cluster_name] if cluster_name else []


def _row(fields: Sequence[str], place: list[str]) -> QueueRow:
    number, index, word, comment, reason, script = fields
    job = ";".join([number, *place[1:]])
    task, own = (index, f"{number}_{index}") if index.isdigit() else ("1", number)
    waits = f"{word}, {reason}" if word == "PENDING" else ""
    stuck = bool(waits and _STUCK.search(reason))
    active = word not in _ENDED
    return QueueRow(job, comment, script, task, own, word, active, waits, stuck)


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run one launcher call."""
    launcher_main(str(__doc__), lambda request: _cluster.run(request, Slurm), cmd)


if __name__ == "__main__":
    main()
