"""Would the tests notice? Take away each fsync, rename, digest check, lock, refusal.

python test/mutations.py [--list] [--only WORD] [--limit N]: in a copy of the tree, one
place after the other is neutralised and the tests of its module run; a place whose
tests still pass is printed as survived. The list is generated from the code: the calls
in CALLS become nothing, and every ``raise TopDownError`` (or of a function that makes
one) becomes ``pass``. Removed fsyncs can only be seen by tests that look at the order
of system calls, since a killed process does not lose what it has written.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CALLS = {
    "os.fsync": "fsync",
    "sync_folder": "fsync",
    "fcntl.flock": "lock",
    "check_archive": "digest check",
    "check_seal": "digest check",
    "check_finite": "digest check",
    "check_keys": "digest check",
    "remove_temporaries": "repair",
    "_relink": "repair",
    "_restore_epoch": "repair",
    "_quarantine": "repair",
}
TESTS = {  # module -> what must notice
    "journal": "test/test_order.py test/test_journal.py test/test_status.py",
    "yaml_io": "test/test_yaml_io.py test/test_order.py test/test_weights.py",
    "weights": "test/test_weights.py",
    "seal": "test/test_seal.py",
    "result": "test/test_seal.py",
    "search": "test/test_search.py",
    "composition": "test/test_composition.py",
    "layers": "test/test_layers.py",
    "retrain": "test/test_retrain.py",
    "plan": "test/test_retrain.py test/test_catalogue.py",
    "fsck": "test/test_fsck.py",
    "fsck_node": "test/test_fsck.py",
    "trainer/checkpoint": "test/trainer/test_checkpoint.py test/test_order.py",
    "trainer/repair": "test/trainer/test_repair.py",
    "trainer/resume": "test/trainer/test_resume.py",
    "trainer/contract": "test/trainer/test_contract.py",
    "trainer/preflight": "test/trainer/test_task.py test/test_catalogue.py",
    "data/kaldi_dir": "test/data/test_kaldi_dir.py",
    "data/validate": "test/data/test_validate.py test/test_catalogue.py",
    "data/overlap": "test/data/test_validate_sets.py",
    "data/tokens": "test/data/test_tokens.py test/test_catalogue.py",
    "data/wav_checks": "test/data/test_validate.py test/test_catalogue.py",
}


@dataclass(frozen=True)
class Place:
    """One thing that can be taken away."""

    module: str
    line: int
    end: int
    kind: str
    what: str


def places() -> Iterator[Place]:
    """All of them, in the order of the code."""
    for module in TESTS:
        path = ROOT / "espnet_topdown" / f"{module}.py"
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            found = kind_of(node)
            if found:
                yield Place(module, node.lineno, node.end_lineno or 0, *found)


def kind_of(node: ast.AST) -> tuple[str, str] | None:
    """What a statement protects, if it does."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        name = ast.unparse(node.exc.func)
        code = node.exc.args[0] if node.exc.args else None
        if name == "TopDownError" or name.startswith("_"):
            constant = isinstance(code, ast.Constant)
            return "refusal", str(code.value) if constant else name
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        name = ast.unparse(node.value.func)
        if name in CALLS:
            return CALLS[name], name
        if name == "os.replace":
            return "rename", "copied, not renamed"
    return None


def neutralise(text: str, place: Place) -> str:
    """The module without it; a rename becomes a copy in place."""
    lines = text.split("\n")
    first = lines[place.line - 1]
    indent = first[: len(first) - len(first.lstrip())]
    new = f"{indent}pass"
    if place.kind == "rename":
        call = "\n".join(lines[place.line - 1 : place.end]).strip()
        new = indent + call.replace("os.replace", "__import__('shutil').copyfile", 1)
    return "\n".join([*lines[: place.line - 1], new, *lines[place.end :]])


def noticed(tree: Path, place: Place) -> bool:
    """Whether the tests fail without it."""
    path = tree / "espnet_topdown" / f"{place.module}.py"
    whole = path.read_text()
    path.write_text(neutralise(whole, place))
    env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    call = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    try:
        tests = TESTS[place.module].split()
        done = subprocess.run([*call, *tests], cwd=tree, env=env, capture_output=True)
    finally:
        path.write_text(whole)
    return done.returncode == 1


def main() -> int:
    """Try them; the status is the number that survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="only show the places")
    parser.add_argument("--only", default="", help="modules or kinds with this word")
    parser.add_argument("--limit", type=int, default=10**6, help="at most so many")
    parser.add_argument("--log", type=Path, help="add one JSON line a place")
    args = parser.parse_args()
    chosen = [p for p in places() if args.only in f"{p.module} {p.kind}"][: args.limit]
    survived = 0
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        if not args.list:
            skip = shutil.ignore_patterns(
                ".git", ".venv*", "__pycache__", "exp", "dump"
            )
            shutil.copytree(ROOT, tree, ignore=skip, symlinks=True)
        for place in chosen:
            where = f"{place.module}.py:{place.line} {place.kind}: {place.what}"
            if args.list:
                print(where)
                continue
            seen = noticed(tree, place)
            survived += not seen
            print(f"{'noticed ' if seen else 'SURVIVED'} {where}", flush=True)
            if args.log:
                row = {"kind": place.kind, "where": where, "noticed": seen}
                with args.log.open("a") as f:
                    f.write(json.dumps(row) + "\n")
    print(f"{len(chosen)} places, {survived} survived")
    return min(survived, 99)


if __name__ == "__main__":
    sys.exit(main())
