"""One colour and one line style a model: the same on the page and in the figures.

Nothing depends on colour alone: lines also differ in their dashes and carry names.
"""

from __future__ import annotations

from dataclasses import dataclass

from espnet_topdown.search.state import CANDIDATE, CONTROL, JOINT, SearchState

# The page's variables, light and dark. A figure is drawn in the light colours; on the
# page each of these becomes its variable again, so that they must differ.
COLOURS = {
    "base": ("#3b4252", "#d3d9e4"),
    "c1": ("#0b7a75", "#3fc1b4"),
    "c2": ("#2563c9", "#7aa9ff"),
    "c3": ("#7b3fc4", "#b794f6"),
    "c4": ("#b8336a", "#f07fae"),
    "c5": ("#b4540a", "#f2a154"),
    "c6": ("#5b7a12", "#a9c95a"),
    "control": ("#7a7f89", "#9aa0ab"),
    "text": ("#1d2129", "#e7e9ee"),
    "soft": ("#5a616e", "#a0a7b4"),
    "hair": ("#e3e1dc", "#2a2e36"),
    "rule": ("#c9c6bf", "#434955"),
}
LIGHT = {name: light for name, (light, _) in COLOURS.items()}
_DASHES = ((), (7, 3), (2, 3), (10, 3, 2, 3), (14, 4), (5, 2, 1, 2))


@dataclass(frozen=True)
class Ink:
    """``name`` is a key of COLOURS; ``dash`` a pattern, empty if solid."""

    name: str
    dash: tuple[int, ...] = ()
    width: float = 1.5


def inks(search: SearchState) -> dict[str, Ink]:
    """How each model is drawn: candidates in the order of the search."""
    found = {c.name: numbered(k) for k, c in enumerate(search.with_role(CANDIDATE))}
    for k, c in enumerate(search.with_role(CONTROL), start=1):
        found[c.name] = Ink("control", _DASHES[k % 5 + 1], 1.1)
    return found | {c.name: Ink("base", (), 2.2) for c in search.with_role(JOINT)}


def numbered(k: int) -> Ink:
    """The ink of the k-th candidate, seed or set."""
    turn, step = divmod(k, 6)
    return Ink(f"c{step + 1}", _DASHES[turn % 6])
