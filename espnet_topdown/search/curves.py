"""Learning curves, as the trainer wrote them: one point an epoch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

# What ESPnet's own log says at the end of an epoch (202511 and 202611):
#   3epoch results: [train] loss=1.5, time=2 minutes and 3.1 seconds, [valid] loss=..
_EPOCH = re.compile(r"(\d+)epoch results: (.*)")
_SECTION = re.compile(r"\[(\w+)\] (.*?)(?=, \[\w+\] |$)")
_VALUE = re.compile(r"(\w+)=([-+]?(?:\d[\d.]*(?:e[-+]?\d+)?|nan|inf))(?=,|$)")
_SPAN = re.compile(r"([\d.]+) (second|minute|hour|day)")
_UNIT = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training measured; error rates are fractions, not percent."""

    epoch: int
    seconds: float | None = None
    train: dict[str, float] = field(default_factory=dict)
    valid: dict[str, float] = field(default_factory=dict)


def read_curve(folder: Path) -> tuple[Epoch, ...]:
    """Read `curve.jsonl`, else ESPnet's `train.log`; nothing where there is neither.

    An epoch that was trained twice (a resumed run) counts once: the last time.

    Returns:
        The epochs, in order.
    """
    path = folder / "curve.jsonl"
    if path.is_file():
        found = [_from_json(line) for line in _lines(path)]
    else:
        logs = sorted(folder.glob("train*.log*"), key=_age)
        found = [_from_log(line) for path in logs for line in _lines(path)]
    by_epoch = {e.epoch: e for e in found if e is not None}
    return tuple(by_epoch[k] for k in sorted(by_epoch))


# Oldest first: old logs are `train.1.log` (ESPnet) or `train.log.1` (ours).
def _age(path: Path) -> tuple[int, str]:
    number = re.search(r"\.(\d+)(\.|$)", path.name)
    return (-int(number.group(1)) if number else 0, path.name)


def _lines(path: Path) -> Iterable[str]:
    with path.open(encoding="utf-8", errors="replace") as f:
        yield from f


def _from_json(line: str) -> Epoch | None:
    try:
        row = json.loads(line)
        phases = ((row.get(name) or {}).items() for name in ("train", "valid"))
        numbers = ({key: float(value) for key, value in phase} for phase in phases)
        seconds = row.get("seconds")
        return Epoch(int(row["epoch"]), seconds and float(seconds), *numbers)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # a curve is for show


def _from_log(line: str) -> Epoch | None:
    """Read one line of ESPnet's log.

    >>> _from_log("x INFO: 3epoch results: [train] loss=1.5, time=2 minutes and "
    ...           "3 seconds, total_count=9, [valid] cer_ctc=0.250, time=1 second")
    Epoch(epoch=3, seconds=124.0, train={'loss': 1.5}, valid={'cer_ctc': 0.25})

    Returns:
        The epoch; None for another line.
    """
    match = _EPOCH.search(line.rstrip("\n"))
    if not match:
        return None
    parts: dict[str, dict[str, float]] = {}
    seconds = 0.0
    for name, text in _SECTION.findall(match[2]):
        seconds += sum(float(n) * _UNIT[u] for n, u in _SPAN.findall(text))
        parts[name] = {k: float(v) for k, v in _VALUE.findall(text)}
        parts[name].pop("total_count", None)
    shown = (parts.get(phase, {}) for phase in ("train", "valid"))
    return Epoch(int(match[1]), seconds or None, *shown)
