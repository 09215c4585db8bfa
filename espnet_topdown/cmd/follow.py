"""What running tasks write to their logs, shown as it comes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TextIO

from espnet_topdown.cmd.task import Task

_STEP = 65536  # bytes of one log at a time


class Follow:
    """Copies new whole lines of logs, each with the name of its log in front."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._read: dict[str, int] = {}  # bytes shown, by log

    def show(self, tasks: Iterable[Task]) -> None:
        """Show what has been written since the last call, but not our own notes."""
        for task in tasks:
            name = os.path.splitext(os.path.basename(task.log))[0]
            for line in self._new(task.log):
                if not line.startswith("#"):
                    print(f"[{name}] {line}", file=self._out)
        self._out.flush()

    def _new(self, path: str) -> list[str]:
        lines: list[str] = []
        with open(path, "rb") as f:
            f.seek(self._read.get(path, 0))
            while True:
                block = f.read(_STEP)
                whole = block.rfind(b"\n") + 1
                if not whole:  # nothing, or a line that is still being written
                    return lines
                lines += block[:whole].decode("utf-8", "replace").splitlines()
                f.seek(self._read.get(path, 0) + whole)
                self._read[path] = self._read.get(path, 0) + whole
