"""The arrows between modules and the house rules, read from the sources.

``docs/structure.md`` says why; here they are checked, so that they stay true.
"""

from __future__ import annotations

import ast
import fnmatch
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "espnet_topdown"
FILES = sorted(PACKAGE.rglob("*.py"))

# Who alone may import it.
ONLY_IN = {
    "espnet2": ["trainer/*", "models/experiment.py", "models/text.py"],
    "espnet": [],  # 202611 has a stub of that name
    "espnet3": [],
    "matplotlib": ["report/*"],
    "kaldiio": [],  # each of the two is in one ESPnet release only
    "omniio": [],
    "sctk": [],
}
# Free of torch when they are imported, and in whatever they import by then.
PURE = ["models/layers", "search", "cmd", "report", "files", "records", "errors"]
PURE += ["cli", "models/checkpoint"]
HEAVY = ["torch", "espnet2", "numpy", "scipy", "matplotlib", "soundfile"]

# A module imports from its own room and from those after it: so there are no circles.
ROOMS = ["bin", "cli", "report", "search", "jobs", "scoring", "trainer", "models"]
ROOMS += ["data", "cmd", "records", "files", "errors"]


UNITS = {p.stem if p.is_file() else p.name for p in PACKAGE.iterdir()}
UNITS |= {*ROOMS}


def short(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Dotted names that are imported anywhere in the file, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module), node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def unit(name: str) -> str:
    """The module or subpackage of ours that a dotted name belongs to, or ''."""
    parts = name.split(".")
    ours = parts[0] == "espnet_topdown" and len(parts) > 1
    return parts[1] if ours and parts[1] in UNITS else ""


def is_pure(path: str) -> bool:
    """Whether a module is listed in PURE by its room or by its name."""
    return any(path.startswith((f"{name}/", f"{name}.py")) for name in PURE)


def is_top_level(tree: ast.AST, line: int) -> bool:
    return any(node.lineno == line for node in ast.iter_child_nodes(tree))


def wrong_imports(path: str, tree: ast.AST) -> list[str]:
    me = path.split("/")[0].replace(".py", "")
    wrong = []
    for name, line in imports(tree):
        top = name.split(".")[0]
        allowed = ONLY_IN.get(top)
        if allowed is not None and not any(fnmatch.fnmatch(path, a) for a in allowed):
            wrong.append(f"line {line}: {name} is not for {path}")
        if top == "torch" and is_pure(path) and is_top_level(tree, line):
            wrong.append(f"line {line}: {me} is free of torch")
        foreign = top not in sys.stdlib_module_names
        if me == "bin" and foreign and top != "espnet_topdown":
            wrong.append(f"line {line}: bin imports the library only, not {name}")
        other = unit(name)
        if not other or me == "__init__" or other == me:
            continue
        if {me, other} <= {*ROOMS} and ROOMS.index(other) < ROOMS.index(me):
            wrong.append(
                f"line {line}: {me} must not import {other}, which is above it"
            )
        if any(p.startswith("_") and not p.endswith("__") for p in name.split(".")):
            wrong.append(f"line {line}: {name} is private to {other}")
    return wrong


def called(node: ast.Call) -> str:
    """The called name, such as ``torch.load``; '' where it is not a plain name."""
    parts, f = [], node.func
    while isinstance(f, ast.Attribute):
        parts.append(f.attr)
        f = f.value
    return ".".join([f.id, *parts[::-1]]) if isinstance(f, ast.Name) else ""


def is_true(node: ast.Call, keyword: str) -> bool:
    given = [k.value for k in node.keywords if k.arg == keyword]
    return bool(given) and getattr(given[0], "value", None) is True


def unsafe(tree: ast.AST) -> list[str]:
    """Ways to unpickle what a file says, beside those that ruff knows (S301, ...)."""
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = called(node)
            bad = name == "torch.load" and not is_true(node, "weights_only")
            if bad or name == "yaml.unsafe_load" or is_true(node, "allow_pickle"):
                wrong.append(f"line {node.lineno}: {name}")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=short)
def test_a_module_keeps_the_rules(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert wrong_imports(short(path), tree) == []
    assert unsafe(tree) == []
    assert ast.get_docstring(tree), "a module says what it is"


LOADED = """
import importlib, sys
sys.path.insert(0, {root!r})
before = set(sys.modules)
for name in {names!r}:
    importlib.import_module(name)
print(*[m for m in {heavy!r} if m in set(sys.modules) - before])
"""


def loaded(names: list[str]) -> list[str]:
    code = LOADED.format(root=str(PACKAGE.parent), names=names, heavy=HEAVY)
    call = [sys.executable, "-c", code]
    ran = subprocess.run(call, capture_output=True, text=True, check=True)
    return ran.stdout.split()


def module(path: Path) -> str:
    return "espnet_topdown." + short(path)[:-3].replace("/", ".")


def test_pure_modules_load_nothing_heavy() -> None:
    """Also not through the modules that they import."""
    # These compute: only torch is barred there.
    skipped = ("report/", "search/", "cli/_fsck", "cli/_clean")
    pure = [p for p in FILES if is_pure(short(p))]
    assert loaded([module(p) for p in pure if not short(p).startswith(skipped)]) == []


def test_commands_load_fast() -> None:
    """Importing any command loads neither torch nor ESPnet: ``--help`` is instant."""
    commands = [*(PACKAGE / "bin").glob("[!_]*.py"), PACKAGE / "__main__.py"]
    assert loaded([module(p) for p in commands]) == []
