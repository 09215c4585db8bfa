"""Learning curves of all models in one chart, drawn without any library."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from espnet_topdown.report import svg, words
from espnet_topdown.report.curves import metric_for, metric_label, points
from espnet_topdown.report.nodes import Node
from espnet_topdown.report.palette import Ink, inks
from espnet_topdown.report.rows import SearchReport

_WIDTH, _HEIGHT = 1000.0, 390.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 850.0, 16.0, 342.0

Points = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Curves:
    """What there is to draw: the measure and its (epoch, value) pairs by model."""

    metric: str
    lines: dict[str, Points]

    @property
    def logarithmic(self) -> bool:
        """Are the ends so far apart that a straight axis would hide the end?"""
        values = [v for line in self.lines.values() for _, v in line]
        return min(values) > 0 and max(values) > 5 * min(values)


def curves_of(search: SearchReport) -> Curves | None:
    """The curves; None where no model has one."""
    metric = metric_for(search.criterion, [n.curve for n in search.nodes])
    if metric is None:
        return None
    lines = {n.name: points(n.curve, metric) for n in search.nodes}
    lines = {name: line for name, line in lines.items() if line}
    return Curves(metric, lines) if lines else None


def curve_chart(search: SearchReport, curves: Curves) -> str:
    """The chart as SVG."""
    values = [v for line in curves.lines.values() for _, v in line]
    last = max(e for line in curves.lines.values() for e, _ in line)
    y, ticks = _scale(min(values), max(values), curves.logarithmic)

    def x(epoch: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (epoch - 1) / max(1, last - 1)

    ink = inks(search)
    parts = [_grid(y, ticks), _epochs(x, last)]
    drawn = [n for n in search.nodes if n.name in curves.lines]
    parts += [_line(n, curves.lines[n.name], ink[n.name], x, y) for n in drawn[::-1]]
    parts.append(_labels(drawn, curves, ink, x, y))
    scale = ", logarithmic" if curves.logarithmic else ""
    title = f"{metric_label(curves.metric)}{scale}"
    parts.append(svg.label(title, _LEFT, 4, class_="axis-title"))
    content = svg.element("g", "".join(parts), transform="translate(0 16)")
    alt = _alt(curves)
    return svg.figure(content, _WIDTH, _HEIGHT + 16, "Learning curves", alt)


def _scale(
    low: float, high: float, logarithmic: bool
) -> tuple[Callable[[float], float], list[float]]:
    if logarithmic:
        a, b = math.log(low * 0.92), math.log(high * 1.05)
        ticks = svg.log_ticks(low * 0.92, high * 1.05)
        return lambda v: _TOP + (_BOTTOM - _TOP) * (b - math.log(v)) / (b - a), ticks
    pad = 0.06 * (high - low) or 1.0
    a, b = low - pad, high + pad
    return lambda v: _TOP + (_BOTTOM - _TOP) * (b - v) / (b - a), svg.ticks(a, b)


def _grid(y: Callable[[float], float], ticks: Sequence[float]) -> str:
    parts = []
    for tick in ticks:
        at = {"y1": y(tick), "y2": y(tick)}
        parts.append(svg.element("line", x1=_LEFT, x2=_RIGHT, class_="grid", **at))
        where = {"x": _LEFT - 8, "y": y(tick) + 4, "text_anchor": "end"}
        parts.append(svg.label(f"{tick:g}", class_="tick", **where))
    return "".join(parts)


def _epochs(x: Callable[[float], float], last: int) -> str:
    ticks = [t for t in svg.ticks(0, last, 11) if t >= 1 and t == int(t)]
    if not ticks or ticks[0] > 1:
        ticks = [1.0, *ticks]
    parts = []
    for tick in ticks:
        at = {"x1": x(tick), "x2": x(tick), "y1": _BOTTOM, "y2": _BOTTOM + 5}
        parts.append(svg.element("line", class_="axis", **at))
        where = {"x": x(tick), "y": _BOTTOM + 20, "text_anchor": "middle"}
        parts.append(svg.label(f"{tick:g}", class_="tick", **where))
    ends = {"x1": _LEFT, "x2": _RIGHT, "y1": _BOTTOM, "y2": _BOTTOM}
    parts.append(svg.element("line", class_="axis", **ends))
    where = {"x": (_LEFT + _RIGHT) / 2, "y": _BOTTOM + 40, "text_anchor": "middle"}
    parts.append(svg.label("epoch", class_="note", **where))
    return "".join(parts)


def _line(
    node: Node,
    line: Points,
    ink: Ink,
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> str:
    corners = " ".join(f"{x(e):.1f},{y(v):.1f}" for e, v in line)
    style = {"stroke_width": ink.width, "stroke_dasharray": ink.dash}
    parts = [svg.element("polyline", points=corners, class_="curve", **style)]
    model = node.valid.epoch if node.valid else None
    for epoch, value in line:
        if epoch == model or len(line) == 1:
            parts.append(svg.element("circle", cx=x(epoch), cy=y(value), r=4.5))
    return svg.element("g", "".join(parts), class_=f"mark {ink.name}")


def _labels(
    nodes: Sequence[Node],
    curves: Curves,
    ink: dict[str, Ink],
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> str:
    """Names beside the ends of the lines, pushed apart where they would touch."""
    ends = {n.name: curves.lines[n.name][-1] for n in nodes}
    wanted = sorted((y(value), name) for name, (_, value) in ends.items())
    room = min(18.0, (_BOTTOM + 8 - _TOP) / max(1, len(wanted)))
    parts, used = [], _TOP - 20
    for k, (height, name) in enumerate(wanted):
        highest = _BOTTOM + 8 - room * (len(wanted) - 1 - k)
        used = min(max(height, used + room), highest)
        epoch, value = ends[name]
        lead = f"M{x(epoch) + 6:.1f} {y(value):.1f}L{_RIGHT + 26:g} {used:.1f}"
        leader = svg.element("path", d=lead, class_="leader")
        bar = svg.element(
            "line",
            x1=_RIGHT + 28,
            x2=_RIGHT + 54,
            y1=used,
            y2=used,
            class_="curve",
            stroke_width=ink[name].width,
            stroke_dasharray=ink[name].dash,
        )
        text = svg.math_label(name, _RIGHT + 60, used + 4, class_="end")
        parts.append(
            svg.element("g", leader + bar + text, class_=f"mark {ink[name].name}")
        )
    return "".join(parts)


def _alt(curves: Curves) -> str:
    said = [
        f"{words.math(name)}: {line[0][1]:.4g} in epoch {line[0][0]}, lowest "
        f"{min(v for _, v in line):.4g}"
        for name, line in curves.lines.items()
    ]
    return f"{metric_label(curves.metric)} by epoch. " + "; ".join(said) + "."
