"""One screen of a search."""

from __future__ import annotations

import datetime

from espnet_topdown.search.progress import duration
from espnet_topdown.search.state import NOT_RUN, Candidate, SearchState, beside_training

STALE_SECONDS = 900.0  # a running job that has written nothing for so long is named


def format_status(search: SearchState) -> str:
    """Return the whole state of a search as text, a row a model."""
    heads = ("model", "state", "epoch", "left", "where", "")
    shown = [c for c in search.candidates if c.status != NOT_RUN]
    rows = [heads, *(_row(search, c) for c in shown)]
    wide = [max(map(len, column)) for column in zip(*rows)]
    lines = [f"{search.folder}: search {search.strategy}, {_head(search)}"]
    for row in rows:
        cells = [c.ljust(w) for c, w in zip(row, wide) if w]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _head(search: SearchState) -> str:
    if search.finished:
        return f"finished, best {search.best_name} ({search.reason})"
    if owner := search.owner:
        return f"running (pid {owner.get('pid')} on {owner.get('host')})"
    if search.status == "running":
        return "its trainings run on the cluster; the same command takes them over"
    return f"{search.status}; the same command continues"


def _row(search: SearchState, candidate: Candidate) -> tuple[str, ...]:
    at = candidate.progress
    epoch = f"{at.get('epoch', 0)}/{at.get('max_epoch')}" if at else ""
    left, why = "", candidate.why
    if candidate.status == "running":
        eta, silent = at.get("eta_seconds"), _silent_seconds(at.get("time"))
        left = "" if eta is None else duration(eta)
        why = beside_training(search.folder / candidate.name, at)
        if silent > STALE_SECONDS:
            why = f"silent for {duration(silent)}"
    elif candidate.status == "interrupted":
        why = "the same command continues"
    elif candidate.status == "failed":
        why = f"{why.replace('exit ', '')}, see {search.folder / candidate.name}"
        why += "/train.log"
    elif candidate.errors is not None:
        unit = "nats" if search.criterion == "ppl" else "errors"
        why = f"{candidate.errors:g} {unit}"
    return (candidate.name, candidate.status, epoch, left, candidate.where, why)


def _silent_seconds(written: object) -> float:
    try:
        then = datetime.datetime.fromisoformat(str(written))
    except ValueError:
        return 0.0
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds()
