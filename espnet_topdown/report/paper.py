"""The rows of the paper's tables: its numbers and, beside them, what we measured.

Figures 1 and 2 say how well a classifier serves data that it has never seen: each point
is a model trained on the unseen part of the training set, under a frozen classifier of
a model that was trained on another part (Figure 1: on more and more data, Figure 2: for
more and more epochs). The lines across are controls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from espnet_topdown.report._figures import Chart, Point, Series, render_figures
from espnet_topdown.report._palette import Ink, numbered
from espnet_topdown.report._tables import Line, Table
from espnet_topdown.report._text import NOT_RUN
from espnet_topdown.report.write import OURS, Part, render, write_pages
from espnet_topdown.scoring.counts import Counts, UnitScore
from espnet_topdown.search.rows import RANDOM, Paper, Row, check_count
from espnet_topdown.search.state import ERROR_UNITS, Score, read_score

SCORER = (
    "Scored with sclite's costs on text cut as ESPnet up to 202511 cuts it: "
    "non-linguistic symbols are taken out, a blank between words counts in CER."
)
HUB5 = (
    "Scored by sctk's hubscr.pl with the corpus' own rules, as published numbers are."
)
PERPLEXITY = "Of the whole text, the hidden state carried along."
AXES = {
    1: "share of the training set that the frozen classifier was trained on, %",
    2: "epoch of the frozen classifier",
}
SCRATCH = "jointly trained"


@dataclass(frozen=True)
class _Measured:
    """One row under one decoder, and its scores by set; none if it was not run."""

    row: Row
    seed: int
    decoder: str
    scores: dict[str, Score]
    unit: str

    def rates(self) -> dict[str, float]:
        # Percent, or perplexity, by set; NaN without a reference.
        return {name: x.rate for name, x in self.unit_scores().items()}

    def unit_scores(self) -> dict[str, UnitScore]:
        return {name: x.counts[self.unit] for name, x in self.scores.items()}


def _read_rows(paper: Paper, folder: Path, allow_partial: bool) -> list[_Measured]:
    # Every row of the paper, as far as it was decoded.
    rows = []
    for row in paper.rows.values():
        decoded: dict[str, dict[str, Score]] = {}
        for place in sorted((folder / row.name).glob("decode_*")):
            paths = {p.parent.name: p for p in sorted(place.rglob("score.json"))}
            scores = {s: read_score(paths[s]) for s in paper.sets if s in paths}
            for name, score in scores.items() if paper.unit in ERROR_UNITS else ():
                check_count(name, score.utts or 0, paper.sets, allow_partial)
            if scores:
                decoded[place.name.removeprefix("decode_")] = scores
        for decoder, scores in (decoded or {"": {}}).items():
            rows.append(_Measured(row, paper.seed(row), decoder, scores, paper.unit))
    return rows


def write_rows(paper: Paper, folder: Path, allow_partial: bool = False) -> str:
    """Write RESULTS.md, rows.tsv and figures into ``folder``.

    Args:
        paper: Its rows, from ``search.rows.read_paper``.
        folder: Holds the experiment of each row, by the row's name.
        allow_partial: Sets may have fewer utterances than the paper's.

    Returns:
        The Markdown.

    Raises:
        TopDownError: E_EVAL_SET when a set has not the paper's number of utterances;
            E_CREATE (73).
    """
    measured = _read_rows(paper, folder, allow_partial)
    charts = [chart for n in AXES for chart in _charts(n, paper, measured)]
    figures, files = render_figures(charts)
    first = next(iter(paper.sets))
    clean = f"{first} chooses models: only the other is clean."
    scorer = SCORER if paper.unit in ERROR_UNITS else PERPLEXITY
    parts: list[Part] = [("table", table) for table in _tables(paper, measured)]
    parts += [("figure", (chart.name, "")) for chart in charts]
    values = {
        "name": "Rows of the paper",
        "headline": f"{paper.about}. {HUB5 if paper.within else scorer}",
        "evidence": [] if paper.within else [clean],
        "warnings": [],
        "sections": [("Tables", parts)],
        "figures": figures,
        "links": [],
        "ours": OURS,
    }
    text = render("results.md.j2", values)
    pages = {"RESULTS.md": text, "rows.tsv": _tsv(paper, measured)}
    write_pages(folder, pages, files)
    return text


def _tables(paper: Paper, measured: Sequence[_Measured]) -> list[Table]:
    names = [part for s in paper.sets for part in (f"{s} paper", f"{s} ours")]
    what = "utterances" if paper.unit in ERROR_UNITS else "tokens"
    header = ("row", "model", "seed", "decoder", *names, what)
    parts: dict[str, list[Line]] = {}
    for m in sorted(measured, key=lambda m: (m.row.beyond, m.row.table or 0)):
        if m.row.table or m.row.beyond:
            title = "Beyond the paper" if m.row.beyond else f"Table {m.row.table}"
            parts.setdefault(title, []).append(Line(_cells(paper, m)))
    tables = [Table(title, header, rows, len(names)) for title, rows in parts.items()]
    groups: dict[tuple[str, str], list[float]] = {}
    for m in measured:
        for name, rate in m.rates().items() if m.row.group else ():
            groups.setdefault((m.row.group, name), []).append(rate)
    spread = []
    for who, values in groups.items():
        deviation = f"{stdev(values):.2f}" if len(values) > 1 else "-"
        spread.append(Line((*who, str(len(values)), f"{fmean(values):.2f}", deviation)))
    header = ("rows", "set", "seeds", "mean", "standard deviation")
    if spread:
        tables.append(Table("Spread over seeds", header, spread, 3))
    return tables


def _cells(paper: Paper, m: _Measured) -> list[str]:
    cells = [m.row.name, m.row.label, str(m.seed), m.decoder or "-"]
    utts = []
    for k, (name, n) in enumerate(paper.sets.items()):
        cells.append(f"{m.row.paper[k]:.1f}" if m.row.paper else "-")
        cells.append(_rate(m.rates().get(name)))
        have = _size(m, name)
        utts.append(f"{n}" if have == n else f"{have} of {n}")
    return [*cells, " + ".join(utts) if m.scores else "-"]


def _size(m: _Measured, name: str) -> int:
    # Of a set: utterances, or tokens whose likelihood counts.
    score = m.scores.get(name)
    if score is None:
        return 0
    return score.utts or 0 if m.unit in ERROR_UNITS else score.counts[m.unit].ref


def _rate(rate: float | None) -> str:
    # One decimal, as in the paper.
    if rate is None:
        return NOT_RUN
    return "no reference" if math.isnan(rate) else f"{rate:.1f}"


def _tsv(paper: Paper, measured: Sequence[_Measured]) -> str:
    head = ["row", "model", "seed", "decoder", "set", "utts", "paper", "ours"]
    lines: list[list[object]] = [[*head, "errors", "ref", "sub", "del", "ins"]]
    for m in measured:
        for k, name in enumerate(paper.sets):
            score, x = m.scores.get(name), m.unit_scores().get(name)
            number = m.row.paper[k] if m.row.paper else ""
            who: list[object] = [m.row.name, m.row.label, m.seed, m.decoder, name]
            ours: list[object] = [NOT_RUN, *[""] * 5]
            if x:
                more = (x.sub, x.dele, x.ins) if isinstance(x, Counts) else [""] * 3
                ours = [f"{m.rates()[name]:.4f}", x.errors, x.ref, *more]
            lines.append([*who, (score.utts or 0) if score else "", number, *ours])
    return "".join("\t".join(map(str, line)) + "\n" for line in lines)


def _classifier(number: int, paper: Paper, row: Row) -> str:
    # What a row is in a figure; "" if it is not part of it.
    source = paper.rows.get(row.source)
    if row.figure == 1 and source is None:
        return RANDOM if row.source == RANDOM else SCRATCH
    if row.figure != number or source is None:
        return ""
    return str(paper.parts[source.data] if row.epoch is None else row.epoch)


def _charts(number: int, paper: Paper, measured: Sequence[_Measured]) -> list[Chart]:
    # Figure 1 or 2 if there are points: seeds, their means, controls.
    rates: dict[tuple[str, str], dict[int, float]] = {}  # classifier, set; seed
    for m in measured:
        name = _classifier(number, paper, m.row)
        for place, rate in m.rates().items() if name else ():
            rates.setdefault((name, place), {})[m.seed] = rate
    shares = sorted({name for name, _ in rates if name.isdigit()}, key=int)
    series = []
    for i, place in enumerate(paper.sets):
        ink, line = numbered(i), []
        for k, share in enumerate(shares):
            by_seed = rates.get((share, place), {})
            for seed, percent in by_seed.items():
                name = f"{place}, seed {seed}"
                series.append(Series(name, "", ink, [Point(k, percent)], "points"))
            if by_seed:
                line.append(Point(k, fmean(by_seed.values())))
        series.append(Series(f"{place}, mean", place, ink, line, marks=()))
        for control, dash in ((SCRATCH, (8, 4)), (RANDOM, (2, 3))):
            values = list(rates.get((control, place), {}).values())
            name, ink = f"{control} ({place})", Ink(ink.name, dash)
            level = [Point(0, fmean(values))] if values else []
            series.append(Series(name, name, ink, level, "level"))
    columns = ("set", "classifier", "percent")
    drawn = [s for s in series if s.points]
    unit = f"{paper.unit.upper()}, %"
    chart = Chart(f"figure{number}", columns, AXES[number], unit, drawn, shares)
    return [chart] if shares else []
