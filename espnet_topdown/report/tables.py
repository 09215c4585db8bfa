"""The report's tables as plain text cells; Markdown and the page print the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espnet_topdown.report import text
from espnet_topdown.report.palette import inks
from espnet_topdown.report.rows import (
    Comparison,
    amount_of,
    main_unit,
    units,
)
from espnet_topdown.report.seeds import Difference, Group, Seeds
from espnet_topdown.report.text import NOT_RUN, set_label, valid_label
from espnet_topdown.scoring.counts import Counts
from espnet_topdown.search.state import JOINT, Candidate, Key, Score, SearchState


@dataclass(frozen=True)
class Row:
    """The cells of a line. ``ink`` is the model's colour, empty for none."""

    cells: tuple[str, ...]
    ink: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """``numeric`` is the number of columns, counted from the right, to align right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    numeric: int
    note: str = ""


def _model_rows(
    search: SearchState, cells: Mapping[str, Sequence[str]]
) -> tuple[Row, ...]:
    """A row for each candidate, which begins with its name."""
    ink = inks(search)
    return tuple(
        Row((text.math(name), *more), ink[name].name, name == search.best_name)
        for name, more in cells.items()
    )


def overview(search: SearchState) -> Table:
    """One row a model: what was frozen, how long it took, its rates."""
    sets = [valid_label(search)] + [set_label(search, k) for k in search.test_sets]
    shown = units(search)
    rates = [f"{name} {unit.label}" for name in sets for unit in shown]
    if search.criterion == "ppl":
        rates = [f"{name} {what}" for name in sets for what in ("PPL", "nats")]
    header = ("model", "what", "frozen", "seed", "epochs", "time", "result", *rates)
    cells = {c.name: _overview_cells(search, c) for c in search.candidates}
    note = "Error rates in percent: substitutions, deletions and insertions of the "
    note += "whole set over its reference length. Time is training time. "
    if search.criterion == "ppl":
        note = "One seed: another may differ by more than these models do. "
    note += f"The search chose by {valid_label(search)}, so what it says of the chosen "
    note += "model is too good."
    return Table("Models", header, _model_rows(search, cells), len(rates), note)


def _overview_cells(search: SearchState, c: Candidate) -> list[str]:
    cells = [
        text.role(c),
        text.layer_list(c.frozen),
        text.unknown(c) if c.seed is None else str(c.seed),
        text.epochs(c),
        text.unknown(c) if c.seconds is None else text.duration(c.seconds),
        text.status(c, search.best_name),
    ]
    for score in [c.valid, *(c.tests.get(k) for k in search.test_sets)]:
        for unit in units(search):
            found = amount_of(score, unit)
            cells.append(text.rate(found, unit))
            if unit.name == "ppl":
                cells.append(text.amount(found))
    return cells


def counts_tables(search: SearchState) -> tuple[Table, ...]:
    """One table a set: the counts behind every percentage; none of language models."""
    if search.criterion == "ppl":
        return ()
    name = valid_label(search)
    shown = name if "valid" in name else f"{name} (validation)"
    valid = {c.name: c.valid for c in search.candidates}
    tables = [_counts_table(search, shown, valid)]
    for key in search.test_sets:
        scores = {c.name: c.tests.get(key) for c in search.candidates}
        tables.append(_counts_table(search, set_label(search, key), scores))
    return tuple(tables)


def _counts_table(
    search: SearchState, name: str, scores: Mapping[str, Score | None]
) -> Table:
    header = ["model", "utts"]
    for unit in units(search):
        header += [unit.token, "S", "D", "I", "errors", f"{unit.label} %"]
    cells = {}
    for model, score in scores.items():
        cells[model] = [NOT_RUN if score is None else str(score.utts or "unknown")]
        for unit in units(search):
            c = amount_of(score, unit)
            known = isinstance(c, Counts)
            numbers = (c.ref, c.sub, c.dele, c.ins, c.errors) if known else ()
            cells[model] += [*map(str, numbers)] or [NOT_RUN] * 5
            cells[model].append(text.rate(c, unit))
    decoders = sorted({s.decoder for s in scores.values() if s}) or [search.decoder]
    note = f"Decoder: {', '.join(decoders)}. "
    note += "S, D, I: substitutions, deletions, insertions."
    rows = _model_rows(search, cells)
    return Table(f"Counts on {name}", tuple(header), rows, len(header) - 1, note)


def comparison_table(search: SearchState, found: Sequence[Comparison]) -> Table | None:
    """Best minus the others; None where nothing can be compared."""
    if not found:
        return None
    header = ("set", "unit", "against", "best %", "its %", "difference", "n", "95 %")
    rows = tuple(Row(_comparison_cells(search, c)) for c in found)
    return Table("Best against the others", header, rows, 5, text.INTERVAL_NOTE)


def _comparison_cells(search: SearchState, c: Comparison) -> tuple[str, ...]:
    return (
        set_label(search, c.key),
        c.unit.label,
        text.math(c.other),
        text.rate(c.best_counts, c.unit),
        text.rate(c.other_counts, c.unit),
        text.signed(c.difference),
        str(c.n) if c.n else NOT_RUN,
        text.interval(c),
    )


def means(seeds: Seeds, found: Sequence[Difference]) -> Table:
    """One row a kind of model: means over the seeds, difference from joint training.

    Args:
        seeds: What is compared.
        found: The differences on the last of ``seed_sets``.
    """
    sets = seed_sets(seeds)
    shown = units(seeds.first)
    header = ["model", "frozen", "seeds"]
    header += [f"{name} {u.label}" for name, _ in sets for u in shown]
    header += ["minus joint", "n", "95 %", "better in"]
    by_group = {d.group.name: d for d in found}
    rows = []
    for group in seeds.groups:
        cells = [text.group_label(group), _frozen(group, seeds)]
        cells.append(str(len(group.members)))
        cells += [text.spread(*group.mean(k, u.name)) for _, k in sets for u in shown]
        rows.append(Row((*cells, *_against(group, by_group.get(group.name)))))
    numeric = len(header) - 2
    title = "Means over the seeds"
    return Table(title, tuple(header), tuple(rows), numeric, text.MEANS_NOTE)


def _frozen(group: Group, seeds: Seeds) -> str:
    """The layers that were frozen, where that is the same for all seeds."""
    if group.role == "best":
        return f"as {valid_label(seeds.first)} decides"
    return text.layer_list(next(iter(group.members.values())).frozen)


def seed_sets(seeds: Seeds) -> list[tuple[str, Key | None]]:
    """Validation set, then test sets; the first test set last: it is compared on."""
    tests = [(set_label(seeds.first, k), k) for k in seeds.test_sets]
    return [(valid_label(seeds.first), None), *tests[1:], *tests[:1]]


def _against(group: Group, d: Difference | None) -> Sequence[str]:
    if group.role == JOINT:
        return [""] * 4
    if d is None:
        return [NOT_RUN] * 4
    n = str(d.n) if d.n else NOT_RUN
    better = f"{d.better} of {len(d.seeds)}"
    return [text.signed(d.value), n, text.interval(d), better]


def each_seed(seeds: Seeds) -> Table:
    """One row a model of a seed: errors, and what the search decided."""
    sets, unit = seed_sets(seeds), main_unit(seeds.first)
    header = ["seed", "model", "own seed", "epochs", "time", "result"]
    for name, _ in sets:
        header += [f"{name} errors", f"{name} {unit.label}"]
    rows = []
    for seed, search in seeds.searches.items():
        for c in search.candidates:
            if c.valid is None:
                continue
            time = NOT_RUN if c.seconds is None else text.duration(c.seconds)
            cells = [str(seed), text.math(c.name), str(c.seed), text.epochs(c), time]
            cells.append(text.status(c, search.best_name))
            for _, key in sets:
                found = amount_of(c.valid if key is None else c.tests.get(key), unit)
                cells += [text.amount(found), text.rate(found, unit)]
            rows.append(Row(tuple(cells), best=c.name == search.best_name))
    note = "The seed is that of joint training; every retraining has its own."
    return Table("Each seed", tuple(header), tuple(rows), 2 * len(sets), note)
