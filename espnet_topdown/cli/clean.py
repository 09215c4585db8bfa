"""Make room in a finished search, and end one that runs; both only when asked."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

from espnet_topdown.cmd.launch import cancel_jobs
from espnet_topdown.errors import CONFIG, RETRY, TopDownError
from espnet_topdown.files import holder, read_json
from espnet_topdown.search.state import check_search

# Of a model that was not the best only these are of any size.
_LARGE = ("checkpoint.pth", "*epoch.pth", "*.ave*.pth", "latest.pth", "start.pth")


def removable(folder: Path, keep: str = "best") -> list[Path]:
    """Files that ``clean`` would delete: models and checkpoints of the other jobs.

    Scores, configurations, curves, logs and the frozen tensors stay, so that the
    search remains finished and its report can be written. The best model and the
    models of its path stay whole.

    Raises:
        TopDownError: E_NO_SEARCH (66); E_UNFINISHED (78) before the search has a
            result; E_LOCKED (75) while it runs.
    """
    folder = check_search(folder)
    if keep != "best":
        what = f"--keep {keep} is unknown"
        raise TopDownError("E_RANGE", what, "give best", CONFIG)
    if holder(folder / "lock"):
        what = f"{folder}: the search is running"
        raise TopDownError("E_LOCKED", what, "wait until it has finished", RETRY)
    if not (folder / "result.json").is_file():
        what = f"{folder}: the search has no result yet, which models are needed?"
        do = "let it finish first; the same command continues it"
        raise TopDownError("E_UNFINISHED", what, do, CONFIG)
    result = read_json(folder / "result.json")
    last = result["path"].index(result["best"]) + 1
    kept = set(result["path"][:last])
    found: list[Path] = []
    for name in result["nodes"]:
        if name not in kept and (folder / name / ".done").is_file():
            for pattern in _LARGE:
                files = (folder / name).glob(pattern)
                found += [p for p in files if p.is_file() and not p.is_symlink()]
    return sorted(set(found))


def remove(files: list[Path]) -> None:
    """Delete the files."""
    for path in files:
        path.unlink()


def cancel(folder: Path) -> list[str]:
    """End a search and its jobs; the same command continues later.

    The search is told to stop and does it in order: it ends its launchers, which
    cancel their jobs. Jobs that a search left behind on a cluster are cancelled too.

    Returns:
        What was done, one line each.

    Raises:
        TopDownError: E_LOCKED (75) if the search runs on another machine.
    """
    folder, done = check_search(folder), []
    owner = holder(folder / "lock")
    if owner:
        if owner.get("host") != socket.gethostname():
            what = f"{folder} is searched by pid {owner.get('pid')} on {owner['host']}"
            raise TopDownError("E_LOCKED", what, "run cancel on that machine", RETRY)
        os.kill(int(owner["pid"]), signal.SIGTERM)
        done.append(f"search (pid {owner['pid']}): told to stop")
        _wait(folder)
    for job_folder in sorted(p for p in folder.iterdir() if p.is_dir()):
        done += [f"{job_folder.name}: {line}" for line in cancel_jobs(job_folder)]
    return done or ["nothing runs here"]


def _wait(folder: Path, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while holder(folder / "lock") and time.monotonic() < deadline:
        time.sleep(0.2)
