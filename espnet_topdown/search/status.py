"""What a search is doing, from its folder alone: one screen."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.cmd.submission import open_jobs, why_waiting
from espnet_topdown.errors import MISSING, TopDownError
from espnet_topdown.files import holder, read_json, read_yaml
from espnet_topdown.records import Journal

STALE_SECONDS = 900.0  # a running job that has written nothing for so long is said


@dataclass(frozen=True)
class Row:
    """One candidate or control, as text."""

    node: str
    state: str
    epoch: str = ""
    left: str = ""
    where: str = ""
    why: str = ""


def check_search(folder: Path) -> Path:
    """Refuse a folder that is no search: E_SEARCH (66)."""
    folder = Path(folder)
    if not (folder / "search.yaml").is_file():
        raise TopDownError(
            "E_SEARCH",
            f"no search in {folder} (search.yaml is missing)",
            "give the folder that stage 12 wrote, e.g. exp/asr_train_topdown",
            MISSING,
        )
    return folder


def read_rows(folder: Path) -> list[Row]:
    """All nodes of a search, as the journal came across them."""
    events = Journal(folder / "journal.jsonl").events()
    names = dict.fromkeys(e["node"] for e in events if "node" in e)
    last: dict[str, dict[str, Any]] = {}
    for event in events:
        if "node" in event:
            last[event["node"]] = {**last.get(event["node"], {}), **event}
    alive = bool(holder(folder / "lock"))
    return [_row(folder / n, last[n], alive) for n in names]


def _row(folder: Path, event: dict[str, Any], driver: bool) -> Row:
    node, progress = folder.name, _progress(folder)
    epoch = f"{progress.get('epoch', 0)}/{progress['max_epoch']}" if progress else ""
    if (folder / ".done").is_file():
        state = event.get("verdict") or "done"
        why = f"{event['errors']:g} errors" if event.get("errors") is not None else ""
        return Row(node, state, epoch, "", "", why)
    if event["event"] == "failed":
        why = f"status {event['status']}, see {folder / 'train.log'}"
        return Row(node, "failed", epoch, "", "", why)
    if event["event"] == "trained":
        return Row(node, "trained", epoch, "", "", "")
    jobs = [job.job for job in open_jobs(folder) if job.job]
    where = ", ".join(f"job {j}" for j in jobs) or ("this machine" if driver else "")
    if not driver and not jobs:
        why = "the search is not running; the same command continues"
        return Row(node, "stopped", epoch, "", where, why)
    waits = why_waiting(folder / "train.log")
    if waits:
        return Row(node, "waiting", epoch, "", where, f"for {waits}")
    left = _minutes(progress["eta_seconds"]) if "eta_seconds" in progress else ""
    silent = _silent(progress)
    why = f"silent for {_minutes(silent)}" if silent > STALE_SECONDS else ""
    return Row(node, "running" if progress else "started", epoch, left, where, why)


def screen(folder: Path) -> str:
    """The whole state of a search as text."""
    folder = check_search(folder)
    asked, rows = read_yaml(folder / "search.yaml"), read_rows(folder)
    owner = holder(folder / "lock")
    head = f"{folder}: search {asked.get('strategy')}, {_state(folder, owner)}"
    return "\n".join([head, *table(rows)])


def _state(folder: Path, owner: dict[str, Any]) -> str:
    if (folder / "result.json").is_file():
        result = read_json(folder / "result.json")
        return f"finished, best {result['best']} ({result['reason']})"
    if owner:
        return f"running (pid {owner.get('pid')} on {owner.get('host')})"
    return "not running; the same command continues"


def table(rows: Iterable[Row]) -> list[str]:
    """Columns as wide as they need to be."""
    heads = Row("model", "state", "epoch", "left", "where", "")
    cells = [list(vars(r).values()) for r in (heads, *rows)]
    wide = [max(len(row[i]) for row in cells) for i in range(6)]
    return [
        "  ".join(c.ljust(w) for c, w in zip(row, wide) if w).rstrip() for row in cells
    ]


def _progress(folder: Path) -> dict[str, Any]:
    path = folder / "progress.json"
    try:
        return read_json(path) if path.is_file() else {}
    except TopDownError:  # it is only a display
        return {}


def _silent(progress: dict[str, Any]) -> float:
    """Seconds since the training last wrote where it is."""
    try:
        then = datetime.datetime.strptime(progress["time"], "%Y-%m-%dT%H:%M:%SZ")
    except (KeyError, ValueError):
        return 0.0
    then = then.replace(tzinfo=datetime.timezone.utc)
    return (datetime.datetime.now(datetime.timezone.utc) - then).total_seconds()


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def disk_use(folder: Path) -> list[tuple[str, int]]:
    """Bytes that each node's own files take, the largest first; links count nothing."""
    check_search(folder)
    sizes = []
    for node in sorted(p for p in Path(folder).iterdir() if p.is_dir()):
        if not node.is_symlink():
            sizes.append((node.name, sum(_size(p) for p in _files(node))))
    return sorted(sizes, key=lambda s: -s[1])


def _files(folder: Path) -> Iterable[Path]:
    for root, _, names in os.walk(folder):
        yield from (Path(root, n) for n in names)


def _size(path: Path) -> int:
    return 0 if path.is_symlink() else path.stat().st_size


def megabytes(size: int) -> str:
    """For example ``12.3 MB``."""
    return f"{size / 1e6:.1f} MB"
