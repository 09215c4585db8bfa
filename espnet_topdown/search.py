"""Which models to train next. Pure functions of the errors known so far.

A strategy is ``(n, errors, max_frozen) -> candidates``: every candidate returned may
be trained at once, an empty list ends the search. Errors are integer counts over the
same validation set, so that ``e' > e`` is exact; a tie continues, as in Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from espnet_topdown.composition import Composition

Errors = Mapping[Composition, int]
Strategy = Callable[[int, Errors, int], "list[Composition]"]


def greedy(n: int, errors: Errors, max_frozen: int) -> list[Composition]:
    """Algorithm 1: freeze one layer more each time; stop when the error rises.

    >>> m = Composition.parse
    >>> greedy(3, {}, 2), greedy(3, {m("m3"): 9, m("m1.2"): 10}, 2)
    ([Composition(parts=(3,))], [])
    >>> [str(c) for c in greedy(3, {m("m3"): 9, m("m1.2"): 9}, 2)]
    ['m1.1.1']
    """
    node = Composition((n,))
    while node in errors:
        if node.parent and errors[node] > errors[node.parent]:
            return []
        if node.n_frozen >= max_frozen or not node.children:
            return []
        node = node.children[0]
    return [node]


def full(n: int, errors: Errors, max_frozen: int) -> list[Composition]:
    """Every composition, a level at a time; shared prefixes are trained once."""
    root = Composition((n,))
    if root not in errors:
        return [root]
    return [
        child
        for node in sorted(errors, key=lambda c: (len(c.parts), c.parts))
        for child in node.children
        if child not in errors and child.n_frozen <= max_frozen
    ]


STRATEGIES: dict[str, Strategy] = {"greedy": greedy, "full": full}


@dataclass(frozen=True)
class Outcome:
    """What a search found: the best model, how it got there, why it stopped."""

    best: Composition
    path: tuple[Composition, ...]
    reason: str


def at_most(strategy: str, n: int, max_frozen: int) -> int:
    """How many retrainings a search can need, the joint model not counted.

    >>> at_most("greedy", 5, 4), at_most("full", 5, 4), at_most("full", 5, 1)
    (4, 15, 1)
    """
    if strategy == "greedy":
        return min(max_frozen, n - 1)
    return 2 ** min(max_frozen, n - 1) - 1


def outcome(strategy: str, n: int, errors: Errors, max_frozen: int) -> Outcome:
    """The result of a finished search.

    The best model has the fewest errors. Among equals, greedy takes the last accepted
    (Algorithm 1 sets M to M' on a tie), full the one with the fewest trainings.
    """
    if strategy == "greedy":
        return _greedy_outcome(n, errors, max_frozen)
    best = min(errors, key=lambda c: (errors[c], len(c.parts), c.parts))
    path = best.ancestry
    return Outcome(best, path, f"all {len(errors)} compositions are trained")


def _greedy_outcome(n: int, errors: Errors, max_frozen: int) -> Outcome:
    best = Composition((n,))
    while best.n_frozen < max_frozen and best.children:
        last = best.children[0]
        if last not in errors:
            break
        if errors[last] > errors[best]:
            reason = f"{last} is worse: {errors[last]} > {errors[best]} errors"
            return Outcome(best, last.ancestry, reason)
        best = last
    if not best.children:
        reason = "every layer but the lowest is frozen"
    else:
        reason = f"--max_frozen {max_frozen} reached"
    return Outcome(best, best.ancestry, reason)
