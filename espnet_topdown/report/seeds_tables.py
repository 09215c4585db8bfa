"""The tables over several seeds as plain text cells, and the sentence above them."""

from __future__ import annotations

from collections.abc import Sequence

from espnet_topdown.report import tables, words
from espnet_topdown.report.nodes import BASELINE, CONTROL, NOT_RUN
from espnet_topdown.report.seeds import BEST, Difference, Group, Key, Seeds, differences
from espnet_topdown.report.tables import Row, Table
from espnet_topdown.scoring.counts import Counts

MEANS_NOTE = (
    "Error rates in percent, mean and sample standard deviation over the seeds. The "
    "last three columns: that error rate on the last set minus that of joint training "
    "over the seeds that have both; below 0 is better. 95 % intervals by paired "
    "bootstrap, 10,000 draws, seed 0: an utterance is drawn with its results of all "
    "these seeds. So the interval says how much the choice of utterances matters, and "
    "the last column how far seeds agree."
)


def label(group: Group) -> str:
    """What a group of models is called."""
    if group.role == BASELINE:
        return "joint training"
    if group.role == BEST:
        return "best of the search"
    if group.role == CONTROL:
        return f"control: {group.name.partition('.')[2]}"
    return words.math(group.name)


def frozen(group: Group) -> str:
    """The layers that were frozen, where that is the same for all seeds."""
    if group.role == BEST:
        return "as dev decides"
    return words.layer_list(next(iter(group.nodes.values())).frozen)


def spread(mean: float, deviation: float | None, n: int) -> str:
    """Mean and deviation of percentages.

    >>> spread(17.432, 0.401, 3) == "17.43 \\u00b1 0.40"
    True
    >>> spread(17.0, None, 1), spread(float("nan"), None, 0)
    ('17.00', 'not run')
    """
    if not n:
        return NOT_RUN
    more = "" if deviation is None else f" \u00b1 {deviation:.2f}"
    return f"{mean:.2f}{more}"


def means(seeds: Seeds) -> Table:
    """One row a kind of model: means over the seeds, difference from joint training."""
    sets = _sets(seeds)
    unit = seeds.first.criterion
    shown = tables.units(seeds.first)
    header = ["model", "frozen", "seeds"]
    header += [f"{name} {u.upper()}" for name, _ in sets for u in shown]
    main = sets[-1][1]
    header += ["minus joint", "95 %", "better in"]
    found = {d.group.name: d for d in differences(seeds, main, unit)}
    rows = []
    for group in seeds.groups:
        cells = [frozen(group), str(len(group.nodes))]
        cells += [spread(*group.rate(key, u)) for _, key in sets for u in shown]
        rows.append(Row(label(group), (*cells, *_against(group, found))))
    numeric = len(header) - 2
    return Table(
        "Means over the seeds", tuple(header), tuple(rows), numeric, MEANS_NOTE
    )


def _sets(seeds: Seeds) -> list[tuple[str, Key | None]]:
    """Validation set, then test sets; the first test set last: it is compared on."""
    tests = [(tables.set_label(seeds.first, k), k) for k in seeds.test_sets]
    return [(tables.valid_label(seeds.first), None), *tests[1:], *tests[:1]]


def _against(group: Group, found: dict[str, Difference]) -> tuple[str, str, str]:
    if group.role == BASELINE:
        return ("", "", "")
    if group.name not in found:
        return (NOT_RUN,) * 3
    d = found[group.name]
    return (words.signed(d.value), interval(d), f"{d.better} of {len(d.seeds)}")


def interval(d: Difference) -> str:
    """The 95 % interval in words."""
    if d.low is None or d.high is None:
        return NOT_RUN
    return f"{words.signed(d.low)} to {words.signed(d.high)}"


def each_seed(seeds: Seeds) -> Table:
    """One row a model of a seed: errors, and what the search decided."""
    sets = _sets(seeds)
    unit = seeds.first.criterion
    header = ["seed", "model", "own seed", "epochs", "time", "result"]
    for name, _ in sets:
        header += [f"{name} errors", f"{name} {unit.upper()}"]
    rows = []
    for seed, search in seeds.searches.items():
        for node in search.nodes:
            if node.valid is None:
                continue
            cells = [words.math(node.name), str(node.seed), words.epochs(node)]
            known = node.seconds is not None
            cells.append(words.duration(node.seconds or 0) if known else NOT_RUN)
            cells.append(words.status(node, search.best))
            for _, key in sets:
                score = node.valid if key is None else node.tests.get(key)
                cells += _errors(score.counts.get(unit) if score else None)
            rows.append(Row(str(seed), tuple(cells)))
    note = "The seed is that of joint training; every retraining has its own."
    return Table("Each seed", tuple(header), tuple(rows), 2 * len(sets), note)


def _errors(counts: Counts | None) -> list[str]:
    if counts is None:
        return [NOT_RUN, NOT_RUN]
    return [str(counts.errors), words.percent(counts)]


def headline(seeds: Seeds) -> str:
    """What the searches gained on average, on the first test set if there is one."""
    unit = seeds.first.criterion
    name, key = _sets(seeds)[-1]
    best = next((g for g in seeds.groups if g.role == BEST), None)
    n = words.plural(len(seeds.searches), "seed")
    if best is None or not best.rate(key, unit)[2]:
        return f"No search of {n} has ended with a decoded model."
    found = {d.group.name: d for d in differences(seeds, key, unit)}
    d = found.get(BEST)
    if d is None:
        return f"Joint training was not decoded on {name}."
    rates = [g.rate(key, unit)[0] for g in (_of(seeds.joint, d), _of(best, d))]
    verb = "lowered" if d.value < 0 else "raised" if d.value > 0 else "left"
    change = f"from {rates[0]:.2f} % to {rates[1]:.2f} %"
    if verb == "left":
        change = f"at {rates[1]:.2f} %"
    said = (
        f"Over {words.plural(len(d.seeds), 'seed')} the search {verb} the "
        f"{unit.upper()} on {name} {change}, a difference of "
        f"{words.signed(d.value)} points"
    )
    if d.low is None or d.high is None:
        return f"{said}."
    zero = ", which includes zero" if d.low <= 0 <= d.high else ""
    return f"{said} (95 % interval {interval(d)}{zero})."


def _of(group: Group, d: Difference) -> Group:
    """The group's seeds that a difference is over."""
    return Group(group.name, group.role, {s: group.nodes[s] for s in d.seeds})


def evidence(seeds: Seeds) -> Sequence[str]:
    """What a reader must know beside the headline."""
    unit = seeds.first.criterion
    name, key = _sets(seeds)[-1]
    said = []
    for d in differences(seeds, key, unit):
        if d.group.role == BEST:
            continue
        n = words.plural(len(d.seeds), "seed")
        said.append(
            f"{label(d.group)} against joint training on {name}: "
            f"{words.signed(d.value)} points over {n}, better in {d.better}."
        )
    open_ones = [str(k) for k, s in seeds.searches.items() if not s.finished]
    if open_ones:
        said.append(f"Not finished: the search of seed {', '.join(open_ones)}.")
    lacking = [s for s in seeds.searches if s not in _controlled(seeds)]
    if lacking:
        which = ", ".join(map(str, lacking))
        said.append(f"Controls of seed {which}: {NOT_RUN}.")
    return said


def _controlled(seeds: Seeds) -> set[int]:
    return {s for g in seeds.groups if g.role == CONTROL for s in g.nodes}
