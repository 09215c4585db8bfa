from __future__ import annotations

import random

import pytest

from espnet_topdown.composition import Composition
from espnet_topdown.search import STRATEGIES, at_most, full, greedy, outcome

M = Composition.parse


def run(strategy, n, error_of, max_frozen=None):
    """What the driver does, without files: returns errors and rounds of candidates."""
    max_frozen = n - 1 if max_frozen is None else max_frozen
    errors, rounds = {}, []
    while True:
        batch = STRATEGIES[strategy](n, errors, max_frozen)
        if not batch:
            return errors, rounds, outcome(strategy, n, errors, max_frozen)
        assert not set(batch) & set(errors), "a finished candidate is never asked again"
        rounds.append(batch)
        errors.update({node: error_of(node) for node in batch})


def algorithm_1(n, chain):
    """The paper's pseudo-code, word for word; chain[i] is the error with i frozen."""
    best, e = 0, chain[0]
    for i in range(1, n):
        e_new = chain[i]
        if e_new > e:
            break
        best, e = i, e_new
    return best


@pytest.mark.parametrize(
    "errors, best, trained",
    [
        ([9, 8, 7, 6, 7], "m1.1.1.2", 5),  # the paper's seed 3
        ([9, 8, 7, 6, 5], "m1.1.1.1.1", 5),  # seeds 1 and 2
        ([9, 10, 0, 0, 0], "m5", 2),
        ([9, 9, 9, 9, 9], "m1.1.1.1.1", 5),  # ties continue
        ([9, 9, 10, 0, 0], "m1.4", 3),
    ],
)
def test_greedy_is_algorithm_1(errors, best, trained):
    done, _, result = run("greedy", 5, lambda c: errors[c.n_frozen])
    assert str(result.best) == best
    assert len(done) == trained


def test_greedy_equals_the_pseudo_code_on_random_errors():
    rng = random.Random(0)
    for _ in range(500):
        n = rng.randint(1, 8)
        chain = [rng.randint(0, 6) for _ in range(n)]
        _, _, result = run("greedy", n, lambda c, e=chain: e[c.n_frozen])
        assert result.best.n_frozen == algorithm_1(n, chain), chain


@pytest.mark.parametrize("n, levels", [(1, [1]), (3, [1, 2, 1]), (5, [1, 4, 6, 4, 1])])
def test_full_trains_every_composition_level_by_level(n, levels):
    errors, rounds, _ = run("full", n, lambda c: 1)
    assert [len(r) for r in rounds] == levels
    assert len(errors) == 2 ** (n - 1)
    for i, batch in enumerate(rounds[1:], start=1):
        assert all(c.parent in {x for r in rounds[:i] for x in r} for c in batch)


def test_full_takes_the_fewest_errors_then_the_fewest_trainings():
    table = {"m3": 5, "m1.2": 3, "m2.1": 4, "m1.1.1": 3}
    _, _, result = run("full", 3, lambda c: table[str(c)])
    assert str(result.best) == "m1.2"


@pytest.mark.parametrize("strategy", ["greedy", "full"])
@pytest.mark.parametrize("max_frozen", [0, 1, 2, 4])
def test_max_frozen_bounds_the_search(strategy, max_frozen):
    errors, _, result = run(strategy, 5, lambda c: 10 - c.n_frozen, max_frozen)
    assert all(c.n_frozen <= max_frozen for c in errors)
    assert len(errors) - 1 == at_most(strategy, 5, max_frozen)
    assert result.best.n_frozen == max_frozen


@pytest.mark.parametrize(
    "errors, max_frozen, reason",
    [
        ({"m3": 4, "m1.2": 5}, 2, "m1.2 is worse: 5 > 4 errors"),
        ({"m3": 4, "m1.2": 4}, 1, "--max_frozen 1 reached"),
        (
            {"m3": 4, "m1.2": 4, "m1.1.1": 3},
            2,
            "every layer but the lowest is frozen",
        ),
    ],
)
def test_the_reason_is_said(errors, max_frozen, reason):
    result = outcome("greedy", 3, {M(k): v for k, v in errors.items()}, max_frozen)
    assert result.reason == reason


def test_the_path_shows_the_rejected_model_last():
    result = outcome("greedy", 3, {M("m3"): 4, M("m1.2"): 5}, 2)
    assert [str(c) for c in result.path] == ["m3", "m1.2"]
    assert str(result.best) == "m3"


def test_strategies_do_not_change_what_they_are_given():
    errors = {M("m3"): 4}
    greedy(3, errors, 2), full(3, errors, 2)
    assert errors == {M("m3"): 4}
