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

import dataclasses
import re
from collections.abc import Sequence

from espnet_topdown.cmd import _cluster, _process
from espnet_topdown.cmd._scheduler import QueueRow, Scheduler
from espnet_topdown.cmd._submission import Submission
from espnet_topdown.cmd.local import launcher_main
from espnet_topdown.errors import command


class GridEngine(Scheduler):
    """qsub, qstat and qdel."""

    name = "sge"
    default_conf = "conf/queue.conf"
    builtin = """command qsub -v PATH -cwd -S /bin/bash -j y
option name=* -N $0
option mem=* -l mem_free=$0
option mem=0
option num_threads=* -pe smp $0
option num_threads=1
default gpu=0
option gpu=0
option gpu=* -l gpu=$0
"""
    programs = ("qstat", "qdel")
    task = "SGE_TASK_ID"
    id = r"^(\d+)(?:\.\S*)?\s*$"  # as ``qsub -terse`` prints it: 12 or 12.1-3:1
    unknown = "do(es)? not exist"

    def submit_line(self, submission: Submission, token: str) -> list[str]:
        """Return the call of qsub."""
        given = submission.request.options
        line = [*self._line, "-terse", "-ac", f"topdown={token}", "-r", "y"]
        line += ["-notify", "-o", str(submission.folder / "out"), "-j", "y"]
        if "name" not in given:
            line += ["-N", f"td.{submission.folder.parents[1].name}"]
        if submission.array:
            line += ["-t", submission.array]
            if "max_jobs_run" in given:
                line += ["-tc", given["max_jobs_run"]]
        return [*line, str(submission.script)]

    def rows(self, job: str = "") -> list[QueueRow]:
        """Return the tasks; Grid Engine forgets one that has ended."""
        rows = []
        listed = self.ask(["qstat", "-j", job or "*"])
        for text in re.split("^=+$", listed, flags=re.MULTILINE):
            number, script = _field(text, "job_number"), _field(text, "script_file")
            if number:
                row = QueueRow(number, _field(text, "context"), script)
                rows += self._tasks(row) if job else [row]
        return rows

    def _tasks(self, job: QueueRow) -> list[QueueRow]:
        rows = []
        listed = self.ask(["qstat", "-g", "d", "-u", "*"])
        for words in map(str.split, listed.splitlines()):
            if words and words[0] == job.job:
                word = words[4]
                never = "see 'qstat -j'" if re.search("E|h", word) else ""
                never = never or self._never(job.job, word)
                waits = f"{word}, {never}".rstrip(", ") if "q" in word else never
                column = 9 if "@" in words[7] else 8  # a task that waits has no queue
                task = words[column] if len(words) > column else "1"
                row = dataclasses.replace(job, task=task, word=word)
                rows.append(dataclasses.replace(row, waits=waits, stuck=bool(never)))
        return rows

    def _never(self, job: str, word: str) -> str:
        """Return why a waiting job fits nowhere, even on idle hosts; "" if it may."""
        if word != "qw":
            return ""
        _, out, _ = _process.capture(["qalter", "-w", "v", job])
        lines = [" ".join(s.split()) for s in out.splitlines() if "cannot run" in s]
        # what hosts report of themselves, such as mem_free, is unknown to this check
        reasons = [s for s in lines if "unknown resource" not in s]
        return reasons[0] if reasons and "no suitable queues" in out else ""

    def cancel_line(self, job: str) -> list[str]:
        """Return the call of qdel."""
        return ["qdel", job]

    def post_mortem(self, job: str) -> str:
        """Return how qacct says that it failed."""
        status, out, _ = _process.capture(["qacct", "-j", job])
        failed = re.search(r"^failed\s+(.*?)\s*$", out, re.MULTILINE)
        return f"failed: {failed[1]}" if status == 0 and failed else ""


def _field(text: str, name: str) -> str:
    """Return a field in what ``qstat -j`` prints."""
    field = re.search(rf"^{name}:\s*(.*?)\s*$", text, re.MULTILINE)
    return field[1] if field else ""


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run one launcher call."""
    launcher_main(str(__doc__), lambda request: _cluster.run(request, GridEngine), cmd)


if __name__ == "__main__":
    main()
