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


def leaves(value: Any, place: str = "") -> dict[str, Any]:
    """Every number and text in nested values, by its place."""
    if not value or not isinstance(value, (dict, list)):
        return {place: value}
    found = {}
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        found.update(leaves(inner, f"{place}/{key}"))
    return found


def words(value: Any, place: str = "") -> set[str]:
    """Every key, word of a text and entry of a list, with its place."""
    parts = value.split() if isinstance(value, str) else value
    found = {f"{place}/{part}" for part in parts}
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= words(inner, f"{place}/{key}")
    return found


def is_same(want: Any, have: Any) -> bool:
    """Numbers with a point may differ by 1e-4 of them."""
    if isinstance(want, float) and isinstance(have, float):
        return have == pytest.approx(want, rel=1e-4)
    return have == want


@pytest.mark.espnet
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.nightly if n in SLOW else ()) for n in SECTIONS],
)
def test_as_recorded(name: str, tmp_path: Path) -> None:
    path = file_of(name)
    if not path.is_file():
        pytest.skip(f"{path.name} was not recorded: no release of ours is tested")
    want, have = json.loads(path.read_text()), values(name, tmp_path)
    if name in MAY_GROW:
        assert words(want) - words(have) == set()
        return
    was, now = leaves(want), leaves(have)
    places = [p for p in sorted({*was, *now}) if not is_same(was.get(p), now.get(p))]
    found = [f"{p}: was {was.get(p)!r}, is {now.get(p)!r}" for p in places]
    shown = "\n".join(found[:20])
    assert not found, f"{len(found)} differences from {path.name}:\n{shown}"


def test_every_promise_of_resuming_has_its_test() -> None:
    table = (HERE / "resuming.md").read_text()
    rows = re.findall(r"^\| (?!Promise|---).*?\| (.*?) \|$", table, re.MULTILINE)
    named = [re.findall(r"`(test_\w+)`", row) for row in rows]
    sources = "".join(p.read_text() for p in HERE.parent.rglob("test_*.py"))
    assert len(rows) >= 20 and all(named)
    assert [n for names in named for n in names if f"def {n}(" not in sources] == []
