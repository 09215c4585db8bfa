"""Places for tasks on this machine: its GPUs, and as many as ``TOPDOWN_SLOTS`` says.

A place is a lock file; it is free again when its holder is dead. GPUs are shared by all
launchers of a user, the places of ``TOPDOWN_SLOTS`` by those of one checkout.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cmd._process import capture
from espnet_topdown.cmd._task import Task
from espnet_topdown.errors import CONFIG, TopDownError
from espnet_topdown.files import Lock, holder, name_of

_CHECKOUT = Path(__file__).resolve().parents[2]


class Places:
    """Hands out ``gpus`` GPUs (where there are any) and one place to each task.

    Raises:
        TopDownError: E_GPU, E_SLOTS (78).
    """

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus
        self._visible = visible() if gpus else []
        if self._visible and gpus > len(self._visible):
            what = f"--gpu {gpus}: this machine shows {len(self._visible)} GPUs"
            raise TopDownError("E_GPU", what, "ask for fewer", CONFIG)
        slots = os.environ.get("TOPDOWN_SLOTS") or "0"
        if not slots.isdecimal():
            what = f"TOPDOWN_SLOTS is '{slots}'"
            raise TopDownError("E_SLOTS", what, "set it to a whole number", CONFIG)
        digest = hashlib.sha256(os.fsencode(_CHECKOUT)).hexdigest()[:10]
        self._slots = [f"{digest}.slot{n}" for n in range(int(slots))]
        self._held: dict[Task, list[Lock]] = {}

    def take(self, task: Task) -> str:
        """Reserve all that a task needs, or nothing.

        Returns:
            What is in the way, with its holders; empty if the task may start.
        """
        if self._slots and not self._reserve(task, self._slots, 1):
            what = f"a place, TOPDOWN_SLOTS={len(self._slots)}"
            return f"{what}: {_holders(self._slots)}"
        if self._visible:
            names = self._reserve(task, self._visible, self._gpus)
            if not names:
                self.give_back(task)
                what = f"{self._gpus} of {len(self._visible)} GPUs"
                return f"{what}: {_holders(self._visible)}"
            task.environment["CUDA_VISIBLE_DEVICES"] = ",".join(names)
            task.environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # nvidia-smi's
        return ""

    def give_back(self, task: Task) -> None:
        """Release what the task had."""
        for lock in self._held.pop(task, []):
            lock.give_back()

    def _reserve(self, task: Task, names: Sequence[str], number: int) -> list[str]:
        """Return so many of the places, none if too few are free."""
        taken: dict[str, Lock] = {}
        for name in names:
            lock = Lock(_file(name), doing=f"{task.log} in {os.getcwd()}")
            if len(taken) < number and lock.take():
                taken[name] = lock
        self._held.setdefault(task, []).extend(taken.values())
        if len(taken) == number:
            return list(taken)
        self.give_back(task)
        return []


def visible() -> list[str]:
    """The GPUs that programs see here, as ``CUDA_VISIBLE_DEVICES`` names them.

    Returns:
        Numbers or UUIDs; without the variable what nvidia-smi lists.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        return [name for name in names if name and name not in ("-1", "NoDevFiles")]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    status, out, _ = capture(query, seconds=60)
    return out.split() if status == 0 else []


def _file(name: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"espnet_topdown_gpus.{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / name.replace("/", "_")


def _holders(names: Sequence[str]) -> str:
    owners = [name_of(owner) for owner in map(holder, map(_file, names)) if owner]
    return "held by " + " and ".join(owners or ["another process"])
