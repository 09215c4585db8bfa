"""One submission on disk: what was asked, which job it became, how its tasks ended.

The folder is ``q/<log>-<digest>/`` beside the log; the digest is of the call, so the
same call finds the same folder again. It holds ``request.json`` (for the node),
``job.sh``, ``submit.json`` (the token before, the job's id after submitting), ``run.N``
(locked while task N lives) and ``rc.N``. ``submit.json`` goes away when somebody has
taken note of the end: while it is there, a repeated call waits for that job instead of
submitting another.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.cmd.local import Request
from espnet_topdown.cmd.python import python_module, python_path
from espnet_topdown.cmd.task import Task, waits_for
from espnet_topdown.errors import CREATE, TopDownError
from espnet_topdown.files import (
    Lock,
    is_held,
    json_bytes,
    write_bytes,
    write_json,
)

ROOT = Path(__file__).resolve().parents[2]
# What a job needs to know of the place it was submitted from. PATH is up to the conf
# file, the rest to path.sh, which every job sources.
_EXPORTED = re.compile(
    r"PYTHON\w+|LANG|LC_\w+|LD_LIBRARY_PATH|VIRTUAL_ENV|CONDA_PREFIX|(OMP|MKL)_NUM_\w+"
    r"|MAIN_ROOT|ESPNET_ROOT|TOPDOWN_\w+|(GLOO|NCCL)_\w+"
)


class Submission:
    """The folder of one launcher call."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.tasks: dict[str, Task] = {
            str(number): task
            for number, task in zip(request.numbers or [1], request.tasks())
        }
        what = [os.getcwd(), request.log, request.command, request.numbers]
        digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:10]
        log = Path(request.log)
        name = re.sub(r"[^\w.-]", "_", log.name)
        self.folder = (log.parent / "q" / f"{name}-{digest}").absolute()
        self.script = self.folder / "job.sh"

    def lock(self, wait_seconds: float) -> Lock:
        """One launcher a call; that of a search that was killed may be on its way out.

        Raises:
            TopDownError: E_CREATE (73).
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            what = f"cannot write {self.folder}: {e.strerror}"
            do = "choose a log in a folder that you and the nodes can write to"
            raise TopDownError("E_CREATE", what, do, CREATE) from e
        doing = f"waits for {self.request.log}"
        path = self.folder / ".lock"
        return Lock(path, wait_seconds=wait_seconds, doing=doing)

    @property
    def array(self) -> str:
        """The scheduler's range of task numbers, "" for a single task."""
        numbers = self.request.numbers
        return f"{numbers[0]}-{numbers[-1]}" if numbers else ""

    def prepare(self, task: str) -> None:
        """Write what the nodes read; exit statuses of an earlier call are dropped.

        Args:
            task: the scheduler's variable with the number of an array's task.
        """
        for path in self.folder.glob("rc.*"):
            path.unlink()
        asked = {
            "tasks": {n: [t.log, t.command] for n, t in self.tasks.items()},
            "threads": self.request.options.get("num_threads", 1),
        }
        write_json(self.folder / "request.json", asked)
        write_bytes(self.script, self._script(task).encode())

    def _script(self, task: str) -> str:
        """What the scheduler starts; everything else happens in Python."""
        path = python_path(os.environ.get("PYTHONPATH", ""))
        if str(ROOT) not in path.split(":"):
            path = python_path(f"{ROOT}:{path}")
        exported = {k: v for k, v in os.environ.items() if _EXPORTED.fullmatch(k)}
        exported["PYTHONPATH"] = path
        lines = [f"export {k}={shlex.quote(v)}" for k, v in sorted(exported.items())]
        request = str(self.folder / "request.json")
        node = shlex.join(python_module("espnet_topdown.cmd.node", request))
        number = f'"${{{task}:?}}"' if self.array else next(iter(self.tasks))
        return "\n".join(
            [
                "#!/bin/bash",
                f"cd {shlex.quote(os.getcwd())} || exit 1",
                *lines,
                "if [ -f ./path.sh ]; then . ./path.sh; fi",
                f"exec {node} {number}",
                "",
            ]
        )

    def note(self, scheduler: str, token: str, job: str = "", waits: str = "") -> None:
        """Remember what is about to be, or has been, submitted, and what it waits for.

        The file is replaced as a whole; see ``OpenJob``.
        """
        text = {"scheduler": scheduler, "token": token, "job": job}
        text.update(log=self.request.log, waits=waits)
        write_bytes(self.folder / "submit.json", json_bytes(text))

    def noted(self) -> tuple[str, str] | None:
        """Token and job id ("" if unknown) that nobody has seen the end of."""
        try:
            found = json.loads((self.folder / "submit.json").read_text("utf-8"))
            return str(found["token"]), str(found["job"])
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def forget(self) -> None:
        """The end of the job was seen: the next call submits anew."""
        (self.folder / "submit.json").unlink(missing_ok=True)

    def statuses(self) -> dict[str, int]:
        """The exit statuses that are there by now, by task."""
        try:
            names = set(os.listdir(self.folder))  # also refreshes a network folder
        except OSError:
            return {}
        found = {}
        for number in self.tasks:
            if f"rc.{number}" in names:
                text = (self.folder / f"rc.{number}").read_text("utf-8").strip()
                found[number] = int(text) if text.isdigit() else 1
        return found

    def is_running(self, number: str) -> bool:
        """Whether the node of a task lives, whatever the scheduler says of it."""
        return is_held(self.folder / f"run.{number}")

    def ended(self) -> bool:
        """Whether every task has an exit status."""
        return len(self.statuses()) == len(self.tasks)

    def job_output(self, lines: int = 5) -> list[str]:
        """The last words of the job script itself: Slurm's and the shell's."""
        words: list[str] = []
        for path in sorted(self.folder.glob("out*")):
            words += path.read_text("utf-8", errors="replace").splitlines()[-lines:]
        return words[-lines:]


@dataclass(frozen=True)
class OpenJob:
    """A job of a cluster that nobody has seen the end of.

    Attributes:
        folder: of its submission.
        scheduler: ``slurm`` or ``sge``; "" if an older version has submitted it.
        job: its id; "" while it is not known to be submitted.
        waits: why it does not run yet, "" if it does.
    """

    folder: Path
    scheduler: str
    job: str
    waits: str


def open_jobs(folder: Path) -> list[OpenJob]:
    """The jobs whose logs are in ``folder`` and whose end nobody has seen."""
    found = []
    for path in sorted((Path(folder) / "q").glob("*/submit.json")):
        try:
            said = json.loads(path.read_text("utf-8"))
            words = (str(said.get(name, "")) for name in ("scheduler", "job", "waits"))
        except (OSError, ValueError, AttributeError):
            continue
        found.append(OpenJob(path.parent, *words))
    return found


def why_waiting(log: Path) -> str:
    """What the task of a log waits for, with those who hold it; "" if it runs."""
    queued = [job.waits for job in open_jobs(Path(log).parent) if job.waits]
    return waits_for(log) or "; ".join(queued)
