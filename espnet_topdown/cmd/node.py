"""python -m espnet_topdown.cmd.node REQUEST.json TASK

What a scheduler runs on a node: one task of a launcher call. The exit status goes to
the file ``rc.TASK`` beside the request, and that file is the only proof of success.

TERM is passed on to the command; USR2, which warns of a time limit, only to a command
that catches it (our trainer saves and leaves with 75). No exit status is written for a
command that a signal ended: the scheduler knows whether it runs again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from espnet_topdown.cmd.task import Task
from espnet_topdown.errors import RETRY, USAGE, TopDownError

MAX_RESTARTS = 100  # a job that requeues itself more often makes no progress
_REQUEUE_SECONDS = 60.0


def run_task(request: Path, number: str) -> int:
    """Run one task of a request; returns its exit status."""
    asked = json.loads(request.read_text(encoding="utf-8"))
    log, command = asked["tasks"][number]
    restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    task = Task(log, command, int(asked["threads"]), append=restarts > 0)
    received: list[int] = []

    def pass_on(signum: int, frame: FrameType | None) -> None:
        child = task.process
        if signum == signal.SIGUSR2 and (child is None or not _catches(child.pid)):
            return
        received.append(signum)
        if child is not None:
            os.killpg(child.pid, signum)

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(signum, pass_on)
    try:
        task.start()
        pause = 0.01
        while not task.ended():
            time.sleep(pause)
            pause = min(pause * 1.2, 0.2)
    except TopDownError as e:
        print(e, file=sys.stderr)
        task.status = e.status
    status = task.status or 0
    if status and received:
        if received[-1] == signal.SIGUSR2 and status == RETRY:
            requeue(restarts)
        return status
    write_status(request.parent / f"rc.{number}", status)
    return status


def requeue(restarts: int) -> None:
    """Ask for another turn: the job has saved its work before its time was up."""
    if restarts >= MAX_RESTARTS:
        print(f"restarted {restarts} times; not once more", file=sys.stderr)
        return
    job = os.environ.get("SLURM_JOB_ID")
    if job:  # Grid Engine requeues a job that ends with 99 by itself
        ended: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
        asked = subprocess.run(["scontrol", "requeue", job], check=False)
        # Slurm ends us then. Our own status must not arrive first: it is a failure.
        deadline = time.monotonic() + _REQUEUE_SECONDS * (asked.returncode == 0)
        while not ended and time.monotonic() < deadline:
            time.sleep(0.1)
    elif os.environ.get("JOB_ID"):
        sys.exit(99)


def write_status(path: Path, status: int) -> None:
    """Write an exit status such that it is there whole or not at all."""
    new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with open(new, "w", encoding="utf-8") as f:
        f.write(f"{status}\n")
        f.flush()
        os.fsync(f.fileno())
    os.replace(new, path)


def _catches(pid: int) -> bool:
    """Whether a process has a handler for USR2; others would die of it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").split("\n")
    except OSError:
        return False
    caught = next((s.split()[1] for s in lines if s.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (signal.SIGUSR2 - 1) & 1)


def main() -> None:
    """Run the task; exits with its status."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(USAGE)
    sys.exit(run_task(Path(sys.argv[1]), sys.argv[2]))


if __name__ == "__main__":
    main()
