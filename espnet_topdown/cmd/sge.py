"""python -m espnet_topdown.cmd.sge [--option value].. [JOB=1:N] LOG command..

Runs a command on a Grid Engine cluster, output to LOG; with JOB=1:N it is an array job.
It blocks; the exit status is 0 only if every task succeeded.

  --config FILE      what options mean to qsub, Kaldi's format (conf/queue.conf)
  --max_jobs_run N   tasks of an array at a time
  --mem, --gpu, --num_threads, --name, ...   as the conf file says

INT and TERM cancel the job. It runs on when this command is killed or hung up on; the
same call then waits for it instead of submitting it again. Jobs source ./path.sh.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from espnet_topdown.cmd import cluster, process
from espnet_topdown.cmd.local import parse
from espnet_topdown.cmd.scheduler import Signs, State, Unreachable
from espnet_topdown.cmd.submission import Submission
from espnet_topdown.errors import CLUSTER, USAGE, TopDownError, command

_BUILTIN = """command qsub -v PATH -cwd -S /bin/bash -j y
option name=* -N $0
option mem=* -l mem_free=$0
option mem=0
option num_threads=* -pe smp $0
option num_threads=1
default gpu=0
option gpu=0
option gpu=* -l gpu=$0
"""
_UNKNOWN = re.compile("do(es)? not exist", re.IGNORECASE)


class GridEngine:
    """qsub, qstat and qdel."""

    name = "sge"
    default_conf = "conf/queue.conf"
    builtin = _BUILTIN
    programs = ("qstat", "qdel")
    task = "SGE_TASK_ID"

    def __init__(self, line: Sequence[str] = ()) -> None:
        self._line = list(line)

    def submit_line(self, submission: Submission, token: str) -> list[str]:
        """The qsub call; what we add stands behind the conf file's words."""
        given = submission.request.given
        line = [*self._line, "-terse", "-ac", f"topdown={token}", "-r", "y"]
        line += ["-notify", "-o", str(submission.folder / "out"), "-j", "y"]
        if "name" not in given:
            line += ["-N", f"td.{submission.folder.parents[1].name}"]
        if submission.array:
            line += ["-t", submission.array]
            if "max_jobs_run" in given:
                line += ["-tc", given["max_jobs_run"]]
        return [*line, str(submission.script)]

    def job_of(self, output: str) -> str:
        """The id in what ``qsub -terse`` printed: ``12`` or ``12.1-3:1``."""
        lines = output.split("\n")
        found = [m for m in (re.match(r"(\d+)(\.|\s*$)", s) for s in lines) if m]
        if not found:
            what = f"qsub printed no job id: {output.strip()!r}"
            raise TopDownError("E_CLUSTER_SUBMIT", what, "see 'qstat'", CLUSTER)
        return found[-1][1]

    def states(self, job: str, signs: Signs) -> dict[str, State]:
        """Of the tasks that wait or run; Grid Engine forgets a task that has ended."""
        status, out, err = process.capture(["qstat", "-j", job])
        if status != 0:
            if _UNKNOWN.search(out + err):
                return {}
            raise Unreachable(" ".join(err.split()) or f"qstat status {status}")
        if not signs.fit(_field(out, "context"), _field(out, "script_file")):
            return {}
        status, out, err = process.capture(["qstat", "-g", "d", "-u", "*"])
        if status != 0:
            raise Unreachable(" ".join(err.split()) or f"qstat status {status}")
        found = {}
        for row in (s.split() for s in out.splitlines()):
            if row and row[0] == job:
                word = row[4]
                never = self._never(job, word)
                if re.search("E|h", word):
                    never = "see 'qstat -j'"
                waits = f"{word}, {never}".rstrip(", ") if "q" in word else never
                columns = 9 if "@" in row[7] else 8  # a task that waits has no queue
                task = row[columns] if len(row) > columns else "1"
                found[task] = State(word, True, waits, bool(never))
        return found

    def _never(self, job: str, word: str) -> str:
        """Why a waiting job fits nowhere, even if nothing else ran; "" if it may."""
        if word != "qw":
            return ""
        _, out, _ = process.capture(["qalter", "-w", "v", job])
        lines = [" ".join(s.split()) for s in out.splitlines()]
        # what hosts report of themselves, such as mem_free, is unknown to this check
        known = [s for s in lines if "cannot run" in s and "unknown resource" not in s]
        return known[0] if known and "no suitable queues" in out else ""

    def find(self, signs: Signs) -> str:
        """The id of the job with these signs, "" if there is none."""
        status, out, err = process.capture(["qstat", "-j", "*"])
        if status != 0 and not _UNKNOWN.search(out + err):
            raise Unreachable(" ".join(err.split()) or f"qstat status {status}")
        likely = ""
        for text in re.split("^=+$", out, flags=re.MULTILINE):
            job, token = _field(text, "job_number"), _field(text, "context")
            script = _field(text, "script_file")
            if signs.token in token:
                return job
            if script == signs.script and signs.fit(token, script):
                likely = job
        return likely

    def cancel_line(self, job: str) -> list[str]:
        """The qdel call."""
        return ["qdel", job]

    def has_ended(self, said: str) -> bool:
        """Whether there is nothing to cancel any more."""
        return bool(_UNKNOWN.search(said))

    def post_mortem(self, job: str) -> str:
        """What qacct says of a job that has gone without an exit status."""
        status, out, _ = process.capture(["qacct", "-j", job])
        failed = re.search(r"^failed\s+(.*?)\s*$", out, re.MULTILINE)
        return f"failed: {failed[1]}" if status == 0 and failed else ""


def _field(text: str, name: str) -> str:
    """A field in what ``qstat -j`` prints."""
    found = re.search(rf"^{name}:\s*(.*?)\s*$", text, re.MULTILINE)
    return found[1] if found else ""


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run one launcher call."""
    args = list(sys.argv[1:] if cmd is None else cmd)
    if not args or args[0] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if args else USAGE)
    sys.exit(cluster.run(parse(args), GridEngine))


if __name__ == "__main__":
    main()
