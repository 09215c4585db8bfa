"""Figures 1 and 2: how well a classifier serves data that it has never seen.

Each point is a model trained on the unseen part of the training set, under a frozen
classifier of a model that was trained on another part (Figure 1: on more and more
data, Figure 2: for more and more epochs). The lines across are controls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from espnet_topdown.files import write_bytes
from espnet_topdown.report import svg
from espnet_topdown.report.measured import Measured, mean_and_deviation
from espnet_topdown.report.palette import LIGHT
from espnet_topdown.search.rows import RANDOM, Paper

_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 560.0, 40.0, 320.0
_WIDTH, _HEIGHT = 820.0, 380.0
_STYLE = (
    "text{font:13px sans-serif;fill:#222}.grid{stroke:#ddd}.axis{stroke:#222}"
    "polyline{fill:none;stroke-width:2}"
)
_INKS = (LIGHT["c2"], LIGHT["c5"], LIGHT["c3"])

AXES = {
    1: ("share of the training set that the frozen classifier was trained on", " %"),
    2: ("epoch of the frozen classifier", ""),
}

Points = dict[str, list[tuple[int, float]]]  # set -> (seed, percent)


def figure(
    number: int, paper: Paper, measured: Sequence[Measured]
) -> dict[str, Points]:
    """Points by classifier: percentage of the data, epoch, "random" or "scratch"."""
    found: dict[str, Points] = {}
    for m in measured:
        name = _classifier(number, paper, m)
        if not name or not m.counts:
            continue
        points = found.setdefault(name, {})
        for set_name, counts in m.counts.items():
            points.setdefault(set_name, []).append((m.seed, counts.percent))
    return found


def _classifier(number: int, paper: Paper, m: Measured) -> str:
    """What a row is in a figure; "" if it is not part of it."""
    row, source = m.row, paper.rows.get(m.row.source)
    if row.figure == 1 and source is None:
        return RANDOM if row.source == RANDOM else "scratch"
    if row.figure != number or source is None:
        return ""
    return str(paper.parts[source.data] if row.epoch is None else row.epoch)


def write_figures(
    paper: Paper, measured: Sequence[Measured], folder: Path
) -> list[Path]:
    """Write figureN.svg and figureN.tsv of the figures that have points."""
    written = []
    for number, (label, unit) in AXES.items():
        found = figure(number, paper, measured)
        if not any(name.isdigit() for name in found):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"figure{number}.svg"
        drawn = _draw(paper, found, (f"Figure {number}", label, unit))
        write_bytes(path.with_suffix(".tsv"), _tsv(found).encode())
        write_bytes(path, f"{drawn}\n".encode())
        written.append(path)
    return written


def _tsv(found: dict[str, Points]) -> str:
    lines = ["classifier\tset\tseed\tpercent"]
    for name, points in found.items():
        for set_name, values in points.items():
            lines += [f"{name}\t{set_name}\t{s}\t{v:.4f}" for s, v in values]
    return "\n".join(lines) + "\n"


def _draw(paper: Paper, found: dict[str, Points], titles: tuple[str, str, str]) -> str:
    title, label, unit = titles
    every = [v for p in found.values() for vs in p.values() for _, v in vs]
    low, high = min(every), max(every)
    pad = 0.1 * (high - low) or 1.0
    low, high = low - pad, high + pad

    def y(value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low)

    shares = sorted((n for n in found if n.isdigit()), key=int)
    step = (_RIGHT - _LEFT) / (len(shares) + 1)
    x = {name: _LEFT + step * (i + 1) for i, name in enumerate(shares)}
    parts = [
        svg.element("style", _STYLE),
        _axes(x, y, svg.ticks(low, high), (label, unit)),
    ]
    for i, set_name in enumerate(paper.sets):
        ink = _INKS[i % len(_INKS)]
        parts += [
            _curve(found, set_name, x, y, ink),
            _key(set_name, 300.0 + 140 * i, ink),
        ]
        for k, control in enumerate(("scratch", RANDOM)):
            dash = ("8 4", "2 3")[k]
            parts.append(_level(found, control, set_name, y, (ink, dash)))
    alt = f"{paper.unit.upper()} in percent under classifiers of parts of the data."
    return svg.figure("".join(parts), _WIDTH, _HEIGHT, title, alt)


def _axes(
    x: dict[str, float],
    y: Callable[[float], float],
    ticks: Sequence[float],
    said: tuple[str, str],
) -> str:
    parts = []
    for tick in ticks:
        at = {"y1": y(tick), "y2": y(tick), "x1": _LEFT, "x2": _RIGHT}
        parts.append(svg.element("line", class_="grid", **at))
        where = {"x": _LEFT - 8, "y": y(tick) + 4, "text_anchor": "end"}
        parts.append(svg.label(f"{tick:g}", **where))
    every = 1 + len(x) // 13
    for name, place in list(x.items())[::every]:
        where = {"x": place, "y": _BOTTOM + 20, "text_anchor": "middle"}
        parts.append(svg.label(f"{name}{said[1]}", **where))
    ends = {"x1": _LEFT, "x2": _RIGHT, "y1": _BOTTOM, "y2": _BOTTOM}
    parts.append(svg.element("line", class_="axis", **ends))
    middle = {"x": (_LEFT + _RIGHT) / 2, "y": _BOTTOM + 44, "text_anchor": "middle"}
    parts.append(svg.label(said[0], **middle))
    parts.append(svg.label("error rate, %", 8.0, 20.0))
    return "".join(parts)


def _curve(
    found: dict[str, Points],
    set_name: str,
    x: dict[str, float],
    y: Callable[[float], float],
    ink: str,
) -> str:
    """A dot for each seed, a line through the means."""
    parts, corners = [], []
    for name, place in x.items():
        values = [v for _, v in found[name].get(set_name, [])]
        for value in values:
            dot = {"cx": place, "cy": y(value), "r": 3, "fill": ink}
            parts.append(svg.element("circle", **dot))
        if values:
            mean, _ = mean_and_deviation(values)
            corners.append(f"{place:.1f},{y(mean):.1f}")
    line = svg.element("polyline", points=" ".join(corners), stroke=ink)
    return "".join([line, *parts])


def _level(
    found: dict[str, Points],
    name: str,
    set_name: str,
    y: Callable[[float], float],
    style: tuple[str, str],
) -> str:
    """The mean of a control, as a line across."""
    values = [v for _, v in found.get(name, {}).get(set_name, [])]
    if not values:
        return ""
    at, (ink, dash) = y(mean_and_deviation(values)[0]), style
    ends = {"x1": _LEFT, "x2": _RIGHT, "y1": at, "y2": at}
    line = svg.element("line", stroke=ink, stroke_dasharray=dash, **ends)
    said = {"scratch": "jointly trained", RANDOM: "random classifier"}[name]
    return line + svg.label(f"{said} ({set_name})", _RIGHT + 6, at + 4)


def _key(name: str, at: float, ink: str) -> str:
    dot = svg.element("circle", cx=at, cy=16.0, r=5, fill=ink)
    return dot + svg.label(name, at + 12, 20.0)
