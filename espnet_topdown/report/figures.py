"""Figures with axes: SVG for the page, the same as SVG, PDF and PNG, numbers as TSV.

They need matplotlib (extra ``plot``). Without it the TSV files are written, and the
page says what is missing.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from espnet_topdown.errors import warn
from espnet_topdown.files import write_bytes
from espnet_topdown.report import text
from espnet_topdown.report.palette import LIGHT, Ink, inks, numbered
from espnet_topdown.report.rows import Comparison, amount_of, main_unit, units
from espnet_topdown.report.seeds import Seeds
from espnet_topdown.report.tables import seed_sets
from espnet_topdown.search.curves import Epoch
from espnet_topdown.search.state import CONTROL, Likelihood, SearchState

FORMATS = {  # without a date: the same folders give the same bytes
    "svg": {"Date": None, "Creator": "espnet_topdown"},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
_STYLE = {
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
    "axes.linewidth": 0.8,
    "xtick.color": LIGHT["soft"],
    "ytick.color": LIGHT["soft"],
    "grid.color": LIGHT["hair"],
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
MISSING = "matplotlib is not installed (pip install 'espnet_topdown[plot]')"
Rows = Sequence[Sequence[object]]
Points = Mapping[str, Sequence[tuple[int, float]]]


class Figures:
    """Writes the figures of one report into a folder.

    Attributes:
        files: What was written.
        inline: SVG for the page, by the figure's name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self.inline: dict[str, str] = {}
        self._warned = False

    def add(self, name: str, rows: Rows, draw: Any, alt: str, size: Any) -> None:
        """Write a table of numbers and, with matplotlib, what ``draw(axes)`` draws.

        Args:
            name: Of the files, without an ending.
            rows: The numbers; the first row says what they are.
            draw: Called with the axes.
            alt: What the figure shows, in words.
            size: Width and height in inches.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = ["\t".join(" ".join(str(c).split()) for c in row) for row in rows]
        self._write(f"{name}.tsv", ("\n".join(lines) + "\n").encode())
        try:
            import matplotlib
            from matplotlib.figure import Figure
        except ImportError:
            if not self._warned:
                warn("W_NO_MATPLOTLIB", f"{MISSING}; no figures, all else is written")
            self._warned = True
            return
        logging.getLogger("fontTools").setLevel(logging.WARNING)  # else: every glyph
        with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
            figure = Figure(figsize=size)
            draw(figure.subplots())
            for ending, metadata in FORMATS.items():
                image = io.BytesIO()
                figure.savefig(
                    image,
                    format=ending,
                    metadata=metadata,
                    bbox_inches="tight",
                    pad_inches=0.05,
                    dpi=200,
                    facecolor="none" if ending == "svg" else "white",
                )
                self._write(f"{name}.{ending}", image.getvalue())
                if ending == "svg":
                    self.inline[name] = for_page(image.getvalue().decode(), name, alt)

    def _write(self, name: str, data: bytes) -> None:
        write_bytes(self.folder / name, data)
        self.files.append(self.folder / name)


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


def _model(name: str) -> str:
    shown = text.math(name)
    return f"${shown}$" if shown.startswith("M_{") else shown.replace("$", r"\$")


def _line(ink: Ink) -> dict[str, Any]:
    dash = (0, tuple(x * 0.7 for x in ink.dash)) if ink.dash else "-"
    return {"color": ink.colour, "linewidth": ink.width, "linestyle": dash}


def search_figures(
    search: SearchState, found: Sequence[Comparison], figures: Figures
) -> None:
    """Errors, learning curves, differences: what there are numbers for."""
    _errors(search, figures)
    _curves(search, figures)
    if found:
        _differences(search, found, figures)


def _errors(search: SearchState, figures: Figures) -> None:
    unit, ink = main_unit(search), inks(search)
    scored = [(c, a) for c in search.candidates if (a := amount_of(c.valid, unit))]
    values = [a.errors for _, a in scored]
    at = {c.name: k for k, (c, _) in enumerate(scored)}

    def draw(axes: Any) -> None:
        for c, a in scored:
            parent = str(c.composition.parent) if c.composition else ""
            on_path = search.strategy == "greedy" or c.name in search.path
            if parent in at and on_path:
                ends = [at[parent], at[c.name]], [values[at[parent]], a.errors]
                axes.plot(*ends, color=LIGHT["rule"], linewidth=1, zorder=1)
        for k, (c, a) in enumerate(scored):
            marker = (
                "D" if c.role == CONTROL else "X" if c.status == "rejected" else "o"
            )
            size = 80 if c.name == search.best_name else 40
            colour = ink[c.name].colour
            points = axes.scatter([k], [a.errors], s=size, color=colour, marker=marker)
            points.set_gid(c.name)
            axes.annotate(
                f"{text.amount(a)}\n({text.rate(a, unit)}{unit.sign})",
                (k, a.errors),
                (0, 8),
                textcoords="offset points",
                ha="center",
            )
        axes.set_xlim(-0.6, max(len(scored), 2) - 0.4)
        axes.set_ylim(0, 1.3 * max(values) or 1)
        names = [_model(c.name).replace("control.", "control\n") for c, _ in scored]
        axes.set_xticks(range(len(scored)), names)
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel(f"{unit.amount} on {text.valid_label(search)}")
        axes.grid(True, axis="y")
        axes.set_axisbelow(True)

    told = [f"{text.math(c.name)} {text.amount(a)}" for c, a in scored]
    alt = f"{unit.amount} on the validation set: {', '.join(told)}"
    is_text = search.criterion == "ppl"
    rows = list(_score_rows(search))
    name = "perplexities" if is_text else "errors"
    if scored:
        size = (max(3.6, 0.95 * len(scored) + 0.6), 2.6)
        figures.add(name, rows, draw, alt, size)


def _score_rows(search: SearchState) -> Iterable[Sequence[object]]:
    """All scores, unrounded; the first row says what the columns are."""
    if search.criterion == "ppl":
        yield ("model", "set", "tokens", "nats", "perplexity")
    else:
        head = ("model", "set", "decoder", "unit", "utts", "ref", "sub", "del", "ins")
        yield (*head, "errors")
    for c in search.candidates:
        for score in [c.valid, *(c.tests.get(k) for k in search.test_sets)]:
            for unit in units(search):
                a = amount_of(score, unit)
                if score is None or a is None:
                    continue
                if isinstance(a, Likelihood):
                    values = (f"{a.nll:.6f}", f"{a.perplexity:.6f}")
                    yield (c.name, score.set, a.ref, *values)
                else:
                    who = (c.name, score.set, score.decoder, unit.name, score.utts)
                    yield (*who, a.ref, a.sub, a.dele, a.ins, a.errors)


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


def _curves(search: SearchState, figures: Figures) -> None:
    metric = metric_for(search.criterion, [c.curve for c in search.candidates])
    if metric is None:
        return
    found = ((c, points_of(c.curve, metric)) for c in search.candidates)
    lines = [(c, line) for c, line in found if line]
    if not lines:
        return
    ink = inks(search)
    values = [v for _, line in lines for _, v in line]
    is_log = min(values) > 0 and max(values) > 5 * min(values)
    label = "validation loss"
    if metric != "loss":
        label = f"validation {metric.split('_')[0].upper()} while training, %"
    if search.criterion == "ppl":
        label += ", nats a token"

    def draw(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        for c, line in lines:
            style, colour = _line(ink[c.name]), ink[c.name].colour
            axes.plot(*zip(*line), label=_model(c.name), gid=c.name, **style)
            chosen = c.valid.epoch if c.valid else None
            for dot in line:
                if dot[0] == chosen or len(line) == 1:
                    axes.plot(*dot, "o", color=colour, markersize=5)
        if is_log:
            axes.set_yscale("log")
            _label_log(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(label + (" (logarithmic)" if is_log else ""))
        axes.grid(True, axis="y")
        _legend(axes, len(lines))

    rows: list[Sequence[object]] = [("model", "epoch", metric)]
    for c, line in lines:
        rows += [(c.name, epoch, f"{value:.6g}") for epoch, value in line]
    told = [
        f"{text.math(c.name)}, lowest {min(v for _, v in line):.4g}"
        for c, line in lines
    ]
    alt = f"{label} by epoch: {'; '.join(told)}"
    figures.add("learning_curves", rows, draw, alt, (6.2, 3.6))


def _label_log(axes: Any) -> None:
    """Ticks at round numbers, also where the axis holds less than a decade."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = axes.get_ylim()
    steps = (1, 2, 5) if high > 20 * low else (1, 1.5, 2, 3, 5, 7)
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")


def _legend(axes: Any, n: int) -> None:
    """Below the axes, where it is on a phone's screen, too."""
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}
    axes.legend(ncols=min(n, 4), handlelength=3.2, **place)


def _differences(
    search: SearchState, found: Sequence[Comparison], figures: Figures
) -> None:
    ink = inks(search)
    shown = [d for d in found if d.unit is main_unit(search)] or list(found)

    def draw(axes: Any) -> None:
        axes.axvline(0, color=LIGHT["soft"], linewidth=1)
        for k, d in enumerate(shown):
            colour = ink[d.other].colour
            if d.low is not None:
                axes.plot([d.low, d.high], [k, k], color=colour, linewidth=2)
            axes.plot([d.difference], [k], "o", color=colour, gid=f"{d.other}.{k}")
        names = [
            f"{text.set_label(search, d.key)}: against {_model(d.other)}" for d in shown
        ]
        axes.set_yticks(range(len(shown)), names)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"{shown[0].unit.label}, points: left of 0 the best is better")
        axes.grid(True, axis="x")
        axes.set_axisbelow(True)

    rows: list[Sequence[object]] = [
        ("set", "decoder", "unit", "against", "difference", "n", "low", "high")
    ]
    for d in found:
        bounds = ["" if v is None else f"{v:.6f}" for v in (d.low, d.high)]
        who = (d.key[1], d.key[0], d.unit.name, d.other)
        rows.append((*who, f"{d.difference:.6f}", d.n, *bounds))
    told = [f"against {d.other} {text.signed(d.difference)}" for d in shown]
    alt = f"Differences with 95 % intervals: {', '.join(told)}"
    figures.add("differences", rows, draw, alt, (4.4, 0.36 * len(shown) + 0.8))


def seeds_figure(seeds: Seeds, figures: Figures) -> None:
    """Error rates of every kind of model, a line for each seed."""
    unit = main_unit(seeds.first)
    name, key = seed_sets(seeds)[-1]
    found = [(g, rates) for g in seeds.groups if (rates := g.rates(key, unit.name))]
    if not found:
        return

    def draw(axes: Any) -> None:
        for k, (_, rates) in enumerate(found):
            mean, colour = sum(rates.values()) / len(rates), LIGHT["control"]
            axes.plot([k - 0.28, k + 0.28], [mean, mean], color=colour, linewidth=2)
        for n, seed in enumerate(seeds.searches):
            line = [
                (k, rates[seed]) for k, (_, rates) in enumerate(found) if seed in rates
            ]
            if line:
                style, who = _line(numbered(n)), {"gid": f"seed{seed}"}
                axes.plot(*zip(*line), marker="o", label=f"seed {seed}", **style, **who)
        labels = [text.group_label(g) for g, _ in found]
        names = [f"${x}$" if x.startswith("M_{") else x for x in labels]
        names = [x.replace(" ", "\n", 1).replace("$", "$") for x in names]
        axes.set_xticks(range(len(found)), names)
        axes.set_ylabel(f"{unit.label} on {name}, %")
        axes.grid(True, axis="y")
        axes.set_axisbelow(True)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=5)

    rows: list[Sequence[object]] = [("model", "seed", "set", "unit", "percent")]
    for group, rates in found:
        rows += [
            (group.name, seed, name, unit.name, f"{rate:.6f}")
            for seed, rate in rates.items()
        ]
    told = [
        f"{text.group_label(g)} {', '.join(f'{v:.2f}' for v in r.values())}"
        for g, r in found
    ]
    width = max(4.0, 1.05 * len(found) + 0.6)
    figures.add("seeds", rows, draw, "; ".join(told), (width, 3.2))
