"""How far a training is: a line for each epoch, ``progress.json``, ``curve.jsonl``."""

from __future__ import annotations

import datetime
import functools
import json
import logging
import platform
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from espnet_topdown.files import write_bytes, write_json
from espnet_topdown.trainer.reporter import TopDownReporter

EVERY = 10.0  # seconds between two writes inside an epoch
SHOWN = ("loss", "cer_ctc", "cer", "wer", "acc")


class Progress:
    """Writes what a person or a search needs to see of one training.

    Args:
        folder: The experiment.
        max_epoch: The last epoch that may be trained.
        criteria: ESPnet's ``best_model_criterion``; the first that is known decides
            which epoch is called the best.
    """

    def __init__(
        self, folder: Path, max_epoch: int, criteria: Sequence[Sequence[str]]
    ) -> None:
        self.folder, self.max_epoch = Path(folder), max_epoch
        self.criteria = criteria
        self.last: dict[str, Any] = {"epoch": 0, "max_epoch": max_epoch}
        self.written = time.monotonic()
        self.began = time.monotonic()

    def start_epoch(self) -> None:
        """An epoch begins."""
        self.began = time.monotonic()

    def batch(self, done: int, batches: int | None) -> None:
        """So many batches of this epoch are trained; written now and then."""
        now = time.monotonic()
        if now - self.written < EVERY:
            return
        state = {**self.last, "batch": done, "batches": batches}
        if batches:
            whole = (now - self.began) * batches / max(done, 1)
            whole = state.setdefault("seconds_per_epoch", round(whole, 1))
            epochs = self.max_epoch - state["epoch"] - done / batches
            state["eta_seconds"] = round(max(epochs, 0) * whole, 1)
        self._write(state)

    def epoch(self, reporter: TopDownReporter) -> None:
        """An epoch is trained and validated: log it and write the curve."""
        epoch = reporter.get_epoch()
        recent = [reporter.seconds(e) for e in sorted(reporter.stats)[-5:]]
        per_epoch = sum(recent) / len(recent)
        self.last = {
            "epoch": epoch,
            "max_epoch": self.max_epoch,
            "seconds_per_epoch": round(per_epoch, 2),
            "eta_seconds": round((self.max_epoch - epoch) * per_epoch, 1),
            "valid": curve_values(reporter, epoch, "valid"),
            "best_epoch": self._best(reporter),
        }
        self._write(self.last)
        lines = (json.dumps(point(reporter, e)) for e in sorted(reporter.stats))
        write_bytes(self.folder / "curve.jsonl", ("\n".join(lines) + "\n").encode())
        logging.info("%s", line(self.last))
        sys.stdout.flush()
        sys.stderr.flush()

    def _best(self, reporter: TopDownReporter) -> int | None:
        for phase, key, mode in self.criteria:
            if phase == "valid" and reporter.has(phase, key):
                return int(reporter.get_best_epoch(phase, key, mode))
        return None

    def _write(self, state: dict[str, Any]) -> None:
        self.written = time.monotonic()
        now = datetime.datetime.now(datetime.UTC)
        where = {"processor": processor(), "threads": torch.get_num_threads()}
        state = {**state, **where, "time": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        write_json(self.folder / "progress.json", state)


@functools.cache
def processor() -> str:
    """The name of what trains: a GPU's, else the processor's."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpus = Path("/proc/cpuinfo")
    text = cpus.read_text() if cpus.is_file() else ""
    name = re.search(r"^model name\s*: *(.+)$", text, re.MULTILINE)
    return name[1] if name else platform.processor() or platform.machine()


def point(reporter: TopDownReporter, epoch: int) -> dict[str, Any]:
    """One line of ``curve.jsonl``."""
    return {
        "epoch": epoch,
        "seconds": round(reporter.seconds(epoch), 3),
        "train": curve_values(reporter, epoch, "train"),
        "valid": curve_values(reporter, epoch, "valid"),
    }


def curve_values(reporter: TopDownReporter, epoch: int, phase: str) -> dict[str, float]:
    """The losses and errors of one epoch, without the stop-watch readings."""
    values = reporter.numbers(epoch, phase)
    skipped = ("total_count", "loss_scale", "clip")
    return {
        k: v for k, v in values.items() if not k.endswith("_time") and k not in skipped
    }


def line(state: dict[str, Any]) -> str:
    """The log line of an epoch.

    >>> line({"epoch": 3, "max_epoch": 40, "seconds_per_epoch": 5.1, "best_epoch": 2,
    ...       "eta_seconds": 188.7, "valid": {"loss": 41.25, "cer_ctc": 0.3}})
    'epoch 3/40: 5.1 s, valid loss 41.25, cer_ctc 0.3, best epoch 2, 3 min left'
    """
    values = [f"{k} {state['valid'][k]:.4g}" for k in SHOWN if k in state["valid"]]
    left = state["eta_seconds"]
    left = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
    head = f"epoch {state['epoch']}/{state['max_epoch']}"
    parts = [f"{head}: {state['seconds_per_epoch']:.1f} s"]
    parts += [f"valid {', '.join(values)}"] if values else []
    parts += [f"best epoch {state['best_epoch']}"] if state["best_epoch"] else []
    return ", ".join([*parts, f"{left} left"])
