"""Which GPUs a task gets: free ones, by lock files that all our launchers share."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from espnet_topdown.cmd.task import Task
from espnet_topdown.errors import CONFIG, TopDownError


class Gpus:
    """Hands out ``each`` GPUs per task; does nothing where there is no GPU."""

    def __init__(self, each: int) -> None:
        self._visible = visible() if each else []
        self._each = each
        self._held: dict[Task, list[int]] = {}
        if self._visible and each > len(self._visible):
            what = f"--gpu {each}: this machine shows {len(self._visible)} GPUs"
            raise TopDownError("E_GPU", what, "ask for fewer", CONFIG)

    def take(self, task: Task) -> bool:
        """Reserve GPUs and point the task at them; False if too few are free now."""
        if not self._visible:
            return True
        locks: list[int] = []
        names: list[str] = []
        for name in self._visible:
            fd = try_lock(name)
            if fd >= 0:
                locks.append(fd)
                names.append(name)
            if len(names) == self._each:
                self._held[task] = locks
                task.environment["CUDA_VISIBLE_DEVICES"] = ",".join(names)
                task.environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # nvidia-smi's
                return True
        close(locks)
        return False

    def give_back(self, task: Task) -> None:
        """Release what the task had."""
        close(self._held.pop(task, []))


def visible() -> list[str]:
    """The GPUs that programs see here, as ``CUDA_VISIBLE_DEVICES`` names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        return [name for name in names if name and name not in ("-1", "NoDevFiles")]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        shown = subprocess.run(query, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return shown.stdout.split() if shown.returncode == 0 else []


def try_lock(name: str) -> int:
    """An open, locked file of that name among this user's; -1 if another has it."""
    folder = Path(tempfile.gettempdir()) / f"espnet_topdown_gpus.{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(folder / name.replace("/", "_"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return -1
    return fd


def close(locks: list[int]) -> None:
    """Let go of locks."""
    for fd in locks:
        os.close(fd)
