"""The report's tables as plain text cells; Markdown and the page print the same."""

from __future__ import annotations

from dataclasses import dataclass

from espnet_topdown.report import words
from espnet_topdown.report.gains import Gain
from espnet_topdown.report.nodes import NOT_RUN, Node
from espnet_topdown.report.rows import SearchReport
from espnet_topdown.report.scores import Score
from espnet_topdown.scoring.counts import Counts


@dataclass(frozen=True)
class Row:
    """A node's name, then one cell for every further column."""

    node: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """`numeric` is the number of columns, counted from the right, to align right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    numeric: int
    note: str = ""


def set_label(search: SearchReport, key: tuple[str, str]) -> str:
    """The set's name; with the decoder where there are several."""
    decoder, name = key
    several = len({d for d, _ in search.test_sets}) > 1
    return f"{name} ({decoder})" if several else name


def valid_label(search: SearchReport) -> str:
    """The name of the validation set."""
    return next((n.valid.set for n in search.nodes if n.valid), "validation")


def units(search: SearchReport) -> tuple[str, ...]:
    """The error units to show: CER and WER, and the criterion if it is another."""
    more = (search.criterion,) if search.criterion not in ("cer", "wer") else ()
    return ("cer", "wer", *more)


def overview(search: SearchReport) -> Table:
    """One row a model: what was frozen, how long it took, error rates in percent."""
    shown = units(search)
    sets = [valid_label(search)] + [set_label(search, k) for k in search.test_sets]
    rates = [f"{name} {unit.upper()}" for name in sets for unit in shown]
    header = ("model", "what", "frozen", "seed", "epochs", "time", "result", *rates)
    return Table(
        title="Models",
        header=header,
        rows=tuple(Row(n.name, _overview_cells(search, n)) for n in search.nodes),
        numeric=len(rates),
        note="Error rates in percent: substitutions, deletions and insertions of the "
        "whole set over its reference length. Time is training time.",
    )


def _overview_cells(search: SearchReport, node: Node) -> tuple[str, ...]:
    scores = [node.valid] + [node.tests.get(k) for k in search.test_sets]
    rates = [words.percent(_of(s, u)) for s in scores for u in units(search)]
    return (
        words.role(node),
        words.layer_list(node.frozen),
        words.unknown(node) if node.seed is None else str(node.seed),
        words.epochs(node),
        _time(node),
        words.status(node, search.best),
        *rates,
    )


def _time(node: Node) -> str:
    return words.unknown(node) if node.seconds is None else words.duration(node.seconds)


def _of(score: Score | None, unit: str) -> Counts | None:
    return score.counts.get(unit) if score else None


def counts_tables(search: SearchReport) -> tuple[Table, ...]:
    """One table a set: the counts behind every percentage."""
    valid = {n.name: n.valid for n in search.nodes}
    name = valid_label(search)
    shown = name if "valid" in name else f"{name} (validation)"
    tables = [_counts_table(search, shown, valid)]
    for key in search.test_sets:
        scores = {n.name: n.tests.get(key) for n in search.nodes}
        tables.append(_counts_table(search, set_label(search, key), scores))
    return tuple(tables)


def _counts_table(
    search: SearchReport, name: str, scores: dict[str, Score | None]
) -> Table:
    header = ["model", "utts"]
    for unit in units(search):
        token = {"cer": "chars", "wer": "words"}.get(unit, "tokens")
        header += [token, "S", "D", "I", "errors", f"{unit.upper()} %"]
    rows = []
    for node, score in scores.items():
        cells = [NOT_RUN if score is None else str(score.utts or "unknown")]
        for unit in units(search):
            cells += _count_cells(_of(score, unit))
        rows.append(Row(node, tuple(cells)))
    return Table(
        title=f"Counts on {name}",
        header=tuple(header),
        rows=tuple(rows),
        numeric=len(header) - 1,
        note=f"Decoder: {_decoder(scores) or search.decoder}. "
        "S, D, I: substitutions, deletions, insertions.",
    )


def _decoder(scores: dict[str, Score | None]) -> str:
    return ", ".join(sorted({s.decoder for s in scores.values() if s}))


def _count_cells(counts: Counts | None) -> list[str]:
    if counts is None:
        return [NOT_RUN] * 6
    numbers = (counts.ref, counts.sub, counts.dele, counts.ins, counts.errors)
    return [*map(str, numbers), words.percent(counts)]


GAIN_HEADER = ("set", "unit", "against", "best %", "its %", "difference", "95 %")
GAIN_NOTE = (
    "Differences in percent points: below 0 the best model is better. 95 % intervals "
    "by paired bootstrap over utterances, 10,000 draws, seed 0."
)


def gain_cells(search: SearchReport, gain: Gain) -> tuple[str, ...]:
    """One comparison, a cell for each column of GAIN_HEADER."""
    interval = f"{NOT_RUN} ({gain.reason})"
    if gain.low is not None and gain.high is not None:
        interval = f"{words.signed(gain.low)} to {words.signed(gain.high)}"
    return (
        set_label(search, gain.key),
        gain.unit.upper(),
        words.math(gain.other),
        words.percent(gain.best_counts),
        words.percent(gain.other_counts),
        words.signed(gain.difference),
        interval,
    )
