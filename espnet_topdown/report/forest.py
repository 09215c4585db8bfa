"""Differences with their intervals: rows of a table, each with a small drawing."""

from __future__ import annotations

from collections.abc import Sequence

from espnet_topdown.report import svg, tables
from espnet_topdown.report.gains import Gain
from espnet_topdown.report.markup import prose
from espnet_topdown.report.palette import inks
from espnet_topdown.report.rows import SearchReport

_WIDTH, _HEIGHT = 240.0, 16.0


def forest_rows(search: SearchReport, found: Sequence[Gain]) -> str:
    """One row a difference; all drawings share a scale."""
    ends = [v for g in found for v in (g.low, g.high, g.difference)]
    known = [0.0, *(v for v in ends if v is not None)]
    low, high = min(known), max(known)
    pad = 0.06 * (high - low) or 1.0
    ink = inks(search)[search.best].name if search.best else "base"

    def x(value: float) -> float:
        return _WIDTH * (value - low + pad) / (high - low + 2 * pad)

    rows = []
    for gain in found:
        shown = "".join(
            f'<td class="{"n" if i > 2 else "t"}">{prose(c)}</td>'
            for i, c in enumerate(tables.gain_cells(search, gain))
        )
        marks = [svg.element("line", x1=x(0), x2=x(0), y1=0, y2=_HEIGHT, class_="zero")]
        if gain.low is not None and gain.high is not None:
            ends_at = {"x1": x(gain.low), "x2": x(gain.high), "y1": 8, "y2": 8}
            marks.append(svg.element("line", class_="bar", **ends_at))
        marks.append(svg.element("circle", cx=x(gain.difference), cy=8, r=4.5))
        drawing = svg.element(
            "svg",
            svg.element("g", "".join(marks), class_=f"mark {ink}"),
            viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
            aria_hidden="true",
        )
        rows.append(f"<tr>{shown}<td>{drawing}</td></tr>")
    return "\n".join(rows)
