"""Is the difference of two systems' error rates more than chance?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np

from espnet_topdown.scoring.align import Counts, path
from espnet_topdown.scoring.units import check_same_utterances

_BLOCK = 2_000_000  # random numbers at a time, to bound memory
_SYSTEMS = ("system A", "system B")


def paired_bootstrap(
    a: Mapping[str, Counts],
    b: Mapping[str, Counts],
    n: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % interval of error rate A minus error rate B, in percent points.

    Utterances are drawn with replacement, the same ones for both systems (Bisani and
    Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
    ICASSP 2004). An interval without 0 is a difference.

    Args:
        a: Counts of system A by utterance, from ``score_pairs``.
        b: Counts of system B on the same references.
        n: How many sets are drawn.
        seed: The same seed gives the same interval.
    """
    check_same_utterances(a, b, _SYSTEMS)
    utts = sorted(a)
    ref = np.array([a[u].ref for u in utts], dtype=np.float64)
    diff = np.array([a[u].errors - b[u].errors for u in utts], dtype=np.float64)
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK // len(utts))
    rates: list[np.ndarray] = []
    for start in range(0, n, block):
        drawn = random.integers(len(utts), size=(min(block, n - start), len(utts)))
        tokens = ref[drawn].sum(1)
        rates.append(100.0 * diff[drawn].sum(1) / np.maximum(tokens, 1.0))
    low, high = np.percentile(np.concatenate(rates), [2.5, 97.5])
    return float(low), float(high)


@dataclasses.dataclass(frozen=True)
class Mapsswe:
    """Outcome of the matched pairs sentence segment word error test.

    Attributes:
        segments: Segments in which a system errs.
        mean: Mean of errors A - errors B a segment; below 0, A is better.
        z: Mean over its standard error; infinite if every segment differs alike.
        p: Two-sided probability of a larger |z| by chance.
    """

    segments: int
    mean: float
    z: float
    p: float


def mapsswe(
    ref: Mapping[str, Sequence[str]],
    a: Mapping[str, Sequence[str]],
    b: Mapping[str, Sequence[str]],
) -> Mapsswe:
    """NIST's MAPSSWE test (Gillick and Cox 1989) on tokens by utterance id.

    A segment opens where a system errs and ends after two tokens in a row that both
    have right, so errors in different segments can be taken as independent.
    """
    check_same_utterances(ref, a, ("reference", _SYSTEMS[0]))
    check_same_utterances(ref, b, ("reference", _SYSTEMS[1]))
    diffs: list[int] = []
    for utt in ref:
        diffs += segments(path(ref[utt], a[utt]), path(ref[utt], b[utt]))
    n = len(diffs)
    if n < 2:
        return Mapsswe(n, float(sum(diffs)), 0.0, 1.0)
    d = np.array(diffs, dtype=np.float64)
    mean, sd = float(d.mean()), float(d.std(ddof=1))
    z = mean / (sd / math.sqrt(n)) if sd else math.copysign(math.inf, mean)
    if mean == 0.0:
        z = 0.0
    return Mapsswe(n, mean, z, math.erfc(abs(z) / math.sqrt(2.0)))


def segments(ops_a: str, ops_b: str, good: int = 2) -> list[int]:
    """Errors of A minus errors of B in each segment of one utterance.

    Args:
        ops_a: Alignment of system A, from ``path``.
        ops_b: Alignment of system B with the same reference.
        good: Tokens right in both that end a segment.

    >>> segments("CSCCCDC", "CCCCCSIC")
    [1, -1]
    """
    found: list[int] = []
    diff, right, inside = 0, 0, False
    for is_token, x, y in zip(cycle((False, True)), _errors(ops_a), _errors(ops_b)):
        if x or y:
            diff, right, inside = diff + x - y, 0, True
        elif is_token:
            right += 1
            if inside and right == good:
                found.append(diff)
                diff, inside = 0, False
    return [*found, diff] if inside else found


def _errors(ops: str) -> list[int]:
    """Errors in every gap and at every reference token: gap, token, gap, ..., gap."""
    errors, inserted = [], 0
    for op in ops:
        if op == "I":
            inserted += 1
        else:
            errors += [inserted, int(op != "C")]
            inserted = 0
    return [*errors, inserted]
