"""The report's tables as plain text cells; Markdown and the page print the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from espnet_topdown.report import _text as text
from espnet_topdown.report._palette import inks
from espnet_topdown.report._study import BEST, Difference, Study, score_on
from espnet_topdown.report._text import NOT_RUN
from espnet_topdown.scoring.counts import Counts
from espnet_topdown.search.state import LIKELIHOOD, Candidate, Key, SearchState


@dataclass(frozen=True)
class Line:
    """The cells of a line. ``ink`` is the model's colour, empty for none."""

    cells: Sequence[str]
    ink: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """``numeric`` is the number of columns, counted from the right, to align right."""

    title: str
    header: Sequence[str]
    rows: Sequence[Line]
    numeric: int
    note: str = ""


def _model_rows(
    study: Study, cells: Callable[[SearchState, Candidate], Sequence[str]]
) -> list[Line]:
    """A row for each model; of several searches it begins with their seed."""
    rows = []
    for seed, search in study.searches.items():
        ink = inks(search)
        for c in search.candidates:
            start = [str(seed)] if study.several else []
            colour = "" if study.several else ink[c.name].name
            line = (*start, text.math(c.name), *cells(search, c))
            rows.append(Line(line, colour, c.name == search.best_name))
    return rows


def models(study: Study) -> Table:
    """One row a model: what was frozen, how long it took, its rates."""
    is_text = study.unit.name == LIKELIHOOD
    kinds = ("PPL", "nats") if is_text else [unit.label for unit in study.units]
    rates = [f"{name} {kind}" for name in study.sets.values() for kind in kinds]
    start = ["joint seed", "model"] if study.several else ["model"]
    header = [*start, "what", "frozen", "seed", "epochs", "time", "result", *rates]

    def cells(search: SearchState, c: Candidate) -> list[str]:
        line = [
            text.role(c),
            text.layer_list(c.frozen),
            text.unknown(c) if c.seed is None else str(c.seed),
            text.epochs(c),
            text.unknown(c) if c.seconds is None else text.duration(c.seconds),
            text.status(c, search.best_name),
        ]
        for key in study.sets:
            for unit in study.units:
                counts = unit.of(score_on(c, key))
                line += [text.rate(counts)]
                line += [text.sum_of(counts)] if is_text else []
        return line

    note = "Error rates in percent: substitutions, deletions and insertions of the "
    note += "whole set over its reference length. Time is training time. "
    if is_text:
        note = "One seed: another may differ by more than these models do. "
    note += f"The search chose by {study.valid}, so what it says of the chosen "
    note += "model is too good."
    title = "Each seed" if study.several else ""
    return Table(title, header, _model_rows(study, cells), len(rates), note)


def counts(study: Study) -> list[Table]:
    """One table a set: the counts behind every percentage; none of language models."""
    if study.unit.name == LIKELIHOOD:
        return []
    return [_counts(study, key, name) for key, name in study.sets.items()]


def _counts(study: Study, key: Key | None, name: str) -> Table:
    header = [*(["joint seed"] if study.several else []), "model", "utts"]
    for unit in study.units:
        header += [unit.token, "S", "D", "I", "errors", f"{unit.label} %"]
    decoders = {study.first.decoder if key is None else key[0]: None}

    def cells(search: SearchState, c: Candidate) -> list[str]:
        score = score_on(c, key)
        line = [str(score.utts or "unknown") if score else NOT_RUN]
        if score:
            decoders[score.decoder] = None
        for unit in study.units:
            x = unit.of(score)
            if isinstance(x, Counts):
                line += map(str, (x.ref, x.sub, x.dele, x.ins, x.errors))
            else:
                line += [NOT_RUN] * 5
            line.append(text.rate(x))
        return line

    rows = _model_rows(study, cells)
    note = f"Decoder: {', '.join(decoders)}. "
    note += "S, D, I: substitutions, deletions, insertions."
    title = name if key or "valid" in name else f"{name} (validation)"
    numeric = 1 + 6 * len(study.units)
    return Table(f"Counts on {title}", header, rows, numeric, note)


def compared(study: Study, differences: Sequence[Difference]) -> Table:
    """Differences with their intervals."""
    header = ["set", "unit", "model", "against", "model %", "its %"]
    header += ["difference", "n", "95 %", "seeds", "better in"]
    rows = []
    for d in differences:
        first, second = (f"{rate:.2f}" for rate in d.rates)
        who = [study.sets[d.key], d.unit.label, text.label(d.ours), text.label(d.other)]
        bounds = [str(d.n) if d.n else NOT_RUN, text.interval(d)]
        seeds = [str(len(d.seeds)), str(d.better)]
        rows.append([*who, first, second, text.signed(d.value), *bounds, *seeds])
    numeric = 7
    if not study.several:
        header[4] = "best %"
        header, *rows = ([*x[:2], *x[3:9]] for x in (header, *rows))
        numeric = 5
    note = text.SEEDS_NOTE if study.several else text.INTERVAL_NOTE
    return Table("", header, [Line(cells) for cells in rows], numeric, note)


def means(study: Study) -> Table:
    """One row a kind of model: means and spread over the seeds."""
    sets = [(key, name, u) for key, name in study.sets.items() for u in study.units]
    header = ["model", "what", "frozen", "seeds"]
    header += [f"{name} {unit.label}" for _, name, unit in sets]
    rows = []
    for group in study.groups:
        one = next(iter(group.members.values()))
        what = [text.role(one), text.layer_list(one.frozen)]
        if group.role == BEST:
            what = ["top-down", f"as {study.valid} decides"]
        rates = [text.spread(group.rates(key, unit).values()) for key, _, unit in sets]
        rows.append(Line([text.label(group), *what, str(len(group.members)), *rates]))
    note = "Error rates in percent, mean and sample standard deviation over the seeds."
    return Table("Means over the seeds", header, rows, len(sets) + 1, note)
