"""Is the difference of two systems' error rates more than chance?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from espnet_topdown.scoring.counts import Counts
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
