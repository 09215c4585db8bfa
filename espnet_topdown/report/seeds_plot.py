"""Error rates of every kind of model, a line for each seed."""

from __future__ import annotations

from espnet_topdown.report import seeds_tables, svg
from espnet_topdown.report.seeds import Group, Key, Seeds
from espnet_topdown.report.tables import set_label, valid_label

_LEFT, _TOP, _HEIGHT, _COLUMN = 58.0, 44.0, 210.0, 132.0
_BAR = 34.0  # half the width of a mean
_KEY = 20.0  # from one seed's name to the next


def seeds_plot(seeds: Seeds) -> str:
    """Points on an axis of percent, one column a kind of model."""
    unit = seeds.first.criterion
    key = seeds.test_sets[0] if seeds.test_sets else None
    name = set_label(seeds.first, key) if key else valid_label(seeds.first)
    found = {g.name: _rates(g, key, unit) for g in seeds.groups}
    groups = [g for g in seeds.groups if found[g.name]]
    values = [v for rates in found.values() for v in rates.values()] or [0.0, 1.0]
    low, high = min(values), max(values)
    pad = 0.12 * (high - low) or 1.0
    low, high = low - pad, high + pad

    def x(column: int) -> float:
        return _LEFT + _COLUMN * (column + 0.5)

    def y(rate: float) -> float:
        return _TOP + _HEIGHT * (high - rate) / (high - low)

    right = x(max(0, len(groups) - 1)) + _COLUMN / 2
    parts = [svg.label(f"{unit.upper()} on {name}, %", 8, 18, class_="axis-title")]
    for tick in svg.ticks(low, high, 6):
        ends = {"x1": _LEFT, "x2": right, "y1": y(tick), "y2": y(tick)}
        parts.append(svg.element("line", class_="grid", **ends))
        at = {"x": _LEFT - 8, "y": y(tick) + 4, "text_anchor": "end"}
        parts.append(svg.label(f"{tick:g}", class_="tick", **at))
    for i, group in enumerate(groups):
        parts.append(_mean(group, x(i), y(group.rate(key, unit)[0])))
        text = seeds_tables.label(group)
        at = {"x": x(i), "y": _TOP + _HEIGHT + 24, "text_anchor": "middle"}
        shown = svg.math_span(group.name) if text.startswith("M_") else text
        parts.append(svg.element("text", shown, **at))
    for n, seed in enumerate(seeds.searches):
        points = [
            (x(i), y(found[g.name][seed]))
            for i, g in enumerate(groups)
            if seed in found[g.name]
        ]
        key_at = (right + 12, _TOP + _KEY * (n + 0.5))
        parts.append(_line(f"seed {seed}", points, key_at, f"c{n % 6 + 1}"))
    alt = "; ".join(_alt(g, found[g.name]) for g in groups)
    height = max(_HEIGHT + 40, _KEY * len(seeds.searches))
    size = (right + 120, _TOP + height)
    return svg.figure("".join(parts), *size, "Every seed", alt)


def _alt(group: Group, rates: dict[int, float]) -> str:
    shown = ", ".join(f"{rate:.2f}" for rate in rates.values())
    return f"{seeds_tables.label(group)}: {shown}"


def _rates(group: Group, key: Key | None, unit: str) -> dict[int, float]:
    return {
        seed: score.counts[unit].percent
        for seed, score in group.scores(key).items()
        if unit in score.counts and score.counts[unit].ref
    }


def _mean(group: Group, x: float, y: float) -> str:
    ends = {"x1": x - _BAR, "x2": x + _BAR, "y1": y, "y2": y}
    bar = svg.element("line", class_="bar", **ends)
    return svg.element("g", bar, class_="mark control")


def _line(
    name: str, points: list[tuple[float, float]], key: tuple[float, float], ink: str
) -> str:
    """Points joined from the left; the seed's name is at ``key``."""
    if not points:
        return ""
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    left, middle = key
    ends = {"x1": left, "x2": left + 20, "y1": middle, "y2": middle}
    parts = [
        svg.element("polyline", points=path, class_="curve", stroke_width=1.5),
        *(svg.element("circle", cx=a, cy=b, r=4.5) for a, b in points),
        svg.element("line", class_="curve", stroke_width=1.5, **ends),
        svg.label(name, left + 26, middle + 4, class_="end"),
    ]
    return svg.element("g", "".join(parts), class_=f"mark {ink}")
