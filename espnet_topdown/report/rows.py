"""What a report compares: units, and the best model against the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring.bootstrap import paired_bootstrap
from espnet_topdown.scoring.counts import FILE, Counts, read_counts, total
from espnet_topdown.scoring.score import recount
from espnet_topdown.search.state import (
    CANDIDATE,
    CONTROL,
    Amount,
    Candidate,
    Key,
    Likelihood,
    Score,
    SearchState,
)

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
        amount: What is summed over a set: errors, or nats.
        sign: Follows a rate.
    """

    name: str
    token: str
    amount: str = "errors"
    sign: str = " %"

    @property
    def label(self) -> str:
        """For example CER."""
        return self.name.upper()

    def rate(self, amount: Amount) -> float:
        """Errors of 100 reference tokens, or the perplexity; NaN without any token."""
        if not amount.ref:
            return float("nan")
        is_text = isinstance(amount, Likelihood)
        return amount.perplexity if is_text else amount.percent


UNITS = {
    "cer": Unit("cer", "chars"),
    "wer": Unit("wer", "words"),
    "ter": Unit("ter", "tokens"),
    "ppl": Unit("ppl", "tokens", "nats", ""),
}


def main_unit(search: SearchState) -> Unit:
    """The unit that the search decides by."""
    return UNITS[search.criterion] if search.criterion in UNITS else UNITS["cer"]


def units(search: SearchState) -> tuple[Unit, ...]:
    """The units to show: CER and WER, and the criterion if it is another."""
    if search.criterion == "ppl":
        return (UNITS["ppl"],)
    more = (UNITS["ter"],) if search.criterion == "ter" else ()
    return (UNITS["cer"], UNITS["wer"], *more)


def amount_of(score: Score | None, unit: Unit) -> Amount | None:
    """What a score says in a unit."""
    return score.counts.get(unit.name) if score else None


@dataclass(frozen=True)
class Comparison:
    """Best minus other, in percent points; below 0 the best model is better.

    Attributes:
        n: Utterances (or scored segments) that the interval is over; 0 without one.
        low: With ``high``, the bounds of the 95 % bootstrap interval over utterances;
            None where it could not be computed, and ``why`` is the code of the reason.
    """

    key: Key
    unit: Unit
    other: str
    best_counts: Counts
    other_counts: Counts
    n: int = 0
    low: float | None = None
    high: float | None = None
    why: str = ""

    @property
    def difference(self) -> float:
        """Percent points."""
        return self.best_counts.percent - self.other_counts.percent

    @property
    def clear(self) -> bool | None:
        """Is 0 outside the interval? None over fewer than ``MIN_UTTS`` utterances."""
        if self.low is None or self.high is None or self.n < MIN_UTTS:
            return None
        return self.low > 0 or self.high < 0


def comparisons(search: SearchState) -> tuple[Comparison, ...]:
    """Best minus joint training, then best minus each control, on every test set.

    Where joint training is the best it is compared with what was retrained.
    """
    best, joint = search.best, search.joint
    if best is None or joint is None:
        return ()
    first = search.having(CANDIDATE) if best is joint else (joint,)
    return tuple(
        found
        for other in (*first, *search.having(CONTROL))
        for key in search.test_sets
        for unit in (UNITS["cer"], UNITS["wer"])
        for found in _compare(best, other, key, unit)
    )


def _compare(
    best: Candidate, other: Candidate, key: Key, unit: Unit
) -> Sequence[Comparison]:
    scores = [s for s in (best.tests.get(key), other.tests.get(key)) if s]
    sums = [s.counts[unit.name] for s in scores if unit.name in s.counts]
    pooled = [c for c in sums if isinstance(c, Counts) and c.ref]
    if len(pooled) < 2:
        return ()
    start = (key, unit, other.name, *pooled)
    try:
        a, b = (utterance_counts(s, unit.name) for s in scores)
        return [Comparison(*start, len(a), *paired_bootstrap(a, b))]
    except TopDownError as e:
        return [Comparison(*start, why=e.code)]


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


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None for the latter of one value.

    >>> mean_and_deviation([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    squares = sum((v - mean) ** 2 for v in values)
    return mean, math.sqrt(squares / (len(values) - 1))
