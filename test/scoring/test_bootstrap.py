from __future__ import annotations

import math
import random

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring.bootstrap import paired_bootstrap, seeds_interval
from espnet_topdown.scoring.counts import Counts


def by_errors(errors: list[int], ref: int = 10) -> dict[str, Counts]:
    return {f"u{i}": Counts(ref, ref - e, e, 0, 0) for i, e in enumerate(errors)}


def test_bootstrap_of_a_constant_difference_is_that_difference() -> None:
    a, b = by_errors([3] * 20), by_errors([1] * 20)
    assert paired_bootstrap(a, b) == pytest.approx((20.0, 20.0))
    assert paired_bootstrap(b, a) == pytest.approx((-20.0, -20.0))
    assert paired_bootstrap(a, a) == (0.0, 0.0)


def test_bootstrap_is_near_the_normal_interval() -> None:
    rng = random.Random(1)
    a = by_errors([rng.randrange(4) for _ in range(400)])
    b = by_errors([rng.randrange(5) for _ in range(400)])
    d = [10.0 * (a[u].errors - b[u].errors) for u in a]
    mean = sum(d) / 400
    half = 1.96 * math.sqrt(sum((x - mean) ** 2 for x in d) / 399 / 400)
    low, high = paired_bootstrap(a, b, n=20_000)
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)


def test_bootstrap_depends_on_its_seed_alone() -> None:
    a, b = by_errors([1, 2, 3, 0, 5]), by_errors([2, 2, 1, 1, 4])
    assert paired_bootstrap(a, b, seed=1) == paired_bootstrap(a, b, seed=1)
    shuffled = {u: a[u] for u in sorted(a, reverse=True)}
    assert paired_bootstrap(shuffled, b, seed=1) == paired_bootstrap(a, b, seed=1)
    assert paired_bootstrap(a, b, 200, seed=1) != paired_bootstrap(a, b, 200, seed=2)


def test_bootstrap_in_blocks_is_as_in_one(monkeypatch) -> None:
    a, b = by_errors([1, 2, 3, 0, 5]), by_errors([2, 2, 1, 1, 4])
    whole = paired_bootstrap(a, b, n=1000)
    monkeypatch.setattr("espnet_topdown.scoring.bootstrap._BLOCK", 70)
    assert paired_bootstrap(a, b, n=1000) == whole


def test_systems_and_seeds_must_have_the_same_utterances() -> None:
    one, two = by_errors([1]), by_errors([1, 2])
    with pytest.raises(TopDownError, match="E_UTT_SETS.*system B lacks 1"):
        paired_bootstrap(two, one)
    with pytest.raises(TopDownError, match="E_UTT_SETS"):
        seeds_interval([two, one], [two, two])


def test_interval_over_seeds_as_by_hand() -> None:
    """Every utterance differs alike, so that only the seeds do: +10, +20 and +60."""
    b = [by_errors([1] * 20)] * 3
    a = [by_errors([n] * 20) for n in (2, 3, 7)]
    mean, low, high = seeds_interval(a, b)
    half = 4.302653 * math.sqrt(700.0 / 3)  # t(2); squares 400 + 100 + 900, over 2
    assert (mean, low, high) == pytest.approx((30.0, 30.0 - half, 30.0 + half))
    assert seeds_interval(b, a) == pytest.approx((-mean, -high, -low))


def test_interval_over_seeds_that_agree_is_that_of_utterances() -> None:
    """Half of the utterances differ by 1 of 10: of n, the mean varies by 25 / n."""
    a, b = by_errors([1, 0] * 50), by_errors([0] * 100)
    mean, low, high = seeds_interval([a, a], [b, b], n=40_000)
    assert mean == pytest.approx(5.0)
    assert (high - low) / 2 == pytest.approx(12.706205 * math.sqrt(0.25), rel=0.02)
