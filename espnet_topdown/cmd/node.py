"""python -m espnet_topdown.cmd.node REQUEST.json TASK

What a scheduler runs on a host: one task of a launcher call. The exit status goes to
the file ``rc.TASK`` beside the request, and that file is the only proof of success.

TERM is passed on to the command; USR2, which warns of a time limit, only to a command
that catches it (our trainer saves and leaves with 75). No exit status is written for a
command that was told to end: the scheduler knows whether it runs again. A job that is
about to be preempted asks for its requeue itself as soon as its command has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from espnet_topdown.cmd import _process
from espnet_topdown.cmd._task import Task
from espnet_topdown.errors import RETRY, USAGE, TopDownError, command
from espnet_topdown.files import Lock, write_bytes

_MAX_RESTARTS = 100  # a job that requeues itself more often makes no progress
_REQUEUE_SECONDS = 60.0
_ASK_SECONDS = 5.0
_POLL_SECONDS = 0.1
# Slurm ends processes one by one, children first: a shell whose command was ended may
# go on and leave with 0 before it and we are told.
_LAST_SECONDS = 0.2


def _run_task(request: Path, number: str) -> int:
    """Return the exit status of one task of a request, which it runs."""
    asked = json.loads(request.read_text(encoding="utf-8"))
    log, command = asked["tasks"][number]
    restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    task = Task(log, command, int(asked["threads"]), append=restarts > 0)
    received: list[int] = []
    running = Lock(request.parent / f"run.{number}", "process", doing=log)
    running.acquire()  # a sign of life; two runs are kept apart by the log's lock

    def pass_on(signum: int, frame: FrameType | None) -> None:
        child = task.process
        if signum == signal.SIGUSR2 and (child is None or not _catches(child.pid)):
            return
        received.append(signum)
        if child is not None and task.status is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(child.pid, signum)

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(signum, pass_on)
    try:
        task.start()
        if received and task.process is not None:  # before we knew our child
            os.killpg(task.process.pid, signal.SIGTERM)
        while not task.ended():
            time.sleep(_POLL_SECONDS)
    except TopDownError as e:
        print(e, file=sys.stderr)
        task.status = e.status
    status = task.status or 0
    last = time.monotonic() + _LAST_SECONDS
    while status == 0 and not received and time.monotonic() < last:
        time.sleep(0.02)
    if {signal.SIGTERM, signal.SIGINT} & set(received):
        return status or 128 + received[-1]
    if status and ((received and status == RETRY) or _preempted()):
        _requeue(restarts, received)
    elif not (received and status):
        _write_status(request.parent / f"rc.{number}", status)
    return status


def _write_status(path: Path, status: int) -> None:
    """Write an exit status such that it is there whole or not at all."""
    write_bytes(path, f"{status}\n".encode())


def _preempted() -> bool:
    """Return whether Slurm has told the steps of this job to end, and will end it soon.

    The batch script hears nothing of it before its time of grace is over; its own exit
    status would be taken for a failure.
    """
    job = _slurm_job()
    if not job:
        return False
    _, out, _ = _process.capture(["scontrol", "-o", "show", "job", job], _ASK_SECONDS)
    return bool(re.search(r" JobState=(RUNNING|SIGNALING) .* PreemptTime=\d", out))


def _requeue(restarts: int, received: Sequence[int]) -> None:
    """Ask for another turn: the job has saved its work before its time was up.

    Slurm ends us then. Our own status must not arrive first: it would be a failure.
    """
    if restarts >= _MAX_RESTARTS:
        print(f"restarted {restarts} times; not once more", file=sys.stderr)
        return
    job = _slurm_job()
    if job:
        deadline = time.monotonic() + _REQUEUE_SECONDS
        while signal.SIGTERM not in received and time.monotonic() < deadline:
            subprocess.run(["scontrol", "requeue", job], check=False)
            again = min(time.monotonic() + _ASK_SECONDS, deadline)
            while signal.SIGTERM not in received and time.monotonic() < again:
                time.sleep(0.1)
    elif os.environ.get("JOB_ID"):  # Grid Engine requeues what ends with 99
        sys.exit(99)


def _slurm_job() -> str:
    """Return this task's id in Slurm; an array's last task has the array's job id."""
    array, number = map(os.environ.get, ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"))
    return f"{array}_{number}" if number else os.environ.get("SLURM_JOB_ID", "")


def _catches(pid: int) -> bool:
    """Return whether a process has a handler for USR2; others would die of it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").split("\n")
    except OSError:
        return False
    caught = next((s.split()[1] for s in lines if s.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (signal.SIGUSR2 - 1) & 1)


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the task; exits with its status."""
    args = list(sys.argv[1:] if cmd is None else cmd)
    if len(args) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(USAGE)
    sys.exit(_run_task(Path(args[0]), args[1]))


if __name__ == "__main__":
    main()
