"""Which models to train next. Pure functions of the errors known so far.

A strategy is ``(space, errors) -> candidates``: every candidate returned may be trained
at once, an empty list ends the search. Errors are integer counts over the same
validation set, so that ``e' > e`` is exact; a tie continues, as in Algorithm 1.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from espnet_topdown.search.composition import Composition

Errors = Mapping[Composition, float]


@dataclass(frozen=True)
class Space:
    """What may be trained.

    Attributes:
        n: layers.
        max_frozen: at most this many are frozen.
        steps: how many layers may be frozen in all, after each retraining; for coarse
            groups of layers some numbers are left out. Empty allows every number.
        epochs: of joint training, whose classifiers are tried beside the best epoch's.
        width: of the beam.
        budget: retrainings at most, the joint model not counted; 0 is no limit.
    """

    n: int
    max_frozen: int
    steps: tuple[int, ...] = ()
    epochs: tuple[int, ...] = ()
    width: int = 2
    budget: int = 0

    @property
    def root(self) -> Composition:
        """Joint training."""
        return Composition((self.n,))

    def children(self, candidate: Composition) -> list[Composition]:
        """The retrainings that may follow, the smallest step first.

        Returns:
            Compositions within the space.
        """
        allowed = self.steps or range(self.n)
        return [
            c
            for c in candidate.children
            if c.n_frozen <= self.max_frozen and c.n_frozen in allowed
        ]

    def starts(self) -> list[Composition]:
        """The first retraining, with the classifier of each epoch that is tried.

        Returns:
            Compositions, of the best epoch first.
        """
        first = self.children(self.root)[:1]
        return [
            dataclasses.replace(c, epoch=e) for c in first for e in (0, *self.epochs)
        ]


Strategy = Callable[[Space, Errors], "list[Composition]"]


def greedy(space: Space, errors: Errors) -> list[Composition]:
    """Algorithm 1: freeze one layer more each time; stop when the error rises.

    >>> m = Composition.parse
    >>> s = Space(3, 2)
    >>> greedy(s, {}), greedy(s, {m("m3"): 9, m("m1.2"): 10})
    ([Composition(parts=(3,), epoch=0)], [])
    >>> [str(c) for c in greedy(s, {m("m3"): 9, m("m1.2"): 9})]
    ['m1.1.1']

    Returns:
        The next candidate; nothing at the end.
    """
    path = _chain(space, errors)
    return [path[-1]] if path[-1] not in errors else []


def full(space: Space, errors: Errors) -> list[Composition]:
    """Every composition, a level at a time; shared prefixes are trained once.

    Returns:
        The next candidates.
    """
    if space.root not in errors:
        return [space.root]
    return [
        child
        for candidate in sorted(errors, key=lambda c: (len(c.parts), c.parts))
        for child in space.children(candidate)
        if child not in errors
    ]


def epoch(space: Space, errors: Errors) -> list[Composition]:
    """One retraining for the classifier of each epoch.

    >>> m = Composition.parse
    >>> s = Space(3, 2, epochs=(7, 9))
    >>> [str(c) for c in epoch(s, {m("m3"): 9, m("m1.2@7"): 8})]
    ['m1.2', 'm1.2@9']

    Returns:
        The next candidates.
    """
    root = [space.root]
    return _by_level(space, errors, lambda g: space.starts() if g == root else [])


def layers_x_epochs(space: Space, errors: Errors) -> list[Composition]:
    """Algorithm 1 down from each epoch's classifier, a level at a time.

    Returns:
        The next candidates.
    """

    def grown(good: list[Composition]) -> list[Composition]:
        if good == [space.root]:
            return space.starts()
        return [child for c in good for child in space.children(c)[:1]]

    return _by_level(space, errors, grown)


def beam(space: Space, errors: Errors) -> list[Composition]:
    """The best ``width`` of each level are frozen further, in every way.

    Only models that are no worse than the one they came from go on.

    Returns:
        The next candidates.
    """

    def grown(good: list[Composition]) -> list[Composition]:
        return [child for c in good[: space.width] for child in space.children(c)]

    return _by_level(space, errors, grown)


# The untrained ones of the first unfinished level; the budget ends a level. The next is
# grown from the models that are no worse than where they came from, the best first.
def _by_level(
    space: Space,
    errors: Errors,
    grown: Callable[[list[Composition]], list[Composition]],
) -> list[Composition]:
    level, used = [space.root], 0
    while level:
        missing = [c for c in level if c not in errors]
        if missing:
            return missing
        good = [c for c in level if _no_worse(c, errors)]
        good.sort(key=lambda c: (errors[c], c))
        level = grown(good)
        if space.budget:
            level = level[: space.budget - used]
        used += len(level)
    return []


def _no_worse(candidate: Composition, errors: Errors) -> bool:
    return candidate.parent is None or errors[candidate] <= errors[candidate.parent]


# Algorithm 1's models; the last is untrained, worse, or the end.
def _chain(space: Space, errors: Errors) -> list[Composition]:
    path, more = [space.root], [space.root]
    while more and path[-1] in errors and _no_worse(path[-1], errors):
        more = space.children(path[-1])[:1]
        path += more
    return path


# name -> what it is, as help texts and the report say it
CONTROLS = {
    "joint": "all layers from scratch, for as many epochs as the whole path took",
    "long": "all layers from scratch, for twice the epochs, with a schedule for these",
    "warm": "the top layer copied from the joint training, but not frozen",
    "restart": "the joint model trained on, its optimizer and schedule begun anew",
    "random": "the top layer frozen at random initial values",
    "lowest": "the lowest layer frozen instead of the top one",
    "bottom_up": "layers frozen from the bottom, one more each time while it helps",
}

STRATEGIES: dict[str, Strategy] = {
    "greedy": greedy,
    "full": full,
    "epoch": epoch,
    "layers_x_epochs": layers_x_epochs,
    "beam": beam,
}
# option -> the strategies that go by it; others refuse it
TAKEN_BY = {
    "epochs": ("epoch", "layers_x_epochs"),
    "width": ("beam",),
    "budget": ("epoch", "layers_x_epochs", "beam"),
}


@dataclass(frozen=True)
class Outcome:
    """What a search found: the best model, how it got there, why it stopped."""

    best: Composition
    path: tuple[Composition, ...]
    reason: str


@functools.cache
def longest_search(strategy: str, space: Space) -> tuple[int, int]:
    """How many retrainings a search can need, and how many of them one after another.

    Too few for a strategy that would train more where a model is worse.

    >>> longest_search("greedy", Space(5, 4)), longest_search("full", Space(5, 4))
    ((4, 4), (15, 4))
    >>> longest_search("epoch", Space(5, 4, epochs=(10, 20)))
    (3, 1)
    >>> longest_search("beam", Space(5, 4, width=1))
    (10, 4)

    Returns:
        Both numbers.
    """
    errors: dict[Composition, float] = {}
    while batch := STRATEGIES[strategy](space, errors):
        for c in batch:  # never worse, and of a level what can go on longest is best
            errors[c] = c.n_frozen - c.n * len(c.parts)
    path = max(len(c.parts) for c in errors) - 1
    if space.budget:  # what one level leaves of it is spent below
        free = dataclasses.replace(space, budget=0)
        path = min(space.budget, longest_search(strategy, free)[1])
    return len(errors) - 1, path


def outcome(strategy: str, space: Space, errors: Errors) -> Outcome:
    """The result of a finished search.

    The best model has the fewest errors. Among equals, greedy takes the last accepted
    (Algorithm 1 sets M to M' on a tie), the others the one with the fewest trainings.

    Returns:
        The best model, its path and why the search ended.
    """
    if strategy == "greedy":
        return _greedy_outcome(space, errors)
    best = min(errors, key=lambda c: (errors[c], len(c.parts), c.parts, c.epoch))
    what = {"full": "compositions are"}.get(strategy, "models that were asked for are")
    reason = f"all {len(errors)} {what} trained"
    if space.budget and len(errors) > space.budget:
        reason = f"--budget {space.budget} is spent"
    return Outcome(best, best.ancestry, reason)


def _greedy_outcome(space: Space, errors: Errors) -> Outcome:
    path = [c for c in _chain(space, errors) if c in errors]
    last = path[-1]
    if not _no_worse(last, errors):
        best = path[-2]
        reason = f"{last} is worse: {errors[last]} > {errors[best]} errors"
        return Outcome(best, last.ancestry, reason)
    if last.n_frozen >= space.n - 1:
        reason = "every layer but the lowest is frozen"
    elif max(space.steps, default=space.n) > space.max_frozen:
        reason = f"--max_frozen {space.max_frozen} reached"
    else:
        reason = "every group of layers but the lowest is frozen"
    return Outcome(last, last.ancestry, reason)
