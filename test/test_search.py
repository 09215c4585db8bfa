from __future__ import annotations

import random

import pytest

from espnet_topdown.search.composition import Composition
from espnet_topdown.search.strategies import (
    STRATEGIES,
    Space,
    at_most,
    full,
    greedy,
    outcome,
)

M = Composition.parse


def run(strategy, n, error_of, max_frozen=None, **more):
    """What the driver does, without files: returns errors and rounds of candidates."""
    space = Space(n, n - 1 if max_frozen is None else max_frozen, **more)
    errors, rounds = {}, []
    while True:
        batch = STRATEGIES[strategy](space, errors)
        if not batch:
            return errors, rounds, outcome(strategy, space, errors)
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
    assert len(errors) - 1 == at_most(strategy, Space(5, max_frozen))
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
    result = outcome(
        "greedy", Space(3, max_frozen), {M(k): v for k, v in errors.items()}
    )
    assert result.reason == reason


def test_the_path_shows_the_rejected_model_last():
    result = outcome("greedy", Space(3, 2), {M("m3"): 4, M("m1.2"): 5})
    assert [str(c) for c in result.path] == ["m3", "m1.2"]
    assert str(result.best) == "m3"


def test_strategies_do_not_change_what_they_are_given():
    errors = {M("m3"): 4}
    greedy(Space(3, 2), errors), full(Space(3, 2), errors)
    assert errors == {M("m3"): 4}


def test_epoch_tries_every_classifier_once():
    table = {"m5": 9, "m1.4": 8, "m1.4@10": 9, "m1.4@40": 6}
    errors, rounds, result = run("epoch", 5, lambda c: table[str(c)], epochs=(10, 40))
    assert [[str(c) for c in r] for r in rounds] == [
        ["m5"],
        ["m1.4", "m1.4@10", "m1.4@40"],
    ]
    assert [str(c) for c in result.path] == ["m5", "m1.4@40"]


def test_layers_x_epochs_goes_down_from_every_epoch_while_it_gets_no_worse():
    table = {
        "m4": 9,
        "m1.3": 8,
        "m1.3@7": 10,
        "m1.3@8": 7,
        "m1.1.2": 9,
        "m1.1.2@8": 7,
        "m1.1.1.1@8": 6,
    }
    errors, rounds, result = run(
        "layers_x_epochs", 4, lambda c: table[str(c)], epochs=(7, 8)
    )
    assert {str(c) for c in errors} == set(table)
    assert str(result.best) == "m1.1.1.1@8"
    assert [len(r) for r in rounds] == [1, 3, 2, 1]


@pytest.mark.parametrize("strategy", ["epoch", "layers_x_epochs", "beam"])
@pytest.mark.parametrize("budget", [1, 2, 3, 5])
def test_a_budget_is_never_overspent(strategy, budget):
    errors, _, result = run(
        strategy, 6, lambda c: 9 - c.n_frozen, budget=budget, epochs=(3, 5)
    )
    assert len(errors) - 1 == min(budget, 3 if strategy == "epoch" else budget)
    assert result.best in errors


def test_the_budget_takes_the_most_promising_first():
    table = {"m3": 9, "m1.2": 9, "m1.2@4": 5}
    errors, _, _ = run(
        "layers_x_epochs", 3, lambda c: table.get(str(c), 1), epochs=(4,), budget=3
    )
    assert {str(c) for c in errors} == {*table, "m1.1.1@4"}


def test_a_beam_follows_the_best_of_each_level():
    def error(c):
        return {"m5": 50, "m1.4": 40, "m2.3": 30, "m3.2": 45, "m4.1": 60}.get(
            str(c), 35
        )

    errors, rounds, _ = run("beam", 5, error, width=2)
    assert {str(c) for c in rounds[2]} == {"m2.1.2", "m2.2.1"} | {
        "m1.1.3",
        "m1.2.2",
        "m1.3.1",
    }
    assert {c.parent for c in rounds[2]} == {M("m2.3"), M("m1.4")}


def test_a_beam_as_wide_as_the_tree_is_the_full_search():
    errors, _, _ = run("beam", 5, lambda c: 1, width=99)
    assert len(errors) == 16


def test_a_beam_does_not_go_on_from_a_worse_model():
    errors, _, result = run("beam", 5, lambda c: c.n_frozen, width=3)
    assert {str(c) for c in errors} == {"m5", "m1.4", "m2.3", "m3.2", "m4.1"}
    assert str(result.best) == "m5"


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_at_most_is_the_longest_search(strategy):
    space = {"epochs": (2, 3), "width": 2}
    errors, _, _ = run(strategy, 6, lambda c: -c.n_frozen, **space)
    assert len(errors) - 1 == at_most(strategy, Space(6, 5, **space))


def test_coarse_groups_leave_out_steps():
    errors, rounds, result = run("greedy", 12, lambda c: -c.n_frozen, steps=(1, 4, 8))
    assert [str(r[0]) for r in rounds] == ["m12", "m1.11", "m1.3.8", "m1.3.4.4"]
    assert result.reason == "every group of layers but the lowest is frozen"
    errors, _, _ = run("full", 12, lambda c: 1, steps=(1, 4, 8))
    assert len(errors) == 8


def test_a_search_goes_on_from_any_point():
    """Errors that arrive in any order lead to the same models."""
    rng = random.Random(1)
    for strategy in sorted(STRATEGIES):
        space = Space(5, 4, epochs=(3,), width=2, budget=7)
        value = {}

        def error(c, value=value):
            return value.setdefault(c, rng.randint(0, 3))

        ends = []
        for _ in range(5):
            errors = {}
            while batch := STRATEGIES[strategy](space, errors):
                node = rng.choice(batch)
                errors[node] = error(node)
            ends.append((frozenset(errors), outcome(strategy, space, errors)))
        assert len(set(ends)) == 1, strategy
