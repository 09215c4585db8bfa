"""What a report compares: models, alone or over seeds, in a unit, on a set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from espnet_topdown.errors import DATA, MISSING, TopDownError
from espnet_topdown.scoring.bootstrap import paired_bootstrap, seeds_interval
from espnet_topdown.scoring.counts import FILE, Counts, UnitScore, read_counts, total
from espnet_topdown.scoring.score import recount
from espnet_topdown.search.state import (
    CANDIDATE,
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
_SEEDS_DO = "give finished searches that differ in the seed of joint training alone"
MIN_UTTS = 30  # over fewer utterances an interval is shown, but no verdict is drawn

# Why there is no interval, by the code of the error.
REASONS = {
    "E_MISSING": "no counts of single utterances beside score.json; decode again",
    "E_UTT_SETS": "the two were not scored on the same utterances",
    "E_SCORE_DIFFERS": "what lies beside score.json is of another decoding",
    "E_SCORE": "the counts of single utterances are damaged; score again",
}


@dataclass(frozen=True)
class Unit:
    """What is counted and how a rate of it is written.

    Attributes:
        token: What the reference is counted in.
        counted: What is summed over a set: errors, or nats.
        sign: Follows a rate.
    """

    name: str
    token: str
    counted: str = "errors"
    sign: str = " %"

    @property
    def label(self) -> str:
        """For example CER."""
        return self.name.upper()

    def of(self, score: Score | None) -> UnitScore | None:
        """What a score says in this unit."""
        return score.counts.get(self.name) if score else None


UNITS = {
    "cer": Unit("cer", "chars"),
    "wer": Unit("wer", "words"),
    "ter": Unit("ter", "tokens"),
    "ppl": Unit("ppl", "tokens", "nats", ""),
}


def unit_of(search: SearchState) -> Unit:
    """What a search decides by."""
    return UNITS.get(search.criterion, UNITS["cer"])


def score_on(candidate: Candidate, key: Key | None) -> Score | None:
    """A model's score on a test set; None as the key is the validation set."""
    return candidate.valid if key is None else candidate.tests.get(key)


@dataclass(frozen=True)
class Group:
    """The same kind of model in each search, by the seed of joint training.

    ``name`` is the candidate's, or ``best``: what each of several searches returned.
    """

    name: str
    role: str
    members: Mapping[int | None, Candidate]

    def scores(self, key: Key | None, unit: Unit) -> dict[int | None, Score]:
        """Scores that have a reference in this unit."""
        scores = {s: score_on(c, key) for s, c in self.members.items()}
        return {s: x for s, x in scores.items() if x and (a := unit.of(x)) and a.ref}

    def rates(self, key: Key | None, unit: Unit) -> dict[int | None, float]:
        """Error rates or perplexities."""
        scores = self.scores(key, unit).items()
        return {s: x.counts[unit.name].rate for s, x in scores}


@dataclass(frozen=True)
class Study:
    """What a report is about: a search, or several that differ in their seed.

    Attributes:
        searches: By the seed of joint training.
        groups: Of the models that were scored: joint training, retrainings, of several
            searches what they returned, controls.
    """

    searches: Mapping[int | None, SearchState]
    groups: tuple[Group, ...]

    @property
    def several(self) -> bool:
        """Is it about seeds?"""
        return len(self.searches) > 1

    @property
    def first(self) -> SearchState:
        """The search, or the one that stands for all where they agree."""
        return next(iter(self.searches.values()))

    @property
    def unit(self) -> Unit:
        """What the search decides by."""
        return unit_of(self.first)

    @property
    def units(self) -> tuple[Unit, ...]:
        """CER and WER, and the criterion if it is another; or the perplexity alone."""
        if self.unit.name == LIKELIHOOD:
            return (self.unit,)
        return tuple(dict.fromkeys((UNITS["cer"], UNITS["wer"], self.unit)))

    @property
    def valid(self) -> str:
        """The name of the validation set."""
        candidates = (c for s in self.searches.values() for c in s.candidates)
        return next((c.valid.set for c in candidates if c.valid), "validation")

    @property
    def tests(self) -> dict[Key, str]:
        """The sets that any model was decoded on, and what they are called."""
        keys = dict.fromkeys(k for s in self.searches.values() for k in s.test_sets)
        several = len({decoder for decoder, _ in keys}) > 1
        return {(d, name): f"{name} ({d})" if several else name for d, name in keys}

    @property
    def sets(self) -> dict[Key | None, str]:
        """The validation set, then the others."""
        return dict([(None, self.valid), *self.tests.items()])

    @property
    def joint(self) -> Group | None:
        """Joint training."""
        return next(iter(self.with_role(JOINT)), None)

    @property
    def best(self) -> Group | None:
        """What the search returned, or each of the searches."""
        name = BEST if self.several else self.first.best_name
        return next((g for g in self.groups if g.name == name), None)

    def with_role(self, role: str) -> tuple[Group, ...]:
        """The groups of a role."""
        return tuple(g for g in self.groups if g.role == role)


def read_study(folders: Sequence[Path]) -> Study:
    """Read a search, or several of the same kind; they may be unfinished.

    Raises:
        TopDownError: E_SEEDS where several are not of the same kind or have no seed of
            their own, or no joint model was scored; and what ``read_state`` raises.
    """
    by_seed: dict[int | None, SearchState] = {}
    for search in map(read_state, folders):
        seed = search.joint.seed if search.joint else None
        if len(folders) > 1 and seed is None:
            what = f"{search.folder}: the seed of its joint training {search.base_exp}"
            raise TopDownError("E_SEEDS", f"{what} is not known", _SEEDS_DO, MISSING)
        if seed in by_seed:
            both = f"{by_seed[seed].folder} and {search.folder}"
            raise _not_seeds(f"{both} have the same seed, {seed}")
        by_seed[seed] = search
    searches = dict(sorted(by_seed.items())) if len(by_seed) > 1 else by_seed
    study = Study(searches, _groups(searches))
    if study.several:
        _check_same_kind(study)
    return study


def _not_seeds(what: str) -> TopDownError:
    return TopDownError("E_SEEDS", what, _SEEDS_DO, DATA)


def _check_same_kind(study: Study) -> None:
    first = study.first
    if study.unit.name == LIKELIHOOD:
        what = f"{first.folder} is a search of language models"
        do = "compare rows with several seeds: ./run.sh --row table4"
        raise TopDownError("E_SEEDS", what, do, DATA)
    kinds: dict[str, Callable[[SearchState], object]] = {
        "layers": lambda s: s.layers,
        "criterion": lambda s: s.criterion,
        "decoder": lambda s: s.decoder,
        "validation set": lambda s: _reference_length(s, study.unit),
    }
    for search in study.searches.values():
        for name, of in kinds.items():
            if None not in (of(search), of(first)) and of(search) != of(first):
                what = f"{first.folder} and {search.folder} differ in their {name}"
                raise _not_seeds(f"{what}: {of(first)} and {of(search)}")
    if study.joint is None:
        what = f"{first.folder}: no joint model was scored"
        raise TopDownError("E_SEEDS", what, _SEEDS_DO, MISSING)


def _reference_length(search: SearchState, unit: Unit) -> int | None:
    counts = unit.of(search.joint.valid) if search.joint else None
    return counts.ref if counts else None


def _groups(searches: Mapping[int | None, SearchState]) -> tuple[Group, ...]:
    members: dict[tuple[str, str], dict[int | None, Candidate]] = {}
    for seed, search in searches.items():
        scored = [c for c in search.candidates if c.valid is not None]
        keys = [(c.role, c.name, c) for c in scored]
        if len(searches) > 1 and search.best is not None:
            keys.append((BEST, BEST, search.best))
        for role, name, c in keys:
            members.setdefault((role, name), {})[seed] = c
    order = (JOINT, CANDIDATE, BEST, CONTROL)
    names = sorted(members, key=lambda key: order.index(key[0]))
    return tuple(Group(name, role, members[role, name]) for role, name in names)


@dataclass(frozen=True)
class Difference:
    """One kind of model minus another, over the seeds that have both.

    Attributes:
        rates: Means over the seeds; ``value`` is in percent points, below 0 the first
            is better.
        better: In how many seeds the first makes fewer errors.
        n: Utterances (or scored segments) that the interval is over; 0 without one.
        low: With ``high``, the bounds of the 95 % interval: of one seed by bootstrap
            over utterances, which holds it fixed; of more, over seeds and utterances.
            None where it could not be computed: then ``why`` is the code of the reason.
    """

    ours: Group
    other: Group
    key: Key | None
    unit: Unit
    seeds: tuple[int | None, ...]
    rates: tuple[float, float]
    better: int
    n: int = 0
    low: float | None = None
    high: float | None = None
    why: str = ""

    @property
    def value(self) -> float:
        """The difference."""
        return self.rates[0] - self.rates[1]

    @property
    def clear(self) -> bool | None:
        """Is 0 outside the interval? None over fewer than ``MIN_UTTS`` utterances."""
        if self.low is None or self.high is None or self.n < MIN_UTTS:
            return None
        return self.low > 0 or self.high < 0


def differences(study: Study) -> tuple[Difference, ...]:
    """What was decoded on every test set, best first.

    Of one search: the best model minus joint training and each control; where joint
    training is the best, minus what was retrained. Of several: all others minus joint
    training, then the best, and the first retraining, minus each control.
    """
    best, joint, controls = study.best, study.joint, study.with_role(CONTROL)
    if joint is None or (best is None and not study.several):
        return ()
    against = [(best, control) for control in controls if best]
    if study.several:
        others = [g for g in study.groups if g not in (best, joint)]
        pairs = [(g, joint) for g in ([best] if best else []) + others] + against
        pairs += [(g, c) for g in study.with_role(CANDIDATE)[:1] for c in controls]
    elif best is None or best is joint:
        pairs = [(joint, g) for g in study.with_role(CANDIDATE)] + against
    else:
        pairs = [(best, joint), *against]
    every = (
        compare(ours, other, key, unit)
        for ours, other in pairs
        for key in study.tests
        for unit in (UNITS["cer"], UNITS["wer"])
    )
    return tuple(d for d in every if d)


def compare(
    ours: Group, other: Group, key: Key | None, unit: Unit
) -> Difference | None:
    """A difference with its interval; None where no seed has both."""
    a, b = (group.scores(key, unit) for group in (ours, other))
    seeds = tuple(seed for seed in a if seed in b)
    if not seeds:
        return None
    sides = [[x[s].counts[unit.name] for s in seeds] for x in (a, b)]
    first, second = (fmean(counts.rate for counts in side) for side in sides)
    better = sum(x.errors < y.errors for x, y in zip(*sides))
    measured = (ours, other, key, unit, seeds, (first, second), better)
    try:
        counted = [[utterance_counts(x[s], unit.name) for s in seeds] for x in (a, b)]
        if len(seeds) > 1:
            bounds = seeds_interval(counted[0], counted[1])[1:]
        else:
            bounds = paired_bootstrap(counted[0][0], counted[1][0])
    except TopDownError as e:
        return Difference(*measured, why=e.code)
    return Difference(*measured, len(counted[0][0]), *bounds)


def utterance_counts(score: Score, unit: str) -> Mapping[str, Counts]:
    """Counts of each utterance that was scored.

    A folder of release 0.1.0 has no ``counts.tsv``; scoring counts its files again.

    Raises:
        TopDownError: E_MISSING without the files; E_SCORE_DIFFERS where they do not
            add up to score.json: then one of the two is of another decoding.
    """
    folder = score.folder / f"score_{unit}"
    counts = read_counts(folder) if (folder / FILE).is_file() else recount(folder)
    if total(counts.values()) != score.counts[unit]:
        what = f"{folder} is not what score.json counts"
        raise TopDownError("E_SCORE_DIFFERS", what, "score again")
    return counts


def empty_hypotheses(score: Score, unit: str) -> int:
    """In how many utterances of a set nothing was recognised, as far as is known."""
    try:
        counts = utterance_counts(score, unit)
    except TopDownError:  # only sums are known
        pooled = score.counts.get(unit)
        if not isinstance(pooled, Counts) or not pooled.ref:
            return 0
        return 0 if pooled.corr + pooled.sub + pooled.ins else score.utts or 0
    return sum(c.ref > 0 and not c.corr + c.sub + c.ins for c in counts.values())
