"""Figure 1: how well a classifier serves data that it has never seen.

Each point is a model trained on the unseen part of the training set, under a frozen
classifier of a model that was trained on another part; the two bands are controls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from espnet_topdown.paper import RANDOM, Paper
from espnet_topdown.report import svg
from espnet_topdown.report.measured import Measured, mean_and_deviation
from espnet_topdown.report.palette import LIGHT
from espnet_topdown.yaml_io import write_bytes

_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 560.0, 40.0, 320.0
_WIDTH, _HEIGHT = 760.0, 380.0
_STYLE = (
    "text{font:13px sans-serif;fill:#222}.grid{stroke:#ddd}.axis{stroke:#222}"
    "polyline{fill:none;stroke-width:2}"
)
_INKS = (LIGHT["c2"], LIGHT["c5"], LIGHT["c3"])

Points = dict[str, list[tuple[int, float]]]  # set -> (seed, percent)


def figure1(paper: Paper, measured: Sequence[Measured]) -> dict[str, Points]:
    """Points by classifier: a percentage of the data, "random", or "scratch"."""
    found: dict[str, Points] = {}
    for m in measured:
        if m.row.table or not m.counts:
            continue
        source = paper.rows.get(m.row.source)
        name = RANDOM if m.row.source == RANDOM else "scratch"
        if source is not None:
            name = str(paper.parts.get(source.data, source.name))
        points = found.setdefault(name, {})
        for set_name, counts in m.counts.items():
            points.setdefault(set_name, []).append((m.seed, counts.percent))
    return found


def write_figure1(
    paper: Paper, measured: Sequence[Measured], folder: Path
) -> Path | None:
    """Write figure1.svg and figure1.tsv; None where no point was run."""
    found = figure1(paper, measured)
    if not found:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / "figure1.tsv", _tsv(found).encode())
    write_bytes(folder / "figure1.svg", (_draw(paper, found) + "\n").encode())
    return folder / "figure1.svg"


def _tsv(found: dict[str, Points]) -> str:
    lines = ["classifier\tset\tseed\tpercent"]
    for name, points in found.items():
        for set_name, values in points.items():
            lines += [f"{name}\t{set_name}\t{s}\t{v:.4f}" for s, v in values]
    return "\n".join(lines) + "\n"


def _draw(paper: Paper, found: dict[str, Points]) -> str:
    every = [v for p in found.values() for vs in p.values() for _, v in vs]
    low, high = min(every), max(every)
    pad = 0.1 * (high - low) or 1.0
    low, high = low - pad, high + pad

    def y(value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low)

    shares = sorted((n for n in found if n.isdigit()), key=int)
    step = (_RIGHT - _LEFT) / (len(shares) + 1)
    x = {name: _LEFT + step * (i + 1) for i, name in enumerate(shares)}
    parts = [svg.element("style", _STYLE), _axes(x, y, svg.ticks(low, high))]
    for i, set_name in enumerate(paper.sets):
        ink = _INKS[i % len(_INKS)]
        parts += [_curve(found, set_name, x, y, ink), _key(set_name, 60 + 22 * i, ink)]
        for k, control in enumerate(("scratch", RANDOM)):
            dash = ("8 4", "2 3")[k]
            parts.append(_level(found, control, set_name, y, (ink, dash)))
    alt = f"{paper.unit.upper()} in percent under classifiers of parts of the data."
    return svg.figure("".join(parts), _WIDTH, _HEIGHT, "Figure 1", alt)


def _axes(
    x: dict[str, float], y: Callable[[float], float], ticks: Sequence[float]
) -> str:
    parts = []
    for tick in ticks:
        at = {"y1": y(tick), "y2": y(tick), "x1": _LEFT, "x2": _RIGHT}
        parts.append(svg.element("line", class_="grid", **at))
        where = {"x": _LEFT - 8, "y": y(tick) + 4, "text_anchor": "end"}
        parts.append(svg.label(f"{tick:g}", **where))
    for name, place in x.items():
        where = {"x": place, "y": _BOTTOM + 20, "text_anchor": "middle"}
        parts.append(svg.label(f"{name} %", **where))
    ends = {"x1": _LEFT, "x2": _RIGHT, "y1": _BOTTOM, "y2": _BOTTOM}
    parts.append(svg.element("line", class_="axis", **ends))
    what = "share of the training set that the frozen classifier was trained on"
    middle = {"x": (_LEFT + _RIGHT) / 2, "y": _BOTTOM + 44, "text_anchor": "middle"}
    parts.append(svg.label(what, **middle))
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
    dot = svg.element("circle", cx=_RIGHT - 100, cy=at - 4, r=5, fill=ink)
    return dot + svg.label(name, _RIGHT - 88, at)
