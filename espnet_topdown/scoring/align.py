"""Alignment of a hypothesis with its reference, with the choices that sclite makes.

NIST's sclite weighs a substitution 4, an insertion 3 and a deletion 3. Where several
alignments cost the same it takes, going back from the end, a match or substitution
before an insertion before a deletion. So the counts agree, not only their sum.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from espnet_topdown.scoring.counts import Counts

SUB_COST = 4
GAP_COST = 3  # one insertion or one deletion


def align(
    ref: Sequence[str], hyp: Sequence[str], case_sensitive: bool = False
) -> Counts:
    """Count correct, substituted, deleted and inserted tokens.

    Args:
        ref: The tokens (characters or words) that were said.
        hyp: The tokens that were recognised.
        case_sensitive: False ignores the case of A-Z, and of no other letter: what
            sclite does unless it is told more.

    >>> align("a b c d".split(), "A x c d e".split())
    Counts(ref=4, corr=3, sub=1, dele=0, ins=1)
    """
    ops = path(ref, hyp, case_sensitive)
    return Counts(len(ref), *(ops.count(op) for op in "CSDI"))


def path(ref: Sequence[str], hyp: Sequence[str], case_sensitive: bool = False) -> str:
    """The alignment itself: one letter of ``C S D I`` a step.

    >>> path("a b c d".split(), "A x c d e".split())
    'CSCCI'
    """
    a, b = list(ref), list(hyp)
    if not case_sensitive:
        a, b = [fold(t) for t in a], [fold(t) for t in b]
    if a == b:
        return "C" * len(a)
    if not a or not b:
        return "D" * len(a) + "I" * len(b)
    ids: dict[str, int] = {}
    x, y = (np.array([ids.setdefault(t, len(ids)) for t in s]) for s in (a, b))
    equal = x[:, None] == y[None, :]
    return _trace_back(equal, _moves(equal))


@functools.lru_cache(maxsize=100_000)
def fold(token: str) -> str:
    """Lower-case A-Z only.

    >>> fold("ÁB")
    'Áb'
    """
    if token.isascii():
        return token.lower()
    return "".join(c.lower() if c.isascii() else c for c in token)


def _moves(equal: np.ndarray) -> np.ndarray:
    """The best last step into each cell: 0 diagonal, 1 insertion, 2 deletion.

    Costs are kept less GAP_COST for every token that was consumed on either side, so
    that gaps cost nothing and a row is the running minimum of what is above it.

    Args:
        equal: (R, H) which of R reference and H hypothesis tokens are the same.
    """
    n_ref, n_hyp = equal.shape
    gain = np.where(equal, -2 * GAP_COST, SUB_COST - 2 * GAP_COST)
    best = np.zeros((n_ref + 1, n_hyp + 1), dtype=gain.dtype)
    for above, row, diagonal in zip(best, best[1:, 1:], gain):
        np.add(above[:-1], diagonal, out=row)
        np.minimum(row, above[1:], out=row)
        np.minimum.accumulate(row, out=row)
    diagonal = best[1:, 1:] == best[:-1, :-1] + gain
    insertion = best[1:, 1:] == best[1:, :-1]
    return np.where(diagonal, 0, np.where(insertion, 1, 2)).astype(np.uint8)


def _trace_back(equal: np.ndarray, moves: np.ndarray) -> str:
    i, j = moves.shape
    width, steps, same = j, moves.tobytes(), equal.tobytes()
    ops = []
    while i and j:
        cell = (i - 1) * width + j - 1
        step = steps[cell]
        if step == 0:
            ops.append("C" if same[cell] else "S")
            i, j = i - 1, j - 1
        elif step == 1:
            ops.append("I")
            j -= 1
        else:
            ops.append("D")
            i -= 1
    return "D" * i + "I" * j + "".join(reversed(ops))
