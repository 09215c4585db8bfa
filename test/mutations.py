"""Would the tests notice? Take away each fsync, rename, lock, digest check, refusal.

python test/mutations.py [--list] [--only WORD] [--tests WORD ...] [--state FILE]: in a
copy of the tree every guard gets a switch. Each test file runs once with all of them,
which shows the tests that come by each guard; then those tests run without it, the
quickest first, until one fails. A guard that no test misses has survived. A stopped run
goes on with the same --state.

A killed process does not lose what it has written, so that only tests that look at the
order of the system calls can notice that an fsync is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "fixtures"))

from mutation_places import places  # noqa: E402
from mutation_runs import PACKAGE, Runs  # noqa: E402

# Campaigns that come by nearly everything, in minutes; others must notice.
LEFT_OUT = ("test_kill", "test_syscalls", "test_mutations", "test_real_slurm")
LEFT_OUT += ("test_real_sge", "test_fuzz", "test_docs", "test_imports")
FIRST, LAST = ("test_files",), ("trainer", "bin", "cmd", "recipes")


def test_files(words: Sequence[str] = ()) -> list[str]:
    """All that may notice, slow ones last; the package itself for its doctests."""
    found = [p for p in HERE.rglob("test_*.py") if p.stem not in LEFT_OUT]
    slow = {p: LAST.index(p.parent.name) + 1 for p in found if p.parent.name in LAST}
    found.sort(key=lambda p: (p.stem not in FIRST, slow.get(p, 0), p))
    names = [*(str(p.relative_to(ROOT)) for p in found), PACKAGE]
    return [n for n in names if not words or any(w in n for w in words)]


def try_all(runs: Runs, keys: Iterable[str], files: Sequence[str], state: Path) -> dict:
    """Try the guards with the test files; returns guard -> the test that noticed.

    Args:
        runs: The copy.
        keys: Of the guards.
        files: Their order is that of the trials.
        state: Gets a line for each file; files that are in it are not run again.
    """
    keys, noticed, seen, known = set(keys), {}, set(), {}
    for row in _rows(state):
        known[row["file"], row["digest"]] = row
    for name in files:
        path = runs.tree / name
        digest = hashlib.sha256(
            path.read_bytes() if path.is_file() else b""
        ).hexdigest()
        row = known.get((name, digest))
        if row is None:
            start = time.monotonic()
            row = runs.try_file([name], keys - noticed.keys())
            row.update(file=name, digest=digest)
            with state.open("a") as f:
                f.write(json.dumps(row) + "\n")
            seconds = time.monotonic() - start
            print(f"{name}: {seconds:.1f} s, {_told(row)}", flush=True)
        seen.update(row["seen"])
        new = row["noticed"].items()
        noticed.update({k: by for k, by in new if k in keys - noticed.keys()})
    for key in sorted(keys - seen):
        print(f"no test comes by {key}")
    return noticed


def _told(row: dict) -> str:
    told = f"by {len(row['seen'])} guards, {len(row['noticed'])} more noticed"
    if row["failed"] or row["status"]:
        told += f"; status {row['status']}, fail with all guards: {row['failed']}"
    return told


def _rows(path: Path) -> list[dict]:
    text = path.read_text() if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines()]


def main() -> int:
    """Try them; the status is 0 if all were noticed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--list", action="store_true", help="only show the guards")
    parser.add_argument("--only", default="", help="guards with this word")
    parser.add_argument("--tests", nargs="+", default=[], help="files with such a word")
    parser.add_argument("--state", type=Path, help="file that lets a run go on")
    args = parser.parse_args()
    if args.list:
        some = [p for p in places(ROOT / PACKAGE) if args.only in p.key]
        print(*(f"{PACKAGE}/{p.module}.py:{p.line} {p.key}" for p in some), sep="\n")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the copy is removed
    with tempfile.TemporaryDirectory(prefix="mutations") as scratch:
        runs = Runs(ROOT, Path(scratch))
        chosen = [p for p in runs.places if args.only in p.key]
        state = args.state or Path(scratch) / "state"
        keys = [p.key for p in chosen]
        noticed = try_all(runs, keys, test_files(args.tests), state)
    for kind, n in sorted(Counter(p.kind for p in chosen).items()):
        seen = sum(p.kind == kind and p.key in noticed for p in chosen)
        print(f"{kind}: {seen} of {n}")
    survived = [key for key in keys if key not in noticed]
    print(*(f"survived: {key}" for key in survived), sep="\n")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
