"""Figures for papers and slides, with their numbers beside them as TSV.

The page draws its own; these need matplotlib (extra `[plot]`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.errors import warn
from espnet_topdown.files import write_bytes
from espnet_topdown.report import perplexities, words
from espnet_topdown.report.chart import Curves, curves_of
from espnet_topdown.report.curves import metric_label
from espnet_topdown.report.nodes import CONTROL
from espnet_topdown.report.palette import LIGHT, Ink, inks
from espnet_topdown.report.rows import SearchReport
from espnet_topdown.report.svg import log_ticks
from espnet_topdown.report.tables import units, valid_label

_STYLE = {
    "svg.hashsalt": "espnet_topdown",  # element ids, else random
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "grid.linewidth": 0.5,
    "grid.color": "#dddddd",
    "legend.frameon": False,
}


def write_figures(search: SearchReport, folder: Path) -> list[Path]:
    """Write `.tsv` files, and `.svg` files where matplotlib is installed."""
    curves = curves_of(search)
    is_lm = search.criterion == perplexities.CRITERION
    name = "perplexities" if is_lm else "errors"
    rows = perplexities.numbers(search) if is_lm else _error_rows(search)
    written = [_tsv(folder / f"{name}.tsv", rows)]
    if curves:
        written.append(_tsv(folder / "learning_curves.tsv", _curve_rows(curves)))
    try:
        import matplotlib
    except ImportError:
        what = "matplotlib is not installed; no figures/*.svg, all else is written"
        warn("W_NO_MATPLOTLIB", f"{what} (pip install 'espnet_topdown[plot]')")
        return written
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
        if not is_lm:
            written.append(_errors_figure(search, folder / "errors.svg"))
        if curves:
            path = folder / "learning_curves.svg"
            written.append(_curves_figure(search, curves, path))
    return sorted(written)


def _tsv(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    lines = ["\t".join(" ".join(str(c).split()) for c in row) for row in rows]
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    return path


def _error_rows(search: SearchReport) -> list[Sequence[object]]:
    header = ["model", "set", "decoder", "unit", "utts", "ref"]
    rows: list[Sequence[object]] = [[*header, "sub", "del", "ins", "errors"]]
    for node in search.nodes:
        scores = [node.valid] + [node.tests.get(k) for k in search.test_sets]
        for score in scores:
            for unit in units(search):
                c = score.counts.get(unit) if score else None
                if score and c:
                    what = (node.name, score.set, score.decoder, unit, score.utts)
                    counts = (c.ref, c.sub, c.dele, c.ins, c.errors)
                    rows.append((*what, *counts))
    return rows


def _curve_rows(curves: Curves) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = [["model", "epoch", curves.metric]]
    for name, line in curves.lines.items():
        rows += [(name, epoch, f"{value:.6g}") for epoch, value in line]
    return rows


def _save(figure: Any, path: Path) -> Path:
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    image = io.BytesIO()
    FigureCanvasSVG(figure)
    nothing = {"Date": None, "Creator": "espnet_topdown"}
    figure.savefig(image, format="svg", metadata=nothing, bbox_inches="tight")
    write_bytes(path, image.getvalue())
    return path


def _tex(name: str) -> str:
    text = words.math(name)
    return f"${text}$" if text.startswith("M_{") else text.replace("$", r"\$")


def _line_style(ink: Ink) -> tuple[int, tuple[float, ...]]:
    return (0, tuple(float(x) for x in ink.dash.split()))


def _curves_figure(search: SearchReport, curves: Curves, path: Path) -> Path:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

    figure = Figure(figsize=(6.2, 3.4))
    axes = figure.subplots()
    ink = inks(search)
    for k, (name, line) in enumerate(curves.lines.items()):
        axes.plot(
            *zip(*line),
            color=LIGHT[ink[name].name],
            linewidth=ink[name].width * 0.75,
            linestyle=_line_style(ink[name]),
            marker="o" if len(line) == 1 else None,
            zorder=9 - k,
            label=_tex(name),
        )
    if curves.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(FixedLocator(log_ticks(*axes.get_ylim())))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(metric_label(curves.metric))
    axes.grid(True, axis="y")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _save(figure, path)


def _errors_figure(search: SearchReport, path: Path) -> Path:
    from matplotlib.figure import Figure

    unit = search.criterion
    scored = [n for n in search.nodes if n.valid and unit in n.valid.counts]
    values = {n.name: n.valid.counts[unit].errors for n in scored if n.valid}
    figure = Figure(figsize=(max(3.0, 0.9 * len(scored) + 1), 2.8))
    axes = figure.subplots()
    ink = inks(search)
    chain = [(k, values[n.name]) for k, n in enumerate(scored) if n.role != CONTROL]
    if search.strategy == "greedy" and chain:
        axes.plot(*zip(*chain), color="#999999", linewidth=0.8, zorder=1)
    for k, node in enumerate(scored):
        marker = {"rejected": "X"}.get(node.status, "o")
        axes.scatter(
            [k],
            [values[node.name]],
            s=70 if node.name == search.best else 36,
            color=LIGHT[ink[node.name].name],
            marker="D" if node.role == CONTROL else marker,
            zorder=2,
        )
        at = (k, values[node.name])
        axes.annotate(str(at[1]), at, (0, 7), textcoords="offset points", ha="center")
    axes.margins(x=0.12, y=0.25)
    names = [_tex(n.name).replace("control.", "control\n") for n in scored]
    axes.set_xticks(range(len(scored)), names)
    axes.set_ylabel(f"{unit.upper()} errors on {valid_label(search)}")
    axes.grid(True, axis="y")
    return _save(figure, path)
