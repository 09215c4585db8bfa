"""Searches that differ in their seed alone: means, spreads, differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.errors import DATA, MISSING, TopDownError
from espnet_topdown.report import perplexities
from espnet_topdown.report.gains import counts_by_utterance
from espnet_topdown.report.measured import mean_and_deviation
from espnet_topdown.report.nodes import BASELINE, CONTROL, Node
from espnet_topdown.report.rows import SearchReport, read_search
from espnet_topdown.report.scores import Score
from espnet_topdown.scoring.bootstrap import paired_bootstrap
from espnet_topdown.scoring.counts import Counts, total
from espnet_topdown.scoring.units import check_same_utterances

BEST = "best"
Key = tuple[str, str]  # decoder and set, as in Score.key
_DO = "give finished searches that differ in the seed of their joint training alone"


@dataclass(frozen=True)
class Group:
    """The same kind of model in several searches, by the seed of joint training.

    `name` is that of the node, or `best`: what each search returned.
    """

    name: str
    role: str
    nodes: Mapping[int, Node]

    def scores(self, key: Key | None) -> dict[int, Score]:
        """Scores by seed on a set; None is the validation set."""
        found = {
            seed: node.valid if key is None else node.tests.get(key)
            for seed, node in self.nodes.items()
        }
        return {seed: score for seed, score in found.items() if score is not None}

    def rate(self, key: Key | None, unit: str) -> tuple[float, float | None, int]:
        """Mean and sample standard deviation of percentages, and of how many seeds.

        The mean is NaN where no seed has a score.
        """
        rates = [
            s.counts[unit].percent
            for s in self.scores(key).values()
            if unit in s.counts and s.counts[unit].ref
        ]
        if not rates:
            return float("nan"), None, 0
        return (*mean_and_deviation(rates), len(rates))


@dataclass(frozen=True)
class Difference:
    """A group minus joint training over the seeds that have both, in percent points.

    `low` and `high` bound the 95 % interval of a paired bootstrap: an utterance is
    drawn with its results of all seeds. None where single utterances are not known.
    `better` counts the seeds in which the group makes fewer errors.
    """

    group: Group
    seeds: tuple[int, ...]
    value: float
    better: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Seeds:
    """Searches by seed, and what they have in common."""

    searches: Mapping[int, SearchReport]
    groups: tuple[Group, ...]

    @property
    def first(self) -> SearchReport:
        """Stands for all where they agree."""
        return next(iter(self.searches.values()))

    @property
    def test_sets(self) -> tuple[Key, ...]:
        """The sets that any model was decoded on, as each search orders them."""
        return tuple(
            dict.fromkeys(k for s in self.searches.values() for k in s.test_sets)
        )

    @property
    def joint(self) -> Group:
        """Joint training."""
        return self.groups[0]


def read_seeds(folders: Sequence[Path]) -> Seeds:
    """Read searches; they may be unfinished.

    Raises:
        TopDownError: E_SEEDS where they are not of the same kind or have no seed of
            their own; and what `read_search` raises.
    """
    found: dict[int, SearchReport] = {}
    for folder in folders:
        search = read_search(folder)
        base = search.baseline
        if base is None or base.seed is None:
            what = f"{folder}: the seed of its joint training {search.base_exp}"
            raise TopDownError("E_SEEDS", f"{what} is not known", _DO, MISSING)
        if base.seed in found:
            what = f"{found[base.seed].folder} and {folder} have the same seed"
            raise TopDownError("E_SEEDS", f"{what}, {base.seed}", _DO, DATA)
        found[base.seed] = search
    if not found:
        raise TopDownError("E_SEEDS", "no search was given", _DO, MISSING)
    searches = dict(sorted(found.items()))
    _check_same_kind(list(searches.values()))
    return Seeds(searches, _groups(searches))


def _check_same_kind(searches: Sequence[SearchReport]) -> None:
    first = searches[0]
    if first.criterion == perplexities.CRITERION:
        what = f"{first.folder} is a search of language models"
        raise TopDownError("E_SEEDS", what, "use espnet-topdown lm_rows", DATA)
    kinds: dict[str, Callable[[SearchReport], object]] = {
        "layers": lambda s: s.layers,
        "criterion": lambda s: s.criterion,
        "decoder": lambda s: s.decoder,
        "validation set": _valid_size,
    }
    for search in searches[1:]:
        for name, of in kinds.items():
            if None not in (of(search), of(first)) and of(search) != of(first):
                what = f"{first.folder} and {search.folder} differ in their {name}"
                said = f"{what}: {of(first)} and {of(search)}"
                raise TopDownError("E_SEEDS", said, _DO, DATA)


def _valid_size(search: SearchReport) -> object:
    valid = search.baseline.valid if search.baseline else None
    counts = valid.counts.get(search.criterion) if valid else None
    return counts.ref if counts else None


def _groups(searches: Mapping[int, SearchReport]) -> tuple[Group, ...]:
    """Joint training, each retraining, the searches' best, the controls."""
    nodes: dict[tuple[str, str], dict[int, Node]] = {}
    for seed, search in searches.items():
        for node in search.nodes:
            if node.valid is not None:
                nodes.setdefault((node.role, node.name), {})[seed] = node
        if search.best_node is not None:
            nodes.setdefault((BEST, BEST), {})[seed] = search.best_node
    order = {BASELINE: 0, BEST: 2, CONTROL: 3}
    keys = sorted(nodes, key=lambda key: order.get(key[0], 1))
    groups = tuple(Group(name, role, nodes[role, name]) for role, name in keys)
    if not groups or groups[0].role != BASELINE:
        what = f"{next(iter(searches.values())).folder}: no joint model was scored"
        raise TopDownError("E_SEEDS", what, _DO, MISSING)
    return groups


def differences(seeds: Seeds, key: Key | None, unit: str) -> tuple[Difference, ...]:
    """Every other group minus joint training; groups without scores are left out."""
    base = seeds.joint.scores(key)
    found = []
    for group in seeds.groups[1:]:
        scores = group.scores(key)
        both = tuple(s for s in scores if s in base and unit in scores[s].counts)
        if both:
            pairs = [(scores[s], base[s]) for s in both]
            found.append(_difference(group, both, pairs, unit))
    return tuple(found)


def _difference(
    group: Group,
    both: tuple[int, ...],
    pairs: Sequence[tuple[Score, Score]],
    unit: str,
) -> Difference:
    ours = total(a.counts[unit] for a, _ in pairs)
    base = total(b.counts[unit] for _, b in pairs)
    better = sum(a.counts[unit].errors < b.counts[unit].errors for a, b in pairs)
    value = ours.percent - base.percent
    try:
        sides = [_summed([pair[i] for pair in pairs], unit) for i in (0, 1)]
    except TopDownError as e:
        if e.code not in ("E_MISSING", "E_UTT_SETS", "E_SCORE_DIFFERS"):
            raise
        return Difference(group, both, value, better)
    return Difference(group, both, value, better, *paired_bootstrap(*sides))


def _summed(scores: Sequence[Score], unit: str) -> dict[str, Counts]:
    """Counts of each utterance, over the seeds."""
    seen = [counts_by_utterance(score, unit) for score in scores]
    for other in seen[1:]:
        check_same_utterances(seen[0], other, ("one seed", "another"))
    return {utt: total(counts[utt] for counts in seen) for utt in seen[0]}
