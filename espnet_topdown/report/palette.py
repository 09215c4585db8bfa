"""One colour and one line style a model: the same on the page and in the figures.

Nothing depends on colour alone: lines also differ in their dashes and carry names.
"""

from __future__ import annotations

from dataclasses import dataclass

from espnet_topdown.report.nodes import BASELINE, CONTROL
from espnet_topdown.report.rows import SearchReport

LIGHT = {
    "base": "#3b4252",
    "c1": "#0b7a75",
    "c2": "#2563c9",
    "c3": "#7b3fc4",
    "c4": "#b8336a",
    "c5": "#b4540a",
    "c6": "#5b7a12",
    "control": "#7a7f89",
}
DARK = {
    "base": "#d3d9e4",
    "c1": "#3fc1b4",
    "c2": "#7aa9ff",
    "c3": "#b794f6",
    "c4": "#f07fae",
    "c5": "#f2a154",
    "c6": "#a9c95a",
    "control": "#9aa0ab",
}
_DASHES = ("", "7 3", "2 3", "10 3 2 3", "14 4", "5 2 1 2")


@dataclass(frozen=True)
class Ink:
    """`name` is a key of LIGHT and DARK; `dash` an SVG dash pattern, empty if solid."""

    name: str
    dash: str
    width: float


def inks(search: SearchReport) -> dict[str, Ink]:
    """How each model is drawn: candidates in the order of the search."""
    found = {}
    n_candidates = n_controls = 0
    for node in search.nodes:
        if node.role == BASELINE:
            found[node.name] = Ink("base", "", 3.0)
        elif node.role == CONTROL:
            n_controls += 1
            found[node.name] = Ink("control", _DASHES[n_controls % 5 + 1], 1.5)
        else:
            turn, step = divmod(n_candidates, 6)
            n_candidates += 1
            found[node.name] = Ink(f"c{step + 1}", _DASHES[turn % 6], 2.0)
    return found
