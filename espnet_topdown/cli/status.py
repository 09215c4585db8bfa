"""``status`` and ``du``: one screen of a search, and the room that it takes."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from espnet_topdown.search.state import (
    NOT_RUN,
    Candidate,
    SearchState,
    check_search,
    parse_time,
    read_state,
)

STALE_SECONDS = 900.0  # a running job that has written nothing for so long is named


def screen(folder: Path) -> str:
    """The whole state of a search as text.

    Raises:
        TopDownError: E_NO_SEARCH (66), or what a broken file is called.
    """
    search = read_state(folder)
    head = f"{folder}: search {search.strategy}, {_head(search)}"
    rows = [_row(search, c) for c in search.candidates if c.status != NOT_RUN]
    return "\n".join([head, *columns([_HEADS, *rows])])


_HEADS = ("model", "state", "epoch", "left", "where", "")


def _head(search: SearchState) -> str:
    if search.finished:
        return f"finished, best {search.best_name} ({search.reason})"
    owner = search.owner
    if owner:
        return f"running (pid {owner.get('pid')} on {owner.get('host')})"
    if search.status == "running":
        return "its jobs run on the cluster; the same command takes them over"
    return f"{search.status}; the same command continues"


def _row(search: SearchState, candidate: Candidate) -> tuple[str, ...]:
    at = candidate.progress
    epoch = f"{at.get('epoch', 0)}/{at.get('max_epoch')}" if at else ""
    left, why = "", candidate.why
    if candidate.status == "running":
        eta, silent = at.get("eta_seconds"), _silent(at.get("time"))
        left = "" if eta is None else duration(eta)
        why = f"silent for {duration(silent)}" if silent > STALE_SECONDS else ""
    elif candidate.status == "interrupted":
        why = "the same command continues"
    elif candidate.status == "failed":
        log = search.folder / candidate.name / "train.log"
        why = f"{candidate.why.replace('exit ', '')}, see {log}"
    elif candidate.errors is not None:
        unit = "nats" if search.criterion == "ppl" else "errors"
        why = f"{candidate.errors:g} {unit}"
    return (candidate.name, candidate.status, epoch, left, candidate.where, why)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines whose columns are as wide as they need to be; empty ones are left out."""
    wide = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(c.ljust(w) for c, w in zip(row, wide) if w).rstrip() for row in rows
    ]


def _silent(written: object) -> float:
    """Seconds since the training last wrote where it is."""
    then = parse_time(written)
    now = datetime.datetime.now(datetime.UTC)
    return (now - then).total_seconds() if then else 0.0


def duration(seconds: float) -> str:
    """For example ``5 min``."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def disk_use(folder: Path) -> list[tuple[str, int]]:
    """Bytes that each job's own files take, the largest first; links count nothing.

    Raises:
        TopDownError: E_NO_SEARCH (66).
    """
    places = [p for p in check_search(folder).iterdir() if p.is_dir()]
    sizes = [(p.name, sum(map(_size, _files(p)))) for p in places if not p.is_symlink()]
    return sorted(sizes, key=lambda s: (-s[1], s[0]))


def _files(folder: Path) -> Iterable[Path]:
    for root, _, names in os.walk(folder):
        yield from (Path(root, n) for n in names)


def _size(path: Path) -> int:
    return 0 if path.is_symlink() else path.stat().st_size


def megabytes(size: int) -> str:
    """For example ``12.3 MB``."""
    return f"{size / 1e6:.1f} MB"
