"""One colour and one line style a model: the same on the page and in the figures.

Nothing depends on colour alone: lines also differ in their dashes and carry names.
"""

from __future__ import annotations

from dataclasses import dataclass

from espnet_topdown.search.state import CONTROL, JOINT, SearchState

# The page's variables. A figure is drawn in the light ones; on the page each of these
# colours becomes its variable again, so that they must differ from each other.
LIGHT = {
    "base": "#3b4252",
    "c1": "#0b7a75",
    "c2": "#2563c9",
    "c3": "#7b3fc4",
    "c4": "#b8336a",
    "c5": "#b4540a",
    "c6": "#5b7a12",
    "control": "#7a7f89",
    "text": "#1d2129",
    "soft": "#5a616e",
    "hair": "#e3e1dc",
    "rule": "#c9c6bf",
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
    "text": "#e7e9ee",
    "soft": "#a0a7b4",
    "hair": "#2a2e36",
    "rule": "#434955",
}
_DASHES = ((), (7, 3), (2, 3), (10, 3, 2, 3), (14, 4), (5, 2, 1, 2))


@dataclass(frozen=True)
class Ink:
    """``name`` is a key of LIGHT and DARK; ``dash`` a pattern, empty if solid."""

    name: str
    dash: tuple[int, ...] = ()
    width: float = 1.5

    @property
    def colour(self) -> str:
        """In a figure for paper."""
        return LIGHT[self.name]


def inks(search: SearchState) -> dict[str, Ink]:
    """How each model is drawn: candidates in the order of the search."""
    found = {}
    n_candidates = n_controls = 0
    for candidate in search.candidates:
        if candidate.role == JOINT:
            found[candidate.name] = Ink("base", (), 2.2)
        elif candidate.role == CONTROL:
            n_controls += 1
            found[candidate.name] = Ink("control", _DASHES[n_controls % 5 + 1], 1.1)
        else:
            found[candidate.name] = numbered(n_candidates)
            n_candidates += 1
    return found


def numbered(k: int) -> Ink:
    """The ink of the k-th candidate, or seed."""
    turn, step = divmod(k, 6)
    return Ink(f"c{step + 1}", _DASHES[turn % 6])
