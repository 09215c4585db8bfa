"""Would the tests notice? Take away each fsync, rename, lock, digest check, refusal.

python test/mutations.py [--list] [--missing] [--only WORD] [--tests WORD ...]
[--state FILE] [--record] [--again] [--sample N]: in a copy of the tree every guard gets
a switch. Each test file runs once with all of them, which shows the tests that come by
each guard; then those tests run without it, the quickest first, until one fails. A
guard that no test misses has survived. A stopped run goes on with the same --state.

--record writes which test noticed which guard to mutations.tsv. After a change of the
package, --missing --tests WORD ... --record tries only the guards without a row there.
--again tries the rows by their tests and --record then keeps those that noticed again;
--sample N tries N rows, others each day.

A killed process does not lose what it has written, so that only tests that look at the
order of the system calls can notice that an fsync is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "fixtures"))

from mutation_places import Place, places  # noqa: E402
from mutation_runs import PACKAGE, Runs  # noqa: E402

RECORD = HERE / "mutations.tsv"
# Guards whose absence changes nothing that a test could see: key -> why it stays.
EXCEPTIONS: dict[str, str] = {}
# Campaigns that come by nearly everything, in minutes; others must notice.
LEFT_OUT = ("test_kill", "test_syscalls", "test_mutations", "test_real_slurm")
LEFT_OUT += ("test_real_sge", "test_fuzz", "test_docs", "test_imports")
FIRST, LAST = ("test_order",), ("trainer", "bin", "cmd", "recipes")
QUICK = ("test", "data", "score")  # folders of tests for the sample


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


def read_record() -> dict[str, str]:
    """Guard -> the test that noticed."""
    rows = RECORD.read_text().splitlines() if RECORD.is_file() else []
    return dict(row.split("\t", 1) for row in rows)


def sample(record: dict[str, str], found: Sequence[Place], n: int) -> list[str]:
    """Guards whose tests need no ESPnet; the next ones each day."""
    keys = [p.key for p in found if _needs_no_espnet(record.get(p.key, ""))]
    day = int(os.environ.get("TOPDOWN_DAY", time.time() // 86400))
    return [keys[(day * n + i) % len(keys)] for i in range(n if keys else 0)]


def _needs_no_espnet(test: str) -> bool:
    path = ROOT / test.partition("::")[0]
    if path.parent.name not in QUICK or not path.is_file():
        return False
    return "mark.espnet" not in path.read_text()


def try_again(runs: Runs, keys: Sequence[str]) -> dict[str, str]:
    """By the recorded tests."""
    record, noticed = read_record(), {}
    files: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        files[record[key].partition("::")[0]].append(key)
    for name, some in files.items():
        tests = sorted({record[key] for key in some})
        row = runs.try_file([t for t in tests if "::" in t], some)
        print(f"{name}: {_told(row)}", flush=True)
        noticed.update(row["noticed"])
    return noticed


def main() -> int:
    """Try them; the status is 0 if all but the exceptions were noticed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--list", action="store_true", help="only show the guards")
    parser.add_argument("--only", default="", help="guards with this word")
    parser.add_argument("--tests", nargs="+", default=[], help="files with such a word")
    parser.add_argument("--missing", action="store_true", help="those without a row")
    parser.add_argument("--again", action="store_true", help="all by the record")
    parser.add_argument("--sample", type=int, default=0, help="so many, by the record")
    parser.add_argument("--state", type=Path, help="file that lets a run go on")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    args = parser.parse_args()
    found = places(ROOT / PACKAGE)
    known = read_record() if args.missing else {}
    if args.list:
        some = [p for p in found if args.only in p.key and p.key not in known]
        print(*(f"{PACKAGE}/{p.module}.py:{p.line} {p.key}" for p in some), sep="\n")
        return 0
    lost = sorted(set(EXCEPTIONS) - {p.key for p in found})
    if lost:
        sys.exit(f"exceptions that are no guard any more: {', '.join(lost)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the copy is removed
    with tempfile.TemporaryDirectory(prefix="mutations") as scratch:
        runs = Runs(ROOT, Path(scratch), heavy=not args.sample)
        found = [p for p in runs.places if args.only in p.key]
        noticed, keys = _tried(args, runs, found, known, Path(scratch) / "state")
    return summary([p for p in found if p.key in keys], noticed, args)


def _tried(
    args: argparse.Namespace,
    runs: Runs,
    found: Sequence[Place],
    known: dict[str, str],
    state: Path,
) -> tuple[dict[str, str], set[str]]:
    """Guard -> what noticed, now or before, and the guards that this is about."""
    keys = [p.key for p in found]
    if args.sample or args.again:
        record = read_record()
        rows = [k for k in keys if "::" in record.get(k, "")]
        rows = sample(record, found, args.sample) if args.sample else rows
        return try_again(runs, rows), set(rows if args.sample else keys)
    left = [k for k in keys if k not in known]
    new = try_all(runs, left, test_files(args.tests), args.state or state)
    return {**{k: known[k] for k in keys if k in known}, **new}, set(keys)


def summary(
    chosen: Sequence[Place], noticed: dict[str, str], args: argparse.Namespace
) -> int:
    """Say what was noticed; the status."""
    if args.record:
        gone = {p.key for p in chosen} if args.again else set()
        kept = {k: v for k, v in read_record().items() if k not in gone}
        rows = {**kept, **noticed}
        keys = {p.key for p in places(ROOT / PACKAGE)} & rows.keys()
        RECORD.write_text("".join(f"{k}\t{rows[k]}\n" for k in sorted(keys)))
    for kind, n in sorted(Counter(p.kind for p in chosen).items()):
        seen = sum(p.kind == kind and p.key in noticed for p in chosen)
        print(f"{kind}: {seen} of {n}")
    survived = [p.key for p in chosen if p.key not in {*noticed, *EXCEPTIONS}]
    wrong = [k for k in EXCEPTIONS if k in noticed]
    print(*(f"survived: {key}" for key in survived), sep="\n")
    print(*(f"noticed, so no exception: {key}" for key in wrong), sep="\n")
    print(f"noticed {len(noticed)} of {len(chosen)}; exceptions {len(EXCEPTIONS)}")
    return 1 if survived or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
