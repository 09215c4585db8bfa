"""One submission on disk: what was asked, which job it became, how its tasks ended.

The folder is ``q/<log>-<digest>/`` beside the log; the digest is of the call, so the
same call finds the same folder again. It holds ``request.json`` (for the node),
``job.sh``, ``submit.json`` (the token before, the job's id after submitting) and
``rc.N``. ``submit.json`` goes away when somebody has taken note of the end: while it is
there, a repeated call waits for that job instead of submitting another.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from espnet_topdown.cmd.local import Request
from espnet_topdown.cmd.task import Task
from espnet_topdown.errors import CREATE, RETRY, TopDownError

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

    @contextlib.contextmanager
    def locked(self, seconds: float) -> Iterator[None]:
        """One launcher a call; that of a search that was killed may be on its way out.

        Raises:
            TopDownError: E_LOCKED (75) after so many seconds.
        """
        self._make_folder()
        deadline = time.monotonic() + seconds
        with open(self.folder / ".lock", "w") as file:
            while not _flock(file.fileno()):
                if time.monotonic() >= deadline:
                    what = f"another launcher waits for {self.request.log}"
                    do = "stop it, or wait until it has finished"
                    raise TopDownError("E_LOCKED", what, do, RETRY)
                time.sleep(0.2)
            yield

    @property
    def array(self) -> str:
        """The scheduler's range of task numbers, "" for a single task."""
        numbers = self.request.numbers
        return f"{numbers[0]}-{numbers[-1]}" if numbers else ""

    def prepare(self) -> None:
        """Write what the nodes read; exit statuses of an earlier call are dropped."""
        for path in self.folder.glob("rc.*"):
            path.unlink()
        asked = {
            "tasks": {n: [t.log, t.command] for n, t in self.tasks.items()},
            "threads": self.request.options.get("num_threads", 1),
        }
        self._write("request.json", json.dumps(asked, indent=1))
        self._write("job.sh", self._script())

    def _script(self) -> str:
        """What the scheduler starts; everything else happens in Python."""
        path = os.environ.get("PYTHONPATH", "")
        if str(ROOT) not in path.split(":"):
            path = f"{ROOT}:{path}".rstrip(":")
        exported = {k: v for k, v in os.environ.items() if _EXPORTED.fullmatch(k)}
        exported["PYTHONPATH"] = path
        lines = [f"export {k}={shlex.quote(v)}" for k, v in sorted(exported.items())]
        node = shlex.join([sys.executable, "-m", "espnet_topdown.cmd.node"])
        request = shlex.quote(str(self.folder / "request.json"))
        return "\n".join(
            [
                "#!/bin/bash",
                f"cd {shlex.quote(os.getcwd())} || exit 1",
                *lines,
                "if [ -f ./path.sh ]; then . ./path.sh; fi",
                "task=${SLURM_ARRAY_TASK_ID:-${SGE_TASK_ID:-undefined}}",
                f'if [ "$task" = undefined ]; then task={next(iter(self.tasks))}; fi',
                f'exec {node} {request} "$task"',
                "",
            ]
        )

    def note(self, token: str, job: str = "") -> None:
        """Remember what is about to be, or has been, submitted."""
        text = json.dumps({"token": token, "job": job, "log": self.request.log})
        self._write("submit.json", text)

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

    def ended(self) -> bool:
        """Whether every task has an exit status."""
        return len(self.statuses()) == len(self.tasks)

    def job_output(self, lines: int = 5) -> list[str]:
        """The last words of the job script itself: Slurm's and the shell's."""
        words: list[str] = []
        for path in sorted(self.folder.glob("out*")):
            words += path.read_text("utf-8", errors="replace").splitlines()[-lines:]
        return words[-lines:]

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise _cannot(self.folder, e) from e

    def _write(self, name: str, text: str) -> None:
        self._make_folder()
        try:
            new = self.folder / f"{name}.{os.getpid()}.tmp"
            with open(new, "w", encoding="utf-8") as f:
                f.write(text)
                f.flush()
                os.fsync(f.fileno())
            os.replace(new, self.folder / name)
        except OSError as e:
            raise _cannot(self.folder / name, e) from e


def _cannot(path: Path, error: OSError) -> TopDownError:
    what = f"cannot write {path}: {error.strerror}"
    do = "choose a log in a folder that you and the nodes can write to"
    return TopDownError("E_CREATE", what, do, CREATE)


def _flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
