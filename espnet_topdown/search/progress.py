"""How much a search may take, and how far it is: a line now and then."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_topdown.cmd.launch import Job, backend_cmd, run_jobs
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json
from espnet_topdown.search.strategies import at_most

if TYPE_CHECKING:
    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.search.request import Search

log = logging.getLogger(__name__)
INTERVAL_S = 15.0  # between two lines


def announce(search: Search) -> None:
    """Log the layers, the count of trainings and the hours."""
    request, most = search.request, at_most(search.request.strategy, search.space)
    names = search.stack.names
    log.info("%d layers from the top: %s", len(names), ", ".join(names))
    log.info(
        "search %s: at most %d retrainings and %d controls, %d at a time%s",
        request.strategy,
        most,
        search.most_trainings - most,
        request.max_jobs,
        _hours(search),
    )


def check_budget(search: Search) -> None:
    """Refuse a search that is larger than expected.

    Raises:
        TopDownError: E_BUDGET (78).
    """
    request, most = search.request, search.most_trainings
    if most <= request.max_jobs_total or request.yes:
        return
    raise TopDownError(
        "E_BUDGET",
        f"--search {request.strategy} can take {most} trainings{_hours(search)}, "
        f"--max_jobs_total is {request.max_jobs_total}",
        "give --yes true to go on, or --max_frozen, --steps, --budget to do less",
    )


def _hours(search: Search) -> str:
    """``, at most about 12.5 hours of training``, or ``, hours unknown``."""
    epoch_s, epochs = seconds_per_epoch(search.base), search.max_epoch
    if not epoch_s or not epochs:
        return ", hours unknown"
    rounds = max(1.0, search.most_trainings / max(1, search.request.max_jobs))
    seconds = rounds * epochs * epoch_s
    if seconds < 3600:
        return f", at most about {math.ceil(seconds / 60)} minutes of training"
    return f", at most about {seconds / 3600:.1f} hours of training"


def seconds_per_epoch(base: Experiment) -> float:
    """Mean time of an epoch of the joint training, from its reporter; 0 if unknown."""
    if not (base.folder / "checkpoint.pth").is_file():
        return 0.0
    spans = [
        sum(values.get("time", 0.0) for values in phases.values())
        for phases in base.stats.values()
    ]
    return sum(spans) / len(spans) if spans else 0.0


class Progress:
    """Reads the running jobs' ``progress.json`` and logs one line for all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._shown = (0.0, "")  # when, what

    def show(self, running: Iterable[str], left: int = 0) -> None:
        """Log a line if something has changed since the last one.

        Args:
            running: Names of the jobs.
            left: Retrainings that are not done yet, at most.
        """
        now = time.monotonic()
        if now - self._shown[0] < INTERVAL_S:
            return
        line = self.line(running, left)
        if line and line != self._shown[1]:
            log.info("%s", line)
        self._shown = (now, line)

    def line(self, running: Iterable[str], left: int = 0) -> str:
        """For example ``m1.4 epoch 12/40, 3 min left | search: at most 9 min left``."""
        states = {name: self._state(name) for name in running}
        parts = [_one(name, s) for name, s in states.items() if s]
        if not parts:
            return ""
        return " | ".join(parts) + _time_left(states, left)

    def _state(self, name: str) -> dict[str, Any]:
        path = self.folder / name / "progress.json"
        try:
            return read_json(path) if path.is_file() else {}
        except TopDownError:  # it is only a display
            return {}


def _time_left(states: dict[str, dict[str, Any]], left: int) -> str:
    etas = [s.get("eta_seconds") or 0 for s in states.values()]
    known = [s for name, s in states.items() if s and name.startswith("m")]
    if not known:
        return f" | at most about {_minutes(max(etas))} left"
    whole = known[0].get("seconds_per_epoch", 0) * known[0].get("max_epoch", 0)
    seconds = (known[0].get("eta_seconds") or 0) + max(0, left - 1) * whole
    return f" | search: at most about {_minutes(max([seconds, *etas]))} left"


def _one(name: str, state: dict[str, Any]) -> str:
    valid = state.get("valid") or {}
    error = f", valid CER {100 * valid['cer_ctc']:.1f} %" if "cer_ctc" in valid else ""
    left = f", {_minutes(state['eta_seconds'])} left" if "eta_seconds" in state else ""
    return f"{name} epoch {state.get('epoch', 0)}/{state.get('max_epoch')}{error}{left}"


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
    progress, name = Progress(folder.parent), folder.name
    job = Job(name, log_file, list(command))
    launcher = cmd or backend_cmd(backend)
    return run_jobs([job], launcher, on_poll=lambda: progress.show([name]))[name]
