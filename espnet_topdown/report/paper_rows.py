"""The rows of the paper's tables: its numbers and, beside them, what we measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from espnet_topdown.files import write_bytes
from espnet_topdown.report.measured import Measured, mean_and_deviation, read_rows
from espnet_topdown.report.nodes import NOT_RUN
from espnet_topdown.report.transfer import write_figures
from espnet_topdown.scoring.counts import Counts
from espnet_topdown.search.rows import Paper

SCORER = (
    "Scored with sclite's costs on text cut as ESPnet up to 202511 cuts it: "
    "non-linguistic symbols are taken out, a blank between words counts in CER."
)

HUB5 = (
    "Scored by sctk's hubscr.pl with the corpus' own rules, as published numbers are."
)


def write_rows(paper: Paper, folder: Path, allow_partial: bool = False) -> str:
    """Write RESULTS.md, rows.tsv and figures into ``folder``; returns the Markdown.

    Raises:
        TopDownError: E_EVAL_SET when a set has not the paper's number of utterances.
    """
    measured = read_rows(paper, folder, allow_partial)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = write_figures(paper, measured, folder / "figures")
    text = "\n".join([*_head(paper), *_tables(paper, measured), *_spread(measured)])
    for path in figures:
        name = path.stem.replace("figure", "Figure ")
        text += f"\n\n## {name}\n\n![{name}](figures/{path.name})\n"
    write_bytes(folder / "RESULTS.md", (text.rstrip() + "\n").encode())
    write_bytes(folder / "rows.tsv", _tsv(paper, measured).encode())
    return text


def _head(paper: Paper) -> list[str]:
    scorer = HUB5 if paper.within else SCORER
    lines = ["# Rows of the paper", "", f"{paper.about}. {scorer}"]
    if paper.within:
        return lines
    first = next(iter(paper.sets))
    lines.append(f"{first} chooses models: only the other set is clean.")
    return lines


def _tables(paper: Paper, measured: Sequence[Measured]) -> list[str]:
    lines = []
    names = [part for s in paper.sets for part in (f"{s} paper", f"{s} ours")]
    header = ["row", "model", "seed", "decoder", *names, "utterances"]
    numbers = sorted({m.row.table for m in measured if m.row.table})
    parts = [
        (f"Table {number}", [m for m in measured if m.row.table == number])
        for number in numbers
    ]
    parts.append(("Beyond the paper", [m for m in measured if m.row.beyond]))
    for title, rows in parts:
        if rows:
            lines += ["", f"## {title}", "", _line(header)]
            lines.append(_line("---" if i < 4 else "---:" for i in range(len(header))))
            lines += [_line(_cells(paper, m)) for m in rows]
    return lines


def _cells(paper: Paper, m: Measured) -> list[str]:
    cells = [m.row.name, m.row.label, str(m.seed), m.decoder or "-"]
    numbers = [f"{number:.1f}" for number in m.row.paper] or ["-"] * len(paper.sets)
    for number, name in zip(numbers, paper.sets):
        cells += [number, rate(m.counts.get(name))]
    utts = [
        f"{m.utts[s]}" if m.utts.get(s) == n else f"{m.utts.get(s, 0)} of {n}"
        for s, n in paper.sets.items()
    ]
    return [*cells, " + ".join(utts) if m.utts else "-"]


def rate(counts: Counts | None) -> str:
    """Errors of 100, one decimal as in the paper, or "not run"."""
    if counts is None:
        return NOT_RUN
    return f"{counts.percent:.1f}" if counts.ref else "no reference"


def _spread(measured: Sequence[Measured]) -> list[str]:
    """Mean and standard deviation over seeds, of what was run."""
    groups: dict[tuple[str, str], list[tuple[Measured, str]]] = {}
    for m in measured:
        for name in m.counts:
            if m.row.group:
                groups.setdefault((m.row.group, name), []).append((m, name))
    if not groups:
        return []
    head = ["rows", "set", "seeds", "mean", "standard deviation"]
    lines = ["", "## Spread over seeds", "", _line(head), _line(["---"] * len(head))]
    for (group, name), found in groups.items():
        values = [m.counts[name].percent for m, _ in found]
        mean, deviation = mean_and_deviation(values)
        cells = [group, name, str(len(values)), f"{mean:.2f}"]
        lines.append(_line([*cells, "-" if deviation is None else f"{deviation:.2f}"]))
    return lines


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


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
