"""Alignment of a hypothesis with its reference, with the choices that sclite makes.

NIST's sclite weighs a substitution 4, an insertion 3 and a deletion 3. Where several
alignments cost the same it takes, going back from the end, a match or substitution
before an insertion before a deletion. So the counts agree, not only their sum.

What both sides begin and end with is cut off first. What is left of many utterances
goes through one table of costs at a time; of a long one only every n-th row is kept,
and those between are computed again on the way back.

Shapes: B utterances of at most R reference and H hypothesis tokens.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from espnet_topdown.scoring.counts import Counts

SUB_COST = 4
GAP_COST = 3  # one insertion or one deletion
_WINDOW = 4096  # utterances that are sorted by length to share tables
_CELLS = 1 << 21  # of a table; one byte each
Pair = tuple[Sequence[str], Sequence[str]]


def align(ref: Sequence[str], hyp: Sequence[str]) -> Counts:
    """Return the counts of correct, substituted, deleted and inserted tokens.

    Args:
        ref: The tokens (characters or words) that were said.
        hyp: The tokens that were recognised.

    >>> align("a b c d".split(), "A x c d e".split())
    Counts(ref=4, corr=3, sub=1, dele=0, ins=1)
    """
    return count(next(paths([(ref, hyp)])))


def count(ops: str) -> Counts:
    """Return the counts of an alignment.

    >>> count("CSCCI")
    Counts(ref=4, corr=3, sub=1, dele=0, ins=1)
    """
    corr, sub, dele, ins = map(ops.count, "CSDI")
    return Counts(corr + sub + dele, corr, sub, dele, ins)


def fold(token: str) -> str:
    """Return a token with A-Z, and no other letter, in lower case.

    >>> fold("ÁB")
    'Áb'
    """
    if token.isascii():
        return token.lower()
    return "".join(c.lower() if c.isascii() else c for c in token)


def paths(pairs: Iterable[Pair]) -> Iterator[str]:
    """Align pairs of reference and hypothesis.

    Args:
        pairs: Tokens of both sides; read a few thousand at a time.

    Yields:
        The alignment of each pair, in their order: one letter of ``C S D I`` a step.

    >>> list(paths([("abcd", "Axcde"), ("a", "a")]))
    ['CSCCI', 'C']
    """
    ids, pairs = _Ids(), iter(pairs)
    while window := list(itertools.islice(pairs, _WINDOW)):
        items = {
            k: _Item([ids[t] for t in ref], [ids[t] for t in hyp])
            for k, (ref, hyp) in enumerate(window)
            if ref != hyp
        }
        for batch in _batches([item for item in items.values() if item.i and item.j]):
            _align_batch(batch)
        for k, (ref, _) in enumerate(window):
            yield items[k].ops() if k in items else "C" * len(ref)


class _Ids(dict):  # type: ignore[type-arg]
    """A number for every token; the same for two that differ in the case of A-Z.

    So does sclite unless it is told more.
    """

    def __missing__(self, token: str) -> int:
        folded = fold(token)
        self[token] = number = len(self) if folded == token else self[folded]
        return number


class _Item:
    """One utterance on its way back from the end, at reference i and hypothesis j.

    A common end is always aligned. With a common beginning of n tokens the costs
    beyond it are the same as without it, but for the path along its border: there only
    gaps of one kind are missing, so each equal pair is a match and all else a gap.

    Attributes:
        ref: Numbers of the reference's tokens.
        hyp: Numbers of the hypothesis' tokens.
        start: Length of the common beginning.
        i: Reference tokens after it that are not aligned yet.
        j: Hypothesis tokens after it that are not aligned yet.
        steps: What was aligned, from the end on.
    """

    def __init__(self, ref: list[int], hyp: list[int]) -> None:
        shorter = min(len(ref), len(hyp))
        end = start = 0
        while end < shorter and ref[-1 - end] == hyp[-1 - end]:
            end += 1
        while start < shorter - end and ref[start] == hyp[start]:
            start += 1
        self.ref, self.hyp, self.start = ref, hyp, start
        self.i, self.j = len(ref) - end - start, len(hyp) - end - start
        self.steps = ["C" * end]
        if self.i == self.j == 1:
            self.steps.append("S")
            self.i = self.j = 0

    def middle(self) -> tuple[list[int], list[int]]:
        """Return the tokens of both sides that are not aligned yet."""
        at = self.start
        return self.ref[at : at + self.i], self.hyp[at : at + self.j]

    def step_back(self, moves: bytes, width: int, first: int) -> None:
        """Follow the moves of the rows from ``first`` on, each of ``width`` bytes."""
        i, j, at = self.i, self.j, self.start - 1
        ref, hyp, add = self.ref, self.hyp, self.steps.append
        while i > first and j:
            move = moves[(i - 1 - first) * width + j - 1]
            if move == 0:
                add("C" if ref[at + i] == hyp[at + j] else "S")
                i, j = i - 1, j - 1
            elif move == 1:
                add("I")
                j -= 1
            else:
                add("D")
                i -= 1
        self.i, self.j = i, j

    def ops(self) -> str:
        """Return the whole alignment, when no table is needed any more."""
        i, j = self.start + self.i, self.start + self.j
        while i and j and i != j:
            if self.ref[i - 1] == self.hyp[j - 1]:
                self.steps.append("C")
                i, j = i - 1, j - 1
            else:
                self.steps.append("I" if j > i else "D")
                i, j = i - (i > j), j - (j > i)
        rest = "C" * i if i == j else "D" * i + "I" * j
        return rest + "".join(reversed(self.steps))


def _batches(items: list[_Item]) -> Iterator[list[_Item]]:
    """Items of like lengths, whose common table has at most _CELLS cells."""
    batch: list[_Item] = []
    rows = 0
    for item in sorted(items, key=lambda item: (item.j, item.i)):
        rows = max(rows, item.i)
        if batch and (len(batch) + 1) * rows * item.j > _CELLS:
            yield batch
            batch, rows = [], item.i
        batch.append(item)
    if batch:
        yield batch


def _align_batch(items: list[_Item]) -> None:
    """Bring all items to a border of their table."""
    sides = list(zip(*(item.middle() for item in items)))
    ref, hyp = (_padded(side, pad) for side, pad in zip(sides, (-1, -2)))
    n_ref, n_hyp = ref.shape[1], hyp.shape[1]
    step = max(_CELLS // (len(items) * n_hyp), 2 * math.isqrt(n_ref))
    small = 2 * GAP_COST * min(n_ref, n_hyp) < np.iinfo(np.int16).max
    kind = np.int16 if small else np.int32
    tops = [np.zeros((len(items), n_hyp + 1), dtype=kind)]
    starts = range(0, n_ref, step)
    for first in starts[1:]:
        tops.append(_last_row(tops[-1], ref[:, first - step : first], hyp))
    for first in reversed(starts):
        width = max(item.j for item in items)
        part, hyp = ref[:, first : first + step], hyp[:, :width]
        moves = np.empty((len(items), part.shape[1], width), dtype=np.uint8)
        _last_row(tops.pop()[:, : width + 1], part, hyp, moves)
        for item, table in zip(items, moves):
            item.step_back(table.tobytes(), width, first)


def _padded(sides: Sequence[list[int]], pad: int) -> np.ndarray:
    array = np.full((len(sides), max(map(len, sides))), pad, dtype=np.int32)
    for row, side in zip(array, sides):
        row[: len(side)] = side
    return array


def _last_row(
    above: np.ndarray, ref: np.ndarray, hyp: np.ndarray, moves: np.ndarray | None = None
) -> np.ndarray:
    """Go through rows of the tables of least costs.

    Costs are kept less GAP_COST for every token that was consumed on either side, so
    that gaps cost nothing and a row is the running minimum of what is above it.

    Args:
        above: (B, H + 1) the row before the first.
        ref: (B, rows) reference tokens.
        hyp: (B, H) hypothesis tokens.
        moves: (B, rows, H) gets the best last step into each cell: 0 diagonal,
            1 insertion, 2 deletion.

    Returns:
        (B, H + 1) the last row.
    """
    match, sub = above.dtype.type(-2 * GAP_COST), above.dtype.type(SUB_COST - 6)
    above, row = above.copy(), np.zeros_like(above)
    for k in range(ref.shape[1]):
        diagonal = np.where(hyp == ref[:, k : k + 1], match, sub)
        diagonal += above[:, :-1]
        cells = row[:, 1:]
        np.minimum(diagonal, above[:, 1:], out=cells)
        np.minimum.accumulate(cells, axis=1, out=cells)
        if moves is not None:
            gap = cells != diagonal
            np.add(gap, gap & (cells != row[:, :-1]), out=moves[:, k], dtype=np.uint8)
        above, row = row, above
    return above
