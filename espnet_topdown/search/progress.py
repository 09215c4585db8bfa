"""How far a search is: a line now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.cmd.launch import Job, backend_cmd, run_jobs
from espnet_topdown.search.state import beside_training, read_progress

log = logging.getLogger(__name__)
_INTERVAL_S = 15.0  # between two lines
_REPEAT_S = 60.0  # between two that are the same
_JOINT = "control.joint"
JOB_S = 30.0  # about what a job takes to start Python and ESPnet, verify and decode


class ProgressLine:
    """Reads the running jobs' ``progress.json`` and logs one line for all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._looked, self._shown = float("-inf"), (0.0, "")  # when; when, what

    def show(
        self, running: Iterable[str], left: int | None = None, path: int = 0
    ) -> None:
        """Log a line if something has changed since the last one, or a minute ago.

        Args:
            running: Names of the jobs.
            left: Jobs that may come after them in a search; None for one training.
            path: Epochs that control joint may come to; 0 once that is known.
        """
        now, (then, shown) = time.monotonic(), self._shown
        if now - self._looked < _INTERVAL_S:
            return
        self._looked, line = now, self.line(running, left, path)
        if line and (line != shown or now - then >= _REPEAT_S):
            log.info("%s", line)
            self._shown = (now, line)

    def line(
        self, running: Iterable[str], left: int | None = None, path: int = 0
    ) -> str:
        """For example ``m1.4 epoch 12/40, 3 min left | search: about 9 min left``.

        Returns:
            The line, of jobs that a launcher has begun; without the search's time
            where none has trained yet.
        """
        states = {name: read_progress(self.folder / name) for name in running}
        parts = [
            f"{name} {beside_training(self.folder / name, s) or _epoch(s, most)}"
            for name, s in states.items()
            for most in [path if name == _JOINT else 0]
            if s or (self.folder / name / "train.log").exists()
        ]
        known = [s for s in states.values() if s]
        if known and left is not None:
            joint = states.get(_JOINT) or read_progress(self.folder / _JOINT)
            left += len(states) - len(known)
            parts += [_time_left(known, left, path, joint.get("max_epoch"))]
        return " | ".join(parts)


# A job to come takes as long as the longest that runs; those are scored as well. At the
# end control joint is trained on, from the epochs that it was asked for to its path's.
def _time_left(
    jobs: Sequence[dict[str, Any]], left: int, path: int, asked: int | None
) -> str:
    ends = max(s.get("eta_seconds") or 0 for s in jobs)
    whole = max(s.get("seconds_per_epoch", 0) * s.get("max_epoch", 0) for s in jobs)
    more = left * (whole + JOB_S) / len(jobs)
    longer = path - (asked or max(s.get("max_epoch", 0) for s in jobs))
    more += max(0, longer) * max(s.get("seconds_per_epoch", 0) for s in jobs)
    return f"search: about {duration(ends + JOB_S + more)} left"


def _epoch(state: dict[str, Any], most: int) -> str:
    valid = state.get("valid") or {}
    error = f", valid CER {100 * valid['cer_ctc']:.1f} %" if "cer_ctc" in valid else ""
    left = f", {duration(state['eta_seconds'])} left" if "eta_seconds" in state else ""
    end = state.get("max_epoch") or 0
    end = f"{end} (at most {most})" if most > end else f"{end}"
    return f"epoch {state.get('epoch', 0)}/{end}{error}{left}"


def duration(seconds: float) -> str:
    """For example ``5 min``.

    Returns:
        Minutes, or seconds where they are few.
    """
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def run_and_show(
    command: Sequence[str], log_file: Path, folder: Path, cmd: str, backend: str
) -> int:
    """Run one training through a launcher, with a line of progress now and then.

    Args:
        command: Words of the training's command.
        log_file: Where the launcher writes its output.
        folder: Of the training, which writes ``progress.json`` there.
        cmd: The launcher with its options; "" takes that of ``backend``.
        backend: See ``backend_cmd``.

    Returns:
        The launcher's exit status.
    """
    folder = Path(folder)
    progress, name = ProgressLine(folder.parent), folder.name
    job = Job(name, log_file, list(command))
    launcher = cmd or backend_cmd(backend)
    return run_jobs([job], launcher, on_poll=lambda: progress.show([name]))[name]
