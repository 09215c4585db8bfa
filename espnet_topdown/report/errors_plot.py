"""Validation errors of all models, drawn under the models' layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from espnet_topdown.report import svg, words
from espnet_topdown.report.nodes import CONTROL, NOT_RUN, Node
from espnet_topdown.report.palette import inks
from espnet_topdown.report.rows import SearchReport
from espnet_topdown.report.tables import valid_label
from espnet_topdown.scoring.counts import Counts

PLOT_HEIGHT = 118.0


def errors_plot(
    search: SearchReport,
    middles: Mapping[str, float],
    sides: tuple[float, float],
    top: float,
) -> str:
    """Points on an axis of errors, the numbers below them.

    Args:
        search: What to draw.
        middles: x of each model.
        sides: x of the left and the right end.
        top: y of the plot's upper edge.
    """
    unit = search.criterion
    found = {
        n.name: n.valid.counts[unit]
        for n in search.nodes
        if n.valid and unit in n.valid.counts
    }
    y, grid = _axis([c.errors for c in found.values()], sides, top)
    title = f"Errors on {valid_label(search)} ({unit.upper()})"
    parts = [svg.label(title, sides[0], top - 20, class_="axis-title"), grid]
    base = search.baseline
    if base and base.name in found:
        at = y(found[base.name].errors)
        ends = {"x1": sides[0], "x2": sides[1], "y1": at, "y2": at}
        parts.append(svg.element("line", class_="reference", **ends))
    heights = {name: y(c.errors) for name, c in found.items()}
    tree = search.strategy != "greedy"  # in which all lines would be a tangle
    drawn = [n for n in search.nodes if not tree or n.name in search.path]
    parts += [_step(n, middles, heights) for n in drawn]
    ink = inks(search)
    for node in search.nodes:
        x, mark = middles[node.name], ""
        if node.name in heights:
            mark = _mark(search, node, x, heights[node.name])
        mark += _numbers(node, found.get(node.name), x, top + PLOT_HEIGHT + 22)
        parts.append(svg.element("g", mark, class_=f"mark {ink[node.name].name}"))
    return "".join(parts)


def _axis(
    values: list[int], sides: tuple[float, float], top: float
) -> tuple[Callable[[float], float], str]:
    """From errors to y, and the grid; not from zero, so points and no bars."""
    low, high = (min(values), max(values)) if values else (0, 1)
    pad = max(1.0, 0.2 * (high - low))
    low_edge, high_edge = max(0.0, low - pad), high + pad

    def y(errors: float) -> float:
        return top + PLOT_HEIGHT * (high_edge - errors) / (high_edge - low_edge)

    parts = []
    ticks = svg.ticks(low_edge, high_edge, 5) if values else []
    for tick in (t for t in ticks if t == int(t)):
        ends = {"x1": sides[0], "x2": sides[1], "y1": y(tick), "y2": y(tick)}
        parts.append(svg.element("line", class_="grid", **ends))
        at = {"x": sides[0] - 8, "y": y(tick) + 4, "text_anchor": "end"}
        parts.append(svg.label(f"{tick:.0f}", class_="tick", **at))
    return y, "".join(parts)


def _step(
    node: Node, middles: Mapping[str, float], heights: Mapping[str, float]
) -> str:
    """A line from the model whose layers are frozen."""
    parent = str(node.composition.parent) if node.composition else ""
    if node.name not in heights or parent not in heights:
        return ""
    return svg.element(
        "line",
        x1=middles[parent],
        y1=heights[parent],
        x2=middles[node.name],
        y2=heights[node.name],
        class_="step refused" if node.status == "rejected" else "step",
    )


def _mark(search: SearchReport, node: Node, x: float, y: float) -> str:
    if node.name == search.best:
        ring = svg.element("circle", cx=x, cy=y, r=9, class_="ring")
        return ring + svg.element("circle", cx=x, cy=y, r=5)
    if node.role == CONTROL:
        return svg.element("path", d=f"M{x:g} {y - 6.5:.2f}l6.5 6.5-6.5 6.5-6.5-6.5z")
    if node.status == "rejected":
        cross = f"M{x - 5:g} {y - 5:.2f}l10 10m0-10l-10 10"
        return svg.element("path", d=cross, class_="cross")
    return svg.element("circle", cx=x, cy=y, r=5)


def _numbers(node: Node, counts: Counts | None, x: float, y: float) -> str:
    if counts is None:
        state = node.status if node.status in ("failed", "running") else NOT_RUN
        return svg.label(state, x, y, class_="value", text_anchor="middle")
    errors, rate = str(counts.errors), f"{words.percent(counts)} %"
    value = svg.label(errors, x, y, class_="value", text_anchor="middle")
    return value + svg.label(rate, x, y + 16, class_="rate", text_anchor="middle")
