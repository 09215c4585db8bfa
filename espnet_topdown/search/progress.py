"""How far a search is: one line now and then, with the time that is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.cmd.launch import Job, backend_cmd, run_jobs
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json

log = logging.getLogger(__name__)
EVERY = 15.0  # seconds between two lines


class Progress:
    """Reads the running jobs' ``progress.json`` and logs one line for all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.running: list[str] = []
        self._expected = 0
        self._shown = (0.0, "")

    def expect(self, retrainings: int, controls: Sequence[str]) -> None:
        """How many trainings there can be at most."""
        self._expected = retrainings

    def started(self, node: str) -> None:
        """A job was handed to the launcher."""
        self.running.append(node)

    def ended(self, node: str) -> None:
        """A job came back from the launcher."""
        if node in self.running:
            self.running.remove(node)
        if node.startswith("m") and "." in node:
            self._expected -= 1

    def show(self) -> None:
        """Log a line if something has changed since the last one."""
        now = time.monotonic()
        if now - self._shown[0] < EVERY:
            return
        line = self.line()
        if line and line != self._shown[1]:
            log.info("%s", line)
        self._shown = (now, line)

    def line(self) -> str:
        """For example ``m1.4 epoch 12/40, 3 min left | search: at most 9 min left``."""
        states = {n: self._state(n) for n in self.running}
        parts = [_one(n, s) for n, s in states.items() if s]
        if not parts:
            return ""
        return " | ".join(parts) + self._left(states)

    def _left(self, states: dict[str, dict[str, Any]]) -> str:
        etas = [s.get("eta_seconds") or 0 for s in states.values()]
        known = [s for n, s in states.items() if s and n.startswith("m")]
        if not known:
            return f" | at most about {_minutes(max(etas))} left"
        whole = known[0].get("seconds_per_epoch", 0) * known[0].get("max_epoch", 0)
        left = (known[0].get("eta_seconds") or 0) + max(0, self._expected - 1) * whole
        return f" | search: at most about {_minutes(max([left, *etas]))} left"

    def _state(self, node: str) -> dict[str, Any]:
        path = self.folder / node / "progress.json"
        try:
            return read_json(path) if path.is_file() else {}
        except TopDownError:  # it is only a display
            return {}


def _one(node: str, state: dict[str, Any]) -> str:
    valid = state.get("valid") or {}
    error = f", valid CER {100 * valid['cer_ctc']:.1f} %" if "cer_ctc" in valid else ""
    left = f", {_minutes(state['eta_seconds'])} left" if "eta_seconds" in state else ""
    return f"{node} epoch {state.get('epoch', 0)}/{state.get('max_epoch')}{error}{left}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def run_and_show(
    command: Sequence[str], log_file: Path, folder: Path, cmd: str, backend: str
) -> int:
    """Run one training through a launcher, with a line of progress now and then.

    Returns:
        The launcher's exit status.
    """
    folder = Path(folder)
    progress = Progress(folder.parent)
    progress.started(folder.name)
    job = Job(folder.name, log_file, list(command))
    launcher = cmd or backend_cmd(backend)
    return run_jobs([job], launcher, on_poll=progress.show)[folder.name]
