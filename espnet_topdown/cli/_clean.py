"""Make room in a finished search, and end one that runs; both only when asked."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

from espnet_topdown.cmd.launch import cancel_jobs
from espnet_topdown.errors import CONFIG, RETRY, TopDownError
from espnet_topdown.files import lock_holder
from espnet_topdown.records import DONE
from espnet_topdown.search.state import JOINT, check_search, read_state

# Of a model that was not the best only these are of any size.
_LARGE = ("checkpoint.pth", "*epoch.pth", "*.ave*.pth", "latest.pth", "start.pth")


def removable(folder: Path, keep: str = "best") -> list[Path]:
    """Return the files that ``clean`` deletes: models and checkpoints of other jobs.

    Scores, configurations, curves, logs and the frozen tensors stay, so that the
    search remains finished and its report can be written. The best model and the
    models of its path stay whole.

    Raises:
        TopDownError: E_NO_SEARCH (66); E_UNFINISHED (78) before the search has a
            result; E_LOCKED (75) while it runs.
    """
    search = read_state(folder)
    if keep != "best":
        raise TopDownError("E_RANGE", f"--keep {keep} is unknown", "give best", CONFIG)
    if search.owner:
        what = f"{folder}: the search is running"
        raise TopDownError("E_LOCKED", what, "wait until it has finished", RETRY)
    if search.best_name is None:
        what = f"{folder}: the search has no result yet, which models are needed?"
        do = "let it finish first; the same command continues it"
        raise TopDownError("E_UNFINISHED", what, do, CONFIG)
    kept = search.path[: search.path.index(search.best_name) + 1]
    others = (c.name for c in search.candidates if c.role != JOINT)
    jobs = [search.folder / n for n in others if n not in kept]
    files = {p for j in jobs if (j / DONE).is_file() for n in _LARGE for p in j.glob(n)}
    return sorted(p for p in files if p.is_file() and not p.is_symlink())


def cancel(folder: Path) -> list[str]:
    """End a search and its jobs; the same command continues later.

    The search is asked to stop and does it in order: it ends its launchers, which
    cancel their jobs. Jobs that a search left behind on a cluster are cancelled too.

    Returns:
        What was done, one line each.

    Raises:
        TopDownError: E_LOCKED (75) if the search runs on another machine.
    """
    folder, done = check_search(folder), []
    if owner := lock_holder(folder / "lock"):
        pid, host = owner.get("pid"), owner.get("host")
        if host != socket.gethostname():
            what = f"{folder} is searched by pid {pid} on {host}"
            raise TopDownError("E_LOCKED", what, "run cancel on that machine", RETRY)
        os.kill(int(owner["pid"]), signal.SIGTERM)
        done.append(f"search (pid {pid}): asked to stop")
        deadline = time.monotonic() + 60.0
        while lock_holder(folder / "lock") and time.monotonic() < deadline:
            time.sleep(0.2)
    for job in sorted(p for p in folder.iterdir() if p.is_dir()):
        done += [f"{job.name}: {line}" for line in cancel_jobs(job)]
    return done or ["nothing runs here"]
