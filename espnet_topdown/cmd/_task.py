"""One command with its log file, in the form that Kaldi's tools read."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from espnet_topdown.cmd import _process
from espnet_topdown.errors import RETRY, TopDownError, disk_error
from espnet_topdown.files import lock_file

SAY_SECONDS = 60.0  # how often a task that waits says so
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # a shell's words for it
_SOON = 1.0  # a shorter wait is not worth a word
_OLD_LOGS = 9  # how many are kept
_LOCK_SECONDS = _process.GRACE_SECONDS + 5  # an earlier run may be on its way out
_WAITS = "# Waiting for "
_TAIL_LINES = 10
_TAILS = 3  # failed tasks whose logs are shown


class Task:
    """A command that is run once.

    The log is locked while anything of the task is alive, also where its launcher was
    killed: two runs never write the same files.
    """

    def __init__(
        self, log: str, command: Sequence[str], threads: int = 1, append: bool = False
    ) -> None:
        self.log = log
        self.append = append  # to the log of an earlier, interrupted run
        self.command = list(command)
        self.threads = threads
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen | None = None
        self.status: int | None = None
        self._started = 0.0
        self._say_at = 0.0
        self._shown = 0
        self._fd = -1

    def waits(self, why: str) -> bool:
        """Note in the log what the task waits for.

        Returns:
            Whether it is time to say so.
        """
        now = time.monotonic()
        if not self._say_at:
            self._say_at = now + _SOON
        if now < self._say_at:
            return False
        self._say_at = now + SAY_SECONDS
        self._open()
        self._write(f"{_WAITS}{why} ({time.ctime()})")
        return True

    def start(self) -> None:
        """Open the log and start the command; a command that cannot start has ended."""
        self._open()
        self._started = time.time()
        line = shlex.join(self.command).replace("\n", "\n# ")
        self._write(f"# Running on {socket.gethostname()}")
        self._write(f"# Started at {time.ctime()}", f"# {line}", "#")
        try:
            self.process = _process.start(
                self.command,
                signal.SIGKILL,
                self.environment,
                stdout=self._fd,
                stderr=subprocess.STDOUT,
            )
        except (OSError, ValueError) as e:
            self._write(f"cannot run {self.command[0]}: {e}")
            missing = isinstance(e, FileNotFoundError)
            self._finish(NOT_FOUND if missing else NOT_EXECUTABLE)

    def ended(self) -> bool:
        """Return whether the task has ended; if so its log is complete."""
        if self.status is None and self.process is not None:
            code = self.process.poll()
            if code is not None:
                _process.stop([self.process])  # what it left in the background
                self._finish(code)
        return self.status is not None

    def tail(self, lines: int = _TAIL_LINES) -> list[str]:
        """Return the end of the log, if there is one, our own lines left out."""
        text = _end_of(self.log)
        return _theirs(text.splitlines())[-lines:]

    def new_lines(self) -> list[str]:
        """Return whole lines written since the last call, our own left out."""
        with open(self.log, "rb") as f:
            f.seek(self._shown)
            text = f.read()
        whole = text[: text.rfind(b"\n") + 1]  # the last line is still being written
        self._shown += len(whole)
        return _theirs(whole.decode("utf-8", "replace").splitlines())

    def _finish(self, code: int) -> None:
        self.status = code if code >= 0 else 128 - code
        how = f"code {self.status}" + (f"; signal {-code}" if code < 0 else "")
        took = round(time.time() - self._started)
        self._write(f"# Accounting: time={took} threads={self.threads}")
        self._write(f"# Ended ({how}) at {time.ctime()}, elapsed time {took} seconds")
        os.close(self._fd)

    def _open(self) -> None:
        if self._fd < 0:
            self._fd = _open_log(self.log, self.append)

    def _write(self, *lines: str) -> None:
        text = "".join(f"{line}\n" for line in lines)
        try:
            os.write(self._fd, os.fsencode(text))
        except OSError as e:  # a full disk must not lose the command's own status
            if self.status is None:
                raise disk_error(Path(self.log), len(text), e) from e


def say(launcher: str, what: str) -> None:
    """A line of a launcher for its user."""
    print(f"{launcher}: {what}", file=sys.stderr, flush=True)


def report(
    launcher: str, log: str, tasks: Sequence[Task], job: str = "", lost: Iterable = ()
) -> int:
    """Say which tasks have failed, with the ends of their logs.

    Args:
        launcher: its name.
        log: of the call, ``JOB`` in it.
        tasks: all of them, ended.
        job: a scheduler's id.
        lost: tasks without an exit status, each with what to say of it.

    Returns:
        The launcher's exit status: 0 if all succeeded; that of a single task, but 1
        for those above 125 and for 100, which have meanings of their own.
    """
    failed = [task for task in tasks if task.status != 0]
    if not failed:
        return 0
    total, words = len(tasks), dict(lost)
    head = "job failed" if total == 1 else f"{len(failed)} of {total} tasks failed"
    say(launcher, f"{head}{f' (job {job})' if job else ''}, log is in {log}")
    for task in failed[:_TAILS]:
        if task in words:
            print(words[task], file=sys.stderr)
        if lines := task.tail():
            say(launcher, f"end of {task.log}:")
            print(*(f"  {line}" for line in lines), sep="\n", file=sys.stderr)
    status = failed[0].status or 1
    return status if total == 1 and status < 126 and status != 100 else 1


def waits_for(log: str | os.PathLike[str]) -> str:
    """Return what the task of a log waits for before it begins, if it does."""
    line = (_end_of(log).splitlines() or [""])[-1]
    return line[len(_WAITS) :] if line.startswith(_WAITS) else ""


def _theirs(lines: Iterable[str]) -> list[str]:
    """The lines that the launcher has not written; a heading of Markdown stays."""
    return [s for s in lines if s != "#" and not s.startswith("# ")]


def _end_of(log: str | os.PathLike[str]) -> str:
    try:
        with open(log, "rb") as f:
            f.seek(max(0, f.seek(0, os.SEEK_END) - 8192))
            return f.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _open_log(path: str, append: bool) -> int:
    """Return an empty log, locked; what was there moves on, see ``_rotate``."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as e:
            raise disk_error(Path(path), 0, e) from e
        while not lock_file(fd, path):
            if time.monotonic() > deadline:
                os.close(fd)
                with open(path, encoding="utf-8", errors="replace") as f:
                    about = ", ".join(next(f, "").strip("# \n") for _ in range(2))
                what = f"another process is still writing {path} ({about})"
                do = "stop it, or wait until it has ended"
                raise TopDownError("E_LOCKED", what, do, RETRY)
            time.sleep(0.1)
        if _is_at(fd, path):
            if append or os.fstat(fd).st_size == 0:
                return fd
            _rotate(path)
        os.close(fd)


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _rotate(path: str) -> None:
    """Move a log to ``<path>.1``, that to ``<path>.2``, and so on; drop the last."""
    for n in range(_OLD_LOGS - 1, 0, -1):
        if os.path.exists(f"{path}.{n}"):
            os.replace(f"{path}.{n}", f"{path}.{n + 1}")
    os.replace(path, f"{path}.1")
