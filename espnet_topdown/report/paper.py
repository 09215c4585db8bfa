"""The rows of the paper's tables: its numbers and, beside them, what we measured.

Figures 1 and 2 say how well a classifier serves data that it has never seen: each point
is a model trained on the unseen part of the training set, under a frozen classifier of
a model that was trained on another part (Figure 1: on more and more data, Figure 2: for
more and more epochs). The lines across are controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_topdown.files import write_bytes
from espnet_topdown.report import write
from espnet_topdown.report.figures import Figures
from espnet_topdown.report.palette import LIGHT, numbered
from espnet_topdown.report.rows import mean_and_deviation
from espnet_topdown.report.tables import Row as TableRow
from espnet_topdown.report.tables import Table
from espnet_topdown.report.text import NOT_RUN
from espnet_topdown.scoring.counts import Counts
from espnet_topdown.search.rows import RANDOM, Paper, Row, check_count
from espnet_topdown.search.state import read_score

SCORER = (
    "Scored with sclite's costs on text cut as ESPnet up to 202511 cuts it: "
    "non-linguistic symbols are taken out, a blank between words counts in CER."
)
HUB5 = (
    "Scored by sctk's hubscr.pl with the corpus' own rules, as published numbers are."
)
AXES = {
    1: "share of the training set that the frozen classifier was trained on, %",
    2: "epoch of the frozen classifier",
}
SCRATCH = "scratch"
Points = dict[str, list[tuple[int, float]]]  # set -> (seed, percent)


@dataclass(frozen=True)
class Measured:
    """One row under one decoder: set -> counts and number of utterances."""

    row: Row
    seed: int
    decoder: str
    counts: dict[str, Counts] = field(default_factory=dict)
    utts: dict[str, int] = field(default_factory=dict)


def read_rows(
    paper: Paper, folder: Path, allow_partial: bool = False
) -> list[Measured]:
    """Every row of the paper, as far as it was decoded below ``folder``.

    Raises:
        TopDownError: E_EVAL_SET when a set has not the paper's number of utterances.
    """
    found = []
    for row in paper.rows.values():
        seed, before = paper.seed(row), len(found)
        for place in sorted((Path(folder) / row.name).glob("decode_*")):
            one = Measured(row, seed, place.name[len("decode_") :])
            for path in sorted(place.rglob("score.json")):
                name, score = path.parent.name, read_score(path)
                if name in paper.sets:
                    check_count(name, score.utts or 0, paper.sets, allow_partial)
                    one.counts[name] = score.counts[paper.unit]
                    one.utts[name] = score.utts or 0
            if one.counts:
                found.append(one)
        if len(found) == before:
            found.append(Measured(row, seed, ""))
    return found


def write_rows(paper: Paper, folder: Path, allow_partial: bool = False) -> str:
    """Write RESULTS.md, rows.tsv and figures into ``folder``; returns the Markdown.

    Raises:
        TopDownError: E_EVAL_SET when a set has not the paper's number of utterances.
    """
    measured, folder = read_rows(paper, folder, allow_partial), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = Figures(folder / "figures")
    drawn = [n for n in AXES if _add_figure(n, paper, measured, figures)]
    first = next(iter(paper.sets))
    clean = "" if paper.within else f"{first} chooses models: only the other is clean."
    parts = [("table", table) for table in _tables(paper, measured)]
    parts += [("figure", (f"figure{n}", "")) for n in drawn]
    values = {
        "name": "Rows of the paper",
        "headline": f"{paper.about}. {HUB5 if paper.within else SCORER}",
        "evidence": [clean] if clean else [],
        "warnings": [],
        "sections": [("", parts)],
        "figures": figures.inline,
        "links": [],
        "ours": write.OURS,
    }
    text = write.render("results.md.j2", values)
    write_bytes(folder / "RESULTS.md", text.encode())
    write_bytes(folder / "rows.tsv", _tsv(paper, measured).encode())
    return text


def _tables(paper: Paper, measured: Sequence[Measured]) -> list[Table]:
    names = [part for s in paper.sets for part in (f"{s} paper", f"{s} ours")]
    header = ("row", "model", "seed", "decoder", *names, "utterances")
    numbers = sorted({m.row.table for m in measured if m.row.table})
    parts = {
        f"Table {number}": [m for m in measured if m.row.table == number]
        for number in numbers
    }
    parts["Beyond the paper"] = [m for m in measured if m.row.beyond]
    found = [
        Table(
            title, header, tuple(TableRow(_cells(paper, m)) for m in rows), len(names)
        )
        for title, rows in parts.items()
        if rows
    ]
    spread = tuple(map(TableRow, _spread(measured)))
    header = ("rows", "set", "seeds", "mean", "standard deviation")
    return [*found, Table("Spread over seeds", header, spread, 3)] if spread else found


def _cells(paper: Paper, m: Measured) -> tuple[str, ...]:
    cells = [m.row.name, m.row.label, str(m.seed), m.decoder or "-"]
    numbers = [f"{number:.1f}" for number in m.row.paper] or ["-"] * len(paper.sets)
    for number, name in zip(numbers, paper.sets):
        cells += [number, rate(m.counts.get(name))]
    utts = [
        f"{m.utts[s]}" if m.utts.get(s) == n else f"{m.utts.get(s, 0)} of {n}"
        for s, n in paper.sets.items()
    ]
    return (*cells, " + ".join(utts) if m.utts else "-")


def rate(counts: Counts | None) -> str:
    """Errors of 100, one decimal as in the paper, or "not run"."""
    if counts is None:
        return NOT_RUN
    return f"{counts.percent:.1f}" if counts.ref else "no reference"


def _spread(measured: Sequence[Measured]) -> list[tuple[str, ...]]:
    """Mean and standard deviation over seeds, of what was run."""
    groups: dict[tuple[str, str], list[float]] = {}
    for m in measured:
        for name, counts in m.counts.items():
            if m.row.group:
                groups.setdefault((m.row.group, name), []).append(counts.percent)
    found = []
    for (group, name), values in groups.items():
        mean, deviation = mean_and_deviation(values)
        shown = "-" if deviation is None else f"{deviation:.2f}"
        found.append((group, name, str(len(values)), f"{mean:.2f}", shown))
    return found


def _tsv(paper: Paper, measured: Sequence[Measured]) -> str:
    head = ["row", "model", "seed", "decoder", "set", "utts", "paper", "ours"]
    head += ["errors", "ref", "sub", "del", "ins"]
    lines = ["\t".join(head)]
    for m in measured:
        numbers = m.row.paper or [""] * len(paper.sets)
        for number, name in zip(numbers, paper.sets):
            c = m.counts.get(name)
            cells = [m.row.name, m.row.label, str(m.seed), m.decoder, name]
            cells += [str(m.utts.get(name, "")), str(number)]
            if c is None:
                cells += [NOT_RUN, *[""] * 5]
            else:
                counts = (c.errors, c.ref, c.sub, c.dele, c.ins)
                cells += [f"{c.percent:.4f}", *map(str, counts)]
            lines.append("\t".join(cells))
    return "\n".join(lines) + "\n"


def _classifier(number: int, paper: Paper, m: Measured) -> str:
    """What a row is in a figure; "" if it is not part of it."""
    row, source = m.row, paper.rows.get(m.row.source)
    if row.figure == 1 and source is None:
        return RANDOM if row.source == RANDOM else SCRATCH
    if row.figure != number or source is None:
        return ""
    return str(paper.parts[source.data] if row.epoch is None else row.epoch)


def _add_figure(
    number: int, paper: Paper, measured: Sequence[Measured], figures: Figures
) -> bool:
    """Add Figure 1 or 2 if there are points: percentage or epoch, then controls."""
    found: dict[str, Points] = {}
    for m in measured:
        name = _classifier(number, paper, m)
        for set_name, counts in m.counts.items() if name else ():
            point = (m.seed, counts.percent)
            found.setdefault(name, {}).setdefault(set_name, []).append(point)
    shares = sorted((name for name in found if name.isdigit()), key=int)
    if not shares:
        return False

    def draw(axes: Any) -> None:
        for i, set_name in enumerate(paper.sets):
            colour, line = numbered(i).colour, []
            for k, share in enumerate(shares):
                values = [v for _, v in found[share].get(set_name, [])]
                if values:
                    axes.plot([k] * len(values), values, "o", color=colour, ms=3)
                    line.append((k, mean_and_deviation(values)[0]))
            if line:
                axes.plot(*zip(*line), color=colour, label=set_name)
            for control, dash in ((SCRATCH, (8, 4)), (RANDOM, (2, 3))):
                values = [v for _, v in found.get(control, {}).get(set_name, [])]
                if values:
                    mean, style = mean_and_deviation(values)[0], (0, dash)
                    what = "jointly trained" if control == SCRATCH else control
                    label = f"{what} ({set_name})"
                    axes.axhline(mean, color=colour, linestyle=style, label=label)
        every = 1 + len(shares) // 13
        axes.set_xticks(range(len(shares))[::every], shares[::every])
        axes.set_xlabel(AXES[number])
        axes.set_ylabel(f"{paper.unit.upper()}, %", color=LIGHT["soft"])
        axes.grid(True, axis="y")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)

    rows: list[Sequence[object]] = [("classifier", "set", "seed", "percent")]
    for name, points in found.items():
        for set_name, pairs in points.items():
            rows += [(name, set_name, seed, f"{v:.4f}") for seed, v in pairs]
    alt = f"{paper.unit.upper()} in percent under classifiers of parts of the data"
    figures.add(f"figure{number}", rows, draw, alt, (6.2, 3.6))
    return True
