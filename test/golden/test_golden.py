"""What must not change has not; see record.py for how it is written down."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from record import HERE, SECTIONS, file_of, values

SLOW = {"losses", "resumed"}
MAY_GROW = {"options", "codes"}  # a new option or code is nothing lost


def differences(want: Any, have: Any, where: str = "") -> list[str]:
    """Every place where two values differ; numbers with a point by 1e-4 of them."""
    if isinstance(want, dict) and isinstance(have, dict):
        pairs = [(k, want.get(k), have.get(k)) for k in sorted({*want, *have})]
    elif isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        pairs = [(i, *both) for i, both in enumerate(zip(want, have))]
    elif isinstance(want, float) and isinstance(have, float):
        return (
            [] if have == pytest.approx(want, rel=1e-4) else [f"{where}: {want} {have}"]
        )
    elif isinstance(want, str) and isinstance(have, str):
        gone, new = (
            " ".join(w for w in a.split() if w not in b.split())
            for a, b in ((want, have), (have, want))
        )
        return [] if want == have else [f"{where}: was {gone!r}, is {new!r}"]
    else:
        return [] if want == have else [f"{where}: was {want!r}, is {have!r}"]
    return [d for key, a, b in pairs for d in differences(a, b, f"{where}/{key}")]


def known(want: Any, have: Any) -> Any:
    """Without what was not there when ``want`` was recorded."""
    if isinstance(want, dict) and isinstance(have, dict):
        return {k: known(want[k], v) for k, v in have.items() if k in want}
    if isinstance(want, list) and isinstance(have, list):
        return [v for v in have if v in want]
    if isinstance(want, str) and isinstance(have, str):
        return " ".join(w for w in have.split() if w in want.split())
    return have


@pytest.mark.espnet
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.nightly if n in SLOW else ()) for n in SECTIONS],
)
def test_as_recorded(name: str, tmp_path: Path) -> None:
    if not file_of(name).is_file():
        pytest.skip(
            f"{file_of(name).name} was not recorded: no release of ours is tested"
        )
    want = json.loads(file_of(name).read_text())
    have = values(name, tmp_path)
    found = differences(want, known(want, have) if name in MAY_GROW else have)
    shown = "\n".join(found[:20])
    assert not found, f"{len(found)} differences from {file_of(name).name}:\n{shown}"


@pytest.mark.parametrize(
    "want, have, n",
    [
        ({"a": [1, 2.0]}, {"a": [1, 2.0001]}, 0),
        ({"a": [1, 2.0]}, {"a": [1, 2.001]}, 1),
        ({"a": [1, 2.0]}, {"a": [2, 2.0], "b": 0}, 2),
        ([1], [1, 1], 1),
        ({"a": None}, {"a": 0}, 1),
    ],
)
def test_a_difference_is_seen(want: Any, have: Any, n: int) -> None:
    assert len(differences(want, have)) == n


def test_options_and_codes_may_only_grow() -> None:
    want = {"x": "--a --c", "E": [65]}
    more = {"x": "--a --b --c", "E": [64, 65], "y": ""}
    assert differences(want, known(want, more)) == []
    less = {"x": "--a --b", "E": [64]}
    assert len(differences(want, known(want, less))) == 2


def test_every_promise_of_resuming_has_its_test() -> None:
    rows = re.findall(r"^\| (?!Promise|---).*?\| (.*?) \|$", promises(), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(test_\w+)`", row)]
    sources = [p.read_text() for p in HERE.parent.rglob("test_*.py")]
    gone = [n for n in named if not any(f"def {n}(" in s for s in sources)]
    assert len(rows) >= 20 and len(named) >= len(rows) and gone == []


def promises() -> str:
    """The list."""
    return (HERE / "resuming.md").read_text()
