"""How far a training is: a line for each epoch, ``progress.json``, ``curve.jsonl``."""

from __future__ import annotations

import functools
import json
import logging
import math
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from espnet2.train.reporter import Reporter

from espnet_topdown.files import utc_now, write_bytes, write_json
from espnet_topdown.models.experiment import Criterion, rank_epochs

_INTERVAL_S = 10.0  # between two writes inside an epoch
_LOGGED = ("loss", "cer_ctc", "cer", "wer", "acc")
_SKIPPED = ("total_count", "loss_scale", "clip")


class TopDownReporter(Reporter):
    """ESPnet's reporter; an epoch whose value is NaN is never the best.

    Args:
        epoch: The epoch to begin with.
        on_epoch: Called with the reporter when an epoch's validation is done.
    """

    def __init__(
        self, epoch: int = 0, on_epoch: Callable[[TopDownReporter], None] | None = None
    ) -> None:
        super().__init__(epoch)
        self.on_epoch = on_epoch

    def has(self, key, key2, epoch=None):  # type: ignore[no-untyped-def]
        """Whether a value was computed; ESPnet reports NaN for what a model lacks.

        Args:
            key: "train" or "valid".
            key2: Name of the value.
            epoch: One; None is any.

        Returns:
            False of a value that is NaN in each epoch asked for.
        """
        if not super().has(key, key2, epoch):
            return False
        epochs = self.stats if epoch is None else [epoch]
        values = (self.stats[e].get(key, {}).get(key2) for e in epochs)
        return any(_is_number(v) or hasattr(v, "total_seconds") for v in values)

    def sort_epochs_and_values(self, key, key2, mode):  # type: ignore[no-untyped-def]
        """Rank the epochs that have a value.

        Args:
            key: "train" or "valid".
            key2: Name of the value.
            mode: "min" or "max".

        Returns:
            (epoch, value) from best to worst.

        Raises:
            KeyError: No epoch has it.
        """
        order = rank_epochs(self.stats, Criterion(key, key2, mode), finite=False)
        if not order:
            raise KeyError(f"{key}.{key2} is not found: {self.get_all_keys()}")
        return [(e, self.stats[e][key][key2]) for e in order]

    def finish_epoch(self, sub_reporter):  # type: ignore[no-untyped-def]
        """Close one phase of an epoch; after the validation, call ``on_epoch``.

        Args:
            sub_reporter: ESPnet's, of the phase.
        """
        super().finish_epoch(sub_reporter)
        if sub_reporter.key == "valid" and self.on_epoch is not None:
            self.on_epoch(self)

    def point(self, epoch: int) -> dict[str, Any]:
        """One line of ``curve.jsonl``: losses and errors, without stop-watch readings.

        Args:
            epoch: One that has been validated.

        Returns:
            The epoch, its seconds, and the finite numbers of both phases.
        """
        phases = self.stats.get(epoch, {})
        spans = (phase.get("time") for phase in phases.values())
        seconds = sum(t.total_seconds() for t in spans if hasattr(t, "total_seconds"))
        numbers = {
            phase: {
                k: float(v)
                for k, v in phases.get(phase, {}).items()
                if _is_number(v) and not k.endswith("_time") and k not in _SKIPPED
            }
            for phase in ("train", "valid")
        }
        return {"epoch": epoch, "seconds": round(seconds, 3), **numbers}


def _is_number(value: Any) -> bool:
    # Whether it is a finite number; a reporter also holds time spans.
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


class ProgressWriter:
    """Writes what a person or a search needs to see of one training.

    Args:
        folder: The experiment.
        max_epoch: The last epoch that may be trained.
        criteria: ESPnet's ``best_model_criterion``; the first that was computed on the
            validation set decides which epoch is called the best.
    """

    def __init__(
        self, folder: Path, max_epoch: int, criteria: Sequence[Sequence[str]]
    ) -> None:
        self.folder, self.max_epoch = Path(folder), max_epoch
        self.criteria = [c for c in criteria if c[0] == "valid"]
        self._last: dict[str, Any] = {"epoch": 0, "max_epoch": max_epoch}
        self._written = self._began = time.monotonic()

    def start_epoch(self, epoch: int) -> None:
        """An epoch begins, after a resumption not the first."""
        self._began, self._last["epoch"] = time.monotonic(), epoch - 1

    def batch(self, done: int, batches: int | None) -> None:
        """Some batches of this epoch are trained; written now and then.

        Args:
            done: How many.
            batches: Of the whole epoch, where that is known.
        """
        now = time.monotonic()
        if now - self._written < _INTERVAL_S:
            return
        state = {**self._last, "batch": done, "batches": batches}
        if batches:
            whole = (now - self._began) * batches / max(done, 1)
            whole = state.setdefault("seconds_per_epoch", round(whole, 1))
            epochs = self.max_epoch - state["epoch"] - done / batches
            state["eta_seconds"] = round(max(epochs, 0) * whole, 1)
        self._write(state)

    def epoch(self, reporter: TopDownReporter) -> None:
        """An epoch is trained and validated: log it and write the curve.

        Args:
            reporter: What ESPnet has measured so far.
        """
        epoch = reporter.get_epoch()
        points = [reporter.point(e) for e in sorted(reporter.stats)]
        recent = [p["seconds"] for p in points[-5:]]
        per_epoch = sum(recent) / len(recent)
        best = [c for c in self.criteria if reporter.has(*c[:2])]
        self._last = {
            "epoch": epoch,
            "max_epoch": self.max_epoch,
            "seconds_per_epoch": round(per_epoch, 2),
            "eta_seconds": round((self.max_epoch - epoch) * per_epoch, 1),
            "valid": points[-1]["valid"],
            "best_epoch": int(reporter.get_best_epoch(*best[0])) if best else None,
        }
        self._write(self._last)
        lines = "".join(json.dumps(p) + "\n" for p in points)
        write_bytes(self.folder / "curve.jsonl", lines.encode())
        logging.info("%s", _line(self._last))
        sys.stdout.flush()
        sys.stderr.flush()

    def _write(self, state: dict[str, Any]) -> None:
        self._written = time.monotonic()
        where = {"processor": _processor(), "threads": torch.get_num_threads()}
        state = {**state, **where, "time": utc_now()}
        write_json(self.folder / "progress.json", state)


@functools.cache
def _processor() -> str:
    # The name of what trains: a GPU's, else the processor's.
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpus = Path("/proc/cpuinfo")
    text = cpus.read_text() if cpus.is_file() else ""
    name = re.search(r"^model name\s*: *(.+)$", text, re.MULTILINE)
    return name[1] if name else platform.processor() or platform.machine()


def _line(state: dict[str, Any]) -> str:
    """Returns the log line of an epoch.

    >>> _line({"epoch": 3, "max_epoch": 40, "seconds_per_epoch": 5.1, "best_epoch": 2,
    ...       "eta_seconds": 188.7, "valid": {"loss": 41.25, "cer_ctc": 0.3}})
    'epoch 3/40: 5.1 s, valid loss 41.25, cer_ctc 0.3, best epoch 2, 3 min left'
    """
    values = [f"{k} {state['valid'][k]:.4g}" for k in _LOGGED if k in state["valid"]]
    left = state["eta_seconds"]
    left = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
    head = f"epoch {state['epoch']}/{state['max_epoch']}"
    parts = [f"{head}: {state['seconds_per_epoch']:.1f} s"]
    parts += [f"valid {', '.join(values)}"] if values else []
    parts += [f"best epoch {state['best_epoch']}"] if state["best_epoch"] else []
    return ", ".join([*parts, f"{left} left"])
