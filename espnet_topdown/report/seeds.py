"""Searches that differ in their seed alone: means, spreads, differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.errors import DATA, MISSING, TopDownError
from espnet_topdown.report.rows import (
    MIN_UTTS,
    mean_and_deviation,
    utterance_counts,
)
from espnet_topdown.scoring.bootstrap import seeds_interval
from espnet_topdown.scoring.counts import Counts
from espnet_topdown.search.state import (
    CONTROL,
    JOINT,
    LIKELIHOOD,
    Candidate,
    Key,
    Score,
    SearchState,
    read_state,
)

BEST = "best"
_DO = "give finished searches that differ in the seed of their joint training alone"


@dataclass(frozen=True)
class Group:
    """The same kind of model in several searches, by the seed of joint training.

    ``name`` is the candidate's, or ``best``: what each search returned.
    """

    name: str
    role: str
    members: Mapping[int, Candidate]

    def scores(self, key: Key | None) -> dict[int, Score]:
        """Scores by seed on a set; None is the validation set."""
        found = {
            seed: member.valid if key is None else member.tests.get(key)
            for seed, member in self.members.items()
        }
        return {seed: score for seed, score in found.items() if score is not None}

    def rates(self, key: Key | None, unit: str) -> dict[int, float]:
        """Percentages by seed."""
        found = {s: v.counts.get(unit) for s, v in self.scores(key).items()}
        pairs = {s: c for s, c in found.items() if isinstance(c, Counts) and c.ref}
        return {seed: counts.percent for seed, counts in pairs.items()}

    def mean(self, key: Key | None, unit: str) -> tuple[float, float | None, int]:
        """Mean and sample standard deviation of percentages, and of how many seeds.

        The mean is NaN where no seed has a score.
        """
        rates = list(self.rates(key, unit).values())
        if not rates:
            return float("nan"), None, 0
        return (*mean_and_deviation(rates), len(rates))


@dataclass(frozen=True)
class Difference:
    """A group minus joint training over the seeds that have both, in percent points.

    Attributes:
        better: In how many seeds the group makes fewer errors.
        n: Utterances that the interval is over.
        low: With ``high``, the 95 % interval of the mean over seeds, see
            ``seeds_interval``; None where there is none, and ``why`` says the reason.
    """

    group: Group
    seeds: tuple[int, ...]
    value: float
    better: int
    n: int = 0
    low: float | None = None
    high: float | None = None
    why: str = ""

    @property
    def clear(self) -> bool | None:
        """Is 0 outside the interval? None over too few utterances, see ``rows``."""
        if self.low is None or self.high is None or self.n < MIN_UTTS:
            return None
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Seeds:
    """Searches by seed, and what they have in common."""

    searches: Mapping[int, SearchState]
    groups: tuple[Group, ...]

    @property
    def first(self) -> SearchState:
        """Stands for all where they agree."""
        return next(iter(self.searches.values()))

    @property
    def test_sets(self) -> tuple[Key, ...]:
        """The sets that any model was decoded on, as each search orders them."""
        keys = (k for s in self.searches.values() for k in s.test_sets)
        return tuple(dict.fromkeys(keys))

    @property
    def joint(self) -> Group:
        """Joint training."""
        return self.groups[0]


def read_seeds(folders: Sequence[Path]) -> Seeds:
    """Read searches; they may be unfinished.

    Raises:
        TopDownError: E_SEEDS where they are not of the same kind or have no seed of
            their own; and what ``read_state`` raises.
    """
    found: dict[int, SearchState] = {}
    for folder in folders:
        search = read_state(folder)
        seed = search.joint.seed if search.joint else None
        if seed is None:
            what = f"{folder}: the seed of its joint training {search.base_exp}"
            raise TopDownError("E_SEEDS", f"{what} is not known", _DO, MISSING)
        if seed in found:
            what = f"{found[seed].folder} and {folder} have the same seed, {seed}"
            raise TopDownError("E_SEEDS", what, _DO, DATA)
        found[seed] = search
    if not found:
        raise TopDownError("E_SEEDS", "no search was given", _DO, MISSING)
    searches = dict(sorted(found.items()))
    _check_same_kind(list(searches.values()))
    return Seeds(searches, _groups(searches))


def _check_same_kind(searches: Sequence[SearchState]) -> None:
    first = searches[0]
    if first.criterion == LIKELIHOOD:
        what = f"{first.folder} is a search of language models"
        raise TopDownError("E_SEEDS", what, "use espnet-topdown lm_rows", DATA)
    kinds: dict[str, Callable[[SearchState], object]] = {
        "layers": lambda s: s.layers,
        "criterion": lambda s: s.criterion,
        "decoder": lambda s: s.decoder,
        "validation set": _valid_size,
    }
    for search in searches[1:]:
        for name, of in kinds.items():
            if None not in (of(search), of(first)) and of(search) != of(first):
                what = f"{first.folder} and {search.folder} differ in their {name}"
                both = f"{what}: {of(first)} and {of(search)}"
                raise TopDownError("E_SEEDS", both, _DO, DATA)


def _valid_size(search: SearchState) -> object:
    valid = search.joint.valid if search.joint else None
    counts = valid.counts.get(search.criterion) if valid else None
    return counts.ref if counts else None


def _groups(searches: Mapping[int, SearchState]) -> tuple[Group, ...]:
    """Joint training, each retraining, the searches' best, the controls."""
    members: dict[tuple[str, str], dict[int, Candidate]] = {}
    for seed, search in searches.items():
        for candidate in search.candidates:
            if candidate.valid is not None:
                key = (candidate.role, candidate.name)
                members.setdefault(key, {})[seed] = candidate
        if search.best is not None:
            members.setdefault((BEST, BEST), {})[seed] = search.best
    order = {JOINT: 0, BEST: 2, CONTROL: 3}
    keys = sorted(members, key=lambda key: order.get(key[0], 1))
    groups = tuple(Group(name, role, members[role, name]) for role, name in keys)
    if not groups or groups[0].role != JOINT:
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
    counts = [(a.counts[unit], b.counts[unit]) for a, b in pairs]
    better = sum(a.errors < b.errors for a, b in counts)
    value, _ = mean_and_deviation([a.percent - b.percent for a, b in counts])
    if len(both) < 2:
        return Difference(group, both, value, better, why="one seed")
    try:
        ours, base = ([utterance_counts(p[i], unit) for p in pairs] for i in (0, 1))
        bounds = seeds_interval(ours, base)[1:]
    except TopDownError as e:
        return Difference(group, both, value, better, why=e.code)
    return Difference(group, both, value, better, len(ours[0]), *bounds)
