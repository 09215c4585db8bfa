"""One submission on disk: what was asked, which job it became, how its tasks ended.

The folder is ``q/<log>-<digest>/`` beside the log; the digest is of the call, so the
same call finds the same folder again. It holds ``request.json`` (for the host that runs
it), ``job.sh``, ``submit.json`` (the token before, the job's id after submitting),
``run.N`` (locked while task N lives) and ``rc.N``. ``submit.json`` goes away when
somebody has taken note of the end: while it is there, a repeated call waits for that
job instead of submitting another.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.cmd._task import Task
from espnet_topdown.cmd.local import Request
from espnet_topdown.cmd.python import python_module, python_path
from espnet_topdown.files import Lock, is_held, write_bytes, write_json

ROOT = Path(__file__).resolve().parents[2]
_LAST_WORDS = 5  # lines of the job script's own output
# What a job needs to know of the place it was submitted from. PATH is up to the conf
# file, the rest to path.sh, which every job sources.
_EXPORTED = re.compile(
    r"PYTHON\w+|LANG|LC_\w+|LD_LIBRARY_PATH|VIRTUAL_ENV|CONDA_PREFIX|(OMP|MKL)_NUM_\w+"
    r"|MAIN_ROOT|ESPNET_ROOT|TOPDOWN_\w+|(GLOO|NCCL)_\w+"
)


@dataclass(frozen=True)
class OpenJob:
    """A job of a cluster that nobody has seen the end of.

    Attributes:
        folder: of its submission.
        scheduler: ``slurm`` or ``sge``; "" if an older version has submitted it.
        token: what marks it as ours.
        job: its id; "" while it is not known to be submitted.
        waits: why it does not run yet, "" if it does.
    """

    folder: Path
    scheduler: str
    token: str
    job: str
    waits: str


class Submission:
    """The folder of one launcher call."""

    def __init__(self, request: Request) -> None:
        self.request = request
        numbers = [str(number) for number in request.numbers or [1]]
        self.tasks: dict[str, Task] = dict(zip(numbers, request.tasks()))
        self.array = f"{numbers[0]}-{numbers[-1]}" if request.numbers else ""
        what = [os.getcwd(), request.log, request.command, request.numbers]
        digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:10]
        log = Path(request.log)
        name = re.sub(r"[^\w.-]", "_", log.name)
        self.folder = (log.parent / "q" / f"{name}-{digest}").absolute()
        self.script = self.folder / "job.sh"

    def lock(self, wait_seconds: float) -> Lock:
        """Return the lock of a call; a killed search's launcher may be on its way out.

        Args:
            wait_seconds: How long it is waited for.

        Raises:
            TopDownError: when it is entered, E_CREATE (73), E_LOCKED (75).
        """
        doing = f"waits for {self.request.log}"
        return Lock(self.folder / ".lock", wait_seconds=wait_seconds, doing=doing)

    def prepare(self, task: str) -> None:
        """Write what the hosts read; exit statuses of an earlier call are dropped.

        Args:
            task: the scheduler's variable with the number of an array's task.
        """
        for path in self.folder.glob("rc.*"):
            path.unlink()
        for of_this_call in self.tasks.values():
            of_this_call.status = None
        asked = {
            "tasks": {n: [t.log, t.command] for n, t in self.tasks.items()},
            "threads": self.request.count("num_threads", 1),
        }
        write_json(self.folder / "request.json", asked)
        write_bytes(self.script, self._script(task).encode())

    def _script(self, task: str) -> str:
        """Return what the scheduler starts; everything else happens in Python."""
        path = python_path(os.environ.get("PYTHONPATH", ""))
        if str(ROOT) not in path.split(":"):
            path = python_path(f"{ROOT}:{path}")
        exported = {k: v for k, v in os.environ.items() if _EXPORTED.fullmatch(k)}
        exported["PYTHONPATH"] = path
        request = str(self.folder / "request.json")
        command = shlex.join(python_module("espnet_topdown.cmd.node", request))
        number = f'"${{{task}:?}}"' if self.array else next(iter(self.tasks))
        lines = [
            "#!/bin/bash",
            f"cd {shlex.quote(os.getcwd())} || exit 1",
            *(f"export {k}={shlex.quote(v)}" for k, v in sorted(exported.items())),
            "if [ -f ./path.sh ]; then . ./path.sh; fi",
            f"exec {command} {number}",
        ]
        return "\n".join(lines) + "\n"

    def write_job(self, scheduler: str, token: str, job: str, waits: str) -> None:
        """Remember what is about to be, or has been, submitted, and what it waits for.

        The file is replaced as a whole; see ``OpenJob``.
        """
        text = {"scheduler": scheduler, "token": token, "job": job}
        text.update(log=self.request.log, waits=waits)
        write_json(self.folder / "submit.json", text)

    def remove_job(self) -> None:
        """The end of the job was seen: the next call submits anew."""
        (self.folder / "submit.json").unlink(missing_ok=True)

    def read_statuses(self) -> list[str]:
        """Give the tasks the exit statuses that are there.

        Returns:
            The tasks without one.
        """
        try:
            names = set(os.listdir(self.folder))  # also refreshes a network folder
        except OSError:
            names = set()
        for number, task in self.tasks.items():
            if f"rc.{number}" in names:
                text = (self.folder / f"rc.{number}").read_text("utf-8").strip()
                task.status = int(text) if text.isdigit() else 1
        return [number for number, task in self.tasks.items() if task.status is None]

    def is_running(self, number: str) -> bool:
        """Return whether a task lives, whatever the scheduler says of it.

        Args:
            number: Of the task, a key of ``tasks``.
        """
        return is_held(self.folder / f"run.{number}")

    def job_output(self) -> list[str]:
        """Return the last words of the job script itself: Slurm's and the shell's."""
        words: list[str] = []
        for path in sorted(self.folder.glob("out*")):
            words += path.read_text("utf-8", errors="replace").splitlines()
        return words[-_LAST_WORDS:]


def read_open_job(folder: Path) -> OpenJob | None:
    try:
        text = json.loads((folder / "submit.json").read_text("utf-8"))
        fields = (str(text.get(n, "")) for n in ("scheduler", "token", "job", "waits"))
        return OpenJob(folder, *fields)
    except (OSError, ValueError, AttributeError):
        return None
