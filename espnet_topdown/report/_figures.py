"""Figures with axes: SVG for the page, the same as SVG, PDF and PNG, numbers as TSV.

They need matplotlib (extra ``plot``). Without it the TSV files are written, and the
page says what is missing.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean
from typing import Any, NamedTuple

from espnet_topdown.errors import warn
from espnet_topdown.report import _text as text
from espnet_topdown.report._palette import LIGHT, Ink, inks, numbered
from espnet_topdown.report._study import Difference, Study
from espnet_topdown.search.curves import Epoch
from espnet_topdown.search.state import LIKELIHOOD

# Without a date: the same folders give the same bytes.
FORMATS: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "espnet_topdown"},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
_STYLE: dict[str, Any] = {
    "savefig.pad_inches": 0.05,
    "svg.hashsalt": "espnet_topdown",  # element ids, else random
    "svg.fonttype": "none",  # text stays text
    "pdf.fonttype": 42,
    "mathtext.default": "regular",
    "font.size": 9,
    "text.color": LIGHT["text"],
    "axes.labelcolor": LIGHT["soft"],
    "axes.edgecolor": LIGHT["rule"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": LIGHT["soft"],
    "ytick.color": LIGHT["soft"],
    "grid.color": LIGHT["hair"],
    "legend.frameon": False,
}
_NAMED = 24  # lines in a legend; each name is slow to set, and more are not read
MISSING = "matplotlib is not installed (pip install 'espnet_topdown[plot]')"


class Point(NamedTuple):
    """A number at an epoch, or at a tick; with the bounds of its interval, if any."""

    x: int
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Numbers that belong together.

    Attributes:
        name: In the table of numbers; ``label`` in the legend, empty for none.
        style: "line", "points", "bars" (short levels), or "level" (across the axes).
        marks: x of the points of a line that get a dot; None for all.
    """

    name: str
    label: str
    ink: Ink
    points: Sequence[Point]
    style: str = "line"
    marks: Sequence[int] | None = None


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        name: Of its files, without an ending.
        columns: Heads of the table of numbers: the series, x and y.
        ticks: What stands at x = 0, 1, ...; empty where x is an epoch.
        is_rate: The axis begins at 0, so that heights can be compared.
    """

    name: str
    columns: tuple[str, str, str]
    x_label: str
    y_label: str
    series: Sequence[Series]
    ticks: Sequence[str] = ()
    is_rate: bool = False

    def rows(self) -> Iterable[Sequence[object]]:
        """The numbers; the first row says what they are."""
        bounds = any(p.low is not None for s in self.series for p in s.points)
        yield (*self.columns, "low", "high") if bounds else self.columns
        for series in self.series:
            for p in series.points:
                numbers = p[1:] if bounds else p[1:2]
                shown = ["" if v is None else f"{v:.6g}" for v in numbers]
                x = self.ticks[p.x] if self.ticks else p.x
                yield (series.name, "" if series.style == "level" else x, *shown)


def render_figures(charts: Sequence[Chart]) -> tuple[dict[str, str], dict[str, bytes]]:
    """Draw each figure as SVG, PDF and PNG, and list its numbers as TSV.

    Returns:
        SVG for the page by the figure's name, empty without matplotlib; and all files
        by their names.
    """
    inline: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for chart in charts:
        lines = ["\t".join(map(_cell, row)) + "\n" for row in chart.rows()]
        files[f"{chart.name}.tsv"] = "".join(lines).encode()
        try:
            images = images_of(chart)
        except ImportError:
            continue
        files.update({f"{chart.name}.{e}": images[e] for e in images})
        alt = f"{chart.y_label}: {', '.join(s.name for s in chart.series)}"
        inline[chart.name] = for_page(images["svg"].decode(), chart.name, alt)
    if len(inline) < len(charts):
        warn("W_NO_MATPLOTLIB", f"{MISSING}; no figures, all else is written")
    return inline, files


def images_of(chart: Chart, endings: Iterable[str] = FORMATS) -> dict[str, bytes]:
    """A figure in each of some ``FORMATS``; needs matplotlib."""
    import matplotlib
    from matplotlib.figure import Figure

    logging.getLogger("fontTools").setLevel(logging.WARNING)  # else: every glyph
    width = 1.0 * len(chart.ticks) + 1.0 if len(chart.ticks) < 15 else 6.2
    images = {}
    style: Any = {**matplotlib.rcParamsDefault, **_STYLE}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(max(width, 4.2) if chart.ticks else 6.2, 3.2))
        draw(chart, figure.subplots())
        for ending in endings:
            image = io.BytesIO()
            figure.savefig(
                image,
                format=ending,
                metadata=FORMATS[ending],
                bbox_inches="tight",
                dpi=200,
                facecolor="none" if ending == "svg" else "white",
            )
            images[ending] = image.getvalue()
    return images


def _cell(value: object) -> str:
    return " ".join(str(value).split())


def draw(chart: Chart, axes: Any) -> None:
    """Draw a figure on matplotlib's axes."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    labels = [series.label for series in chart.series if series.label]
    for series in chart.series:
        named = series.label if series.label in labels[:_NAMED] else ""
        xs, ys = [p.x for p in series.points], [p.y for p in series.points]
        dash = (0, tuple(x * 0.7 for x in series.ink.dash)) if series.ink.dash else "-"
        style: dict[str, Any] = {"color": LIGHT[series.ink.name], "linestyle": dash}
        style.update(linewidth=series.ink.width, label=_math(named) or None)
        if series.style == "level":
            axes.axhline(ys[0], **style)
            continue
        if series.style != "line":
            style["linestyle"] = "none"
        marker, size = ("_", 30) if series.style == "bars" else ("o", 5)
        marks = [xs.index(x) for x in series.marks or () if x in xs]
        at = None if series.marks is None else marks
        dots = {"marker": marker, "markersize": size, "markevery": at}
        axes.plot(xs, ys, **style, **dots)
        for x, _, low, high in series.points:
            if low is not None:
                axes.vlines(x, low, high, color=LIGHT[series.ink.name], linewidth=2)
    values = [p.y for s in chart.series for p in s.points]
    if chart.is_rate:
        axes.set_ylim(0, 1.1 * max(values) or 1)
    elif any(p.low is not None for s in chart.series for p in s.points):
        axes.axhline(0, color=LIGHT["soft"], linewidth=1)
    elif min(values) > 0 and max(values) > 5 * min(values):
        axes.set_yscale("log")
        low, high = axes.get_ylim()  # round ticks, also in less than a decade
        steps = (1, 2, 5) if high > 20 * low else (1, 1.5, 2, 3, 5, 7)
        axes.yaxis.set_major_locator(LogLocator(subs=steps))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
    if chart.ticks:
        every = 1 + len(chart.ticks) // 15
        names = [_tick(name) for name in chart.ticks]
        axes.set_xticks(range(len(names))[::every], names[::every])
        axes.set_xlim(-0.6, max(len(names), 2) - 0.4)
        axes.tick_params(axis="x", length=0)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    is_log = axes.get_yscale() == "log"
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label + (" (logarithmic)" if is_log else ""))
    axes.grid(True, axis="y")
    if len(labels) > 1:  # below the axes, where it is on a phone's screen, too
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
        more = f"the first {_NAMED}; all are in {chart.name}.tsv"
        title = more if len(labels) > _NAMED else None
        axes.legend(ncols=min(len(labels), 4), handlelength=3.2, title=title, **place)


def _math(name: str) -> str:
    return re.sub(r"(M_\{[\d,]+\})", r"$\1$", name.replace("$", r"\$"))


def _tick(name: str) -> str:
    """In lines that fit below their tick."""
    return _math(re.sub(r"(control|best of)[. ]", r"\1\n", name))


def for_page(svg: str, name: str, alt: str) -> str:
    """A figure as part of the page: its ids are its own, its colours the page's.

    Args:
        svg: What matplotlib wrote.
        name: Goes before each id: two figures on one page have the same ones.
        alt: What it shows, in words.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.S)
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])  # type: ignore[index]
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    for variable, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{variable})")
    about = f'role="img" aria-label="{escape(alt, quote=True)}" '
    about += f'style="width:{1.7 * width:.0f}px;min-width:{1.15 * width:.0f}px" '
    size = r'<svg\b([^>]*?) width="[^"]*" height="[^"]*"'
    return re.sub(size, rf"<svg {about}\1", svg, count=1)


def charts(study: Study, differences: Sequence[Difference]) -> list[Chart]:
    """Rates, learning curves, differences: what there are numbers for."""
    possible = [_rates(study), _curves(study), _differences(study, differences)]
    return [chart for chart in possible if chart.series]


def _rates(study: Study) -> Chart:
    """Every kind of model: a line a seed, or the points of each set."""
    unit, groups = study.unit, study.groups
    sets = list(study.sets.items())
    series = []
    if study.several:
        sets = sets[1:2] or sets
        rates = [g.rates(sets[0][0], unit) for g in groups]
        means = [Point(k, fmean(r.values())) for k, r in enumerate(rates) if r]
        series.append(Series("mean", "", Ink("control", (), 2), means, "bars"))
        for n, seed in enumerate(study.searches):
            points = [Point(k, r[seed]) for k, r in enumerate(rates) if seed in r]
            series.append(Series(f"seed {seed}", f"seed {seed}", numbered(n), points))
    else:
        for n, (key, name) in enumerate(sets):
            values = [list(g.rates(key, unit).values()) for g in groups]
            points = [Point(k, v[0]) for k, v in enumerate(values) if v]
            series.append(Series(name, name, numbered(n), points, "points"))
    name = f" on {sets[0][1]}" if study.several else ""
    return Chart(
        "rates",
        ("set" if not study.several else "seed", "model", unit.name),
        "",
        f"{unit.label}{name}{',' if unit.sign else ''}{unit.sign}",
        [s for s in series if s.points],
        [text.label(g) for g in groups],
        is_rate=True,
    )


# Which curve speaks for a criterion, best first. Only epochs' own measures are here:
# the search decides on decoded integer errors, which exist once a model.
_METRICS = {
    "wer": ("wer", "cer_ctc", "cer", "loss"),
    "ter": ("cer_ctc", "cer", "loss"),
    "ppl": ("loss",),
}


def metric_for(criterion: str, curves: Iterable[Sequence[Epoch]]) -> str | None:
    """The validation measure to draw: the best one that any curve has."""
    seen = {key for curve in curves for e in curve for key in e.valid}
    wanted = _METRICS.get(criterion, ("cer_ctc", "cer", "loss"))
    return next((m for m in wanted if m in seen), None)


def points_of(curve: Sequence[Epoch], metric: str) -> list[tuple[int, float]]:
    """The (epoch, value) pairs to draw; error rates in percent, no NaN."""
    factor = 1.0 if metric == "loss" else 100.0
    pairs = [(e.epoch, e.valid.get(metric)) for e in curve]
    return [
        (epoch, value * factor)
        for epoch, value in pairs
        if value is not None and value == value and abs(value) != float("inf")
    ]


def _curves(study: Study) -> Chart:
    """Of one search; a point marks the epoch that became the model."""
    search, series = study.first, []
    metric = metric_for(search.criterion, [c.curve for c in search.candidates])
    ink = inks(search)
    for c in search.candidates if metric and not study.several else ():
        points = [Point(*p) for p in points_of(c.curve, metric or "")]
        chosen = [c.valid.epoch] if c.valid and c.valid.epoch else []
        marks = chosen if len(points) > 1 else None
        line = Series(c.name, text.math(c.name), ink[c.name], points, marks=marks)
        series.append(line)
    label = "validation loss"
    if metric and metric != "loss":
        label = f"validation {metric.split('_')[0].upper()} while training, %"
    if study.unit.name == LIKELIHOOD:
        label += ", nats a token"
    lines = [line for line in series if line.points]
    columns = ("model", "epoch", metric or "")
    return Chart("learning_curves", columns, "epoch", label, lines)


def _differences(study: Study, differences: Sequence[Difference]) -> Chart:
    """In the unit of the search, or else in the first, with their intervals."""
    units = [d.unit for d in differences]
    unit = study.unit if study.unit in units else next(iter(units), study.unit)
    shown = [d for d in differences if d.unit is unit]
    ink = inks(study.first)
    series, ticks = [], []
    for k, d in enumerate(shown):
        ours = f"{text.label(d.ours)}\n" if study.several else ""
        place = f"{study.sets[d.key]}, " if len(study.tests) > 1 else ""
        n = f"\n{place}n = {d.n}" if d.n else f"\n{place}no interval"
        ticks.append(f"{ours}against\n{text.label(d.other)}{n}")
        point = Point(k, d.value, d.low, d.high)
        colour = ink.get(d.other.name, numbered(0))
        name = f"{d.key[1]} {d.unit.name}" if d.key else d.unit.name
        series.append(Series(name, "", colour, [point], "points"))
    label = f"{unit.label} difference, points"
    columns = ("set and unit", "models", "difference")
    below = f"below 0 the {'first model' if study.several else 'best'} is better"
    return Chart("differences", columns, below, label, series, ticks)
