"""Compositions and strategies: what is trained next, given errors.

What each strategy asks for, round by round, is in test/golden (``traces``).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_topdown.errors import TopDownError
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.strategies import STRATEGIES, Space, longest_search, outcome

M = Composition.parse
CHAINS = st.lists(st.integers(0, 6), min_size=1, max_size=8)


def every(n: int) -> list[Composition]:
    found = [Composition((n,))]
    for one in found:
        found += [c for c in one.children if c not in found]
    return found


@given(st.integers(1, 8))
def test_the_tree_holds_every_composition_once(n):
    tree = every(n)
    assert len(set(tree)) == len(tree) == 2 ** (n - 1)
    assert sorted(c.rank for c in tree) == list(range(len(tree)))
    for c in tree:
        assert c.n == n and M(str(c)) == c
        assert all(child.parent == c for child in c.children)
        assert c.ancestry[0] == tree[0] and c.ancestry[-1] == c


@pytest.mark.parametrize(
    "text, n_frozen, parent, math",
    [
        ("m5", 0, None, "M_{5}"),
        ("m1.1.3", 2, "m1.4", "M_{1,1,3}"),
        ("m1.4@40", 1, "m5", "M_{1,4}^{(40)}"),
    ],
)
def test_words_of_the_paper(text, n_frozen, parent, math):
    found = M(text)
    assert (found.n_frozen, found.math) == (n_frozen, math)
    assert (str(found.parent) if found.parent else None) == parent


@pytest.mark.parametrize(
    "text", ["", "m", "5", "m0.5", "m1..4", "m1.4 ", "m-1", "m1/4"]
)
def test_text_that_is_no_composition(text):
    with pytest.raises(TopDownError, match="E_COMPOSITION.*write m1.4") as e:
        M(text)
    assert e.value.status == 64
    with pytest.raises(ValueError):
        Composition(tuple(-len(part) for part in text.split(".")))


def run(strategy, n, error_of, max_frozen=None, pick=list, **more):
    """What the driver does, without files: errors, what each round asked, outcome.

    ``pick`` takes those of a batch that end first.
    """
    space = Space(n, n - 1 if max_frozen is None else max_frozen, **more)
    errors, rounds = {}, []
    while batch := STRATEGIES[strategy](space, dict(errors)):
        assert not set(batch) & set(errors), "a finished candidate is never asked again"
        rounds.append(batch)
        errors.update((c, error_of(c)) for c in pick(batch))
    return errors, rounds, outcome(strategy, space, errors)


@given(CHAINS)
def test_greedy_is_algorithm_1(chain):
    """The paper's pseudo-code, word for word; chain[i] is the error with i frozen."""
    best, e = 0, chain[0]
    for i in range(1, len(chain)):
        e_new = chain[i]
        if e_new > e:
            break
        best, e = i, e_new
    errors, _, result = run("greedy", len(chain), lambda c: chain[c.n_frozen])
    assert result.best == Composition((*(1,) * best, len(chain) - best))
    assert len(errors) == min(best + 2, len(chain)), "one more shows that it is over"
    assert result.path == tuple(sorted(errors, key=lambda c: c.n_frozen))


@given(st.sampled_from(sorted(STRATEGIES)), st.randoms(use_true_random=False))
def test_the_order_in_which_trainings_end_changes_nothing(strategy, rng):
    value = {}

    def error(c):
        return value.setdefault(c, rng.randint(0, 3))

    space = {"epochs": (3,), "width": 2, "budget": 7}
    once = run(strategy, 5, error, **space)
    again = run(strategy, 5, error, pick=lambda b: [rng.choice(b)], **space)
    assert (once[0], once[2]) == (again[0], again[2])


@given(
    st.sampled_from(sorted(STRATEGIES)),
    st.integers(1, 6),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([(), (1, 4)]),
)
def test_a_search_stays_in_its_space(strategy, n, max_frozen, budget, steps):
    """Where nothing is ever worse, and what froze least is best of its level."""
    max_frozen = min(max_frozen, n - 1)
    limits = {"budget": budget, "epochs": (2, 3), "width": 2, "steps": steps}

    def error(c):
        return c.n_frozen - n * len(c.parts)

    errors, _, result = run(strategy, n, error, max_frozen, **limits)
    assert (
        len(errors) - 1 == longest_search(strategy, Space(n, max_frozen, **limits))[0]
    )
    assert all(c.n_frozen <= max_frozen for c in errors)
    assert all(c.n_frozen in (0, *steps) for c in errors if steps)
    assert result.best in errors and errors[result.best] == min(errors.values())
    if budget and strategy not in ("greedy", "full"):
        assert len(errors) - 1 <= budget
    if strategy in ("greedy", "full") and not steps:
        assert result.best.n_frozen == max_frozen


@given(
    st.sampled_from(sorted(STRATEGIES)),
    st.integers(1, 3),
    st.sampled_from([0, 5, 8]),
    st.sampled_from([(), (1, 3, 4)]),
    st.randoms(use_true_random=False),
)
def test_no_search_is_longer_than_was_said(strategy, width, budget, steps, rng):
    limits = {"epochs": (3,), "width": width, "budget": budget, "steps": steps}
    errors, *_ = run(strategy, 5, lambda c: rng.randint(0, 3), **limits)
    most, path = longest_search(strategy, Space(5, 4, **limits))
    assert len(errors) - 1 <= most
    assert max(len(c.parts) for c in errors) - 1 <= path


@pytest.mark.parametrize("n, levels", [(1, [1]), (3, [1, 2, 1]), (5, [1, 4, 6, 4, 1])])
def test_full_trains_every_composition_level_by_level(n, levels):
    errors, rounds, _ = run("full", n, lambda c: 1)
    assert [len(r) for r in rounds] == levels
    assert set(errors) == set(every(n))
    assert set(run("beam", n, lambda c: 1, width=99)[0]) == set(errors)


@pytest.mark.parametrize(
    "errors, space, best, path, reason",
    [
        ({"m3": 4, "m1.2": 5}, (3, 2), "m3", "m3 m1.2", "m1.2 is worse: 5 > 4 errors"),
        ({"m3": 4, "m1.2": 4}, (3, 1), "m1.2", "m3 m1.2", "--max_frozen 1 reached"),
        (
            {"m9": 4, "m1.8": 4},
            (9, 3, (1, 4)),
            "m1.8",
            "m9 m1.8",
            "--max_frozen 3 reached",
        ),
        (
            {"m3": 4, "m1.2": 4, "m1.1.1": 3},
            (3, 2),
            "m1.1.1",
            "m3 m1.2 m1.1.1",
            "every layer but the lowest is frozen",
        ),
        (
            {"m12": 9, "m1.11": 8, "m1.3.8": 7, "m1.3.4.4": 6},
            (12, 11, (1, 4, 8)),
            "m1.3.4.4",
            "m12 m1.11 m1.3.8 m1.3.4.4",
            "every group of layers but the lowest is frozen",
        ),
    ],
)
def test_why_a_search_ended(errors, space, best, path, reason):
    found = outcome("greedy", Space(*space), {M(k): v for k, v in errors.items()})
    names = " ".join(map(str, found.path))
    assert (str(found.best), names, found.reason) == (best, path, reason)
