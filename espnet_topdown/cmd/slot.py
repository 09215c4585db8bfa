"""Places for jobs that several searches on one machine share: ``TOPDOWN_SLOTS``."""

from __future__ import annotations

import os

from espnet_topdown.cmd.gpu import close, try_lock
from espnet_topdown.cmd.task import Task
from espnet_topdown.errors import CONFIG, TopDownError


class Slots:
    """At most ``TOPDOWN_SLOTS`` tasks at a time on this machine; unset: no limit.

    A slot is a lock file, as a GPU is: it is free again when its holder is dead.
    """

    def __init__(self) -> None:
        number = os.environ.get("TOPDOWN_SLOTS") or "0"
        if not number.isdecimal():
            what = f"TOPDOWN_SLOTS is '{number}'"
            raise TopDownError("E_SLOTS", what, "set it to a whole number", CONFIG)
        self._names = [f"slot{n}" for n in range(int(number))]
        self._held: dict[Task, int] = {}

    def take(self, task: Task) -> bool:
        """Reserve a slot; False if none is free now."""
        for name in self._names:
            fd = try_lock(name)
            if fd >= 0:
                self._held[task] = fd
                return True
        return not self._names

    def give_back(self, task: Task) -> None:
        """Release the task's slot."""
        if task in self._held:
            close([self._held.pop(task)])
