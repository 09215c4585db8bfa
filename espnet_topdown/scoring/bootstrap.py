"""Is the difference of two systems' error rates more than chance?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from espnet_topdown.scoring.counts import Counts, total
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
        a: Counts of system A by utterance, from ``count_set``.
        b: Counts of system B on the same references.
        n: How many sets are drawn.
        seed: The same seed gives the same interval.

    Returns:
        The two ends of the interval.

    Raises:
        TopDownError: E_UTT_SETS (65) for systems with different utterances.
    """
    low, high = np.percentile(_drawn(a, b, n, seed), [2.5, 97.5])
    return float(low), float(high)


def seeds_interval(
    a: Sequence[Mapping[str, Counts]],
    b: Sequence[Mapping[str, Counts]],
    n: int = 10_000,
) -> tuple[float, float, float]:
    """Mean over seeds of rate A minus rate B, and its 95 % interval, in percent points.

    ``mean +- t(S - 1) sqrt(s^2 / S + v)``: of ``S`` seeds, ``s`` is the sample standard
    deviation of their differences, ``t`` the quantile 0.975 of Student's distribution,
    and ``v`` the variance of the mean when utterances are drawn with replacement, the
    same ones for all systems and seeds. So it speaks of other trainings and of other
    utterances; :func:`paired_bootstrap` holds the trainings fixed.

    Args:
        a: Of each of two or more seeds, the counts of system A by utterance.
        b: Of the same seeds, the counts of system B on the same references.
        n: How many sets are drawn, always the same ones.

    Returns:
        The mean, and the two ends of the interval.

    Raises:
        TopDownError: E_UTT_SETS where the utterances are not the same.
    """
    from scipy.special import stdtrit  # here, as its import takes a second

    for other in (*a[1:], *b):
        check_same_utterances(a[0], other, ("one seed", "another"))
    pooled = [{u: total(x[u] for x in system) for u in a[0]} for system in (a, b)]
    rates = [[total(x.values()).rate for x in system] for system in (a, b)]
    differences = np.array(rates[0]) - np.array(rates[1])
    mean, s2 = differences.mean(), differences.var(ddof=1)
    v = _drawn(pooled[0], pooled[1], n, seed=0).var(ddof=1)
    half = stdtrit(len(a) - 1, 0.975) * np.sqrt(s2 / len(a) + v)
    return float(mean), float(mean - half), float(mean + half)


def _drawn(
    a: Mapping[str, Counts], b: Mapping[str, Counts], n: int, seed: int
) -> np.ndarray:
    """Return rate A minus rate B in each of ``n`` drawn sets."""
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
    return np.concatenate(rates)
