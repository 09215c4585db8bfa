"""Alignment of a hypothesis with its reference, with the choices that sclite makes.

NIST's sclite weighs a substitution 4, an insertion 3 and a deletion 3. Where several
alignments cost the same it takes, going back from the end, a match or substitution
before an insertion before a deletion. So the counts agree, not only their sum.

Utterances of like lengths share a table. The cells of an antidiagonal depend on the two
before only, so numpy goes through those of all utterances at once, and so it goes back.
Only a band of the table is made, twice as wide as needed for few errors. A path that
leaves it has more gaps than that; where the best one inside is not cheaper, the band
was too narrow and a wider one is made. Of a large table only some antidiagonals are
kept, and those between are computed again on the way back.

Shapes: B utterances of at most R reference and H hypothesis tokens.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from espnet_topdown.scoring.counts import Counts

_WINDOW = 1 << 14  # utterances that are sorted by length to share tables
_SHARE = 512  # utterances of one table
_WIDE = 1 << 15  # cells of its antidiagonals
_CELLS = 1 << 22  # that are kept, one byte each
_NARROW = (16, 4, 1)  # part of the longest side that a band is wide, one after another
_GAP, _EQUAL, _DELETED, _ODD, _END = 1, 2, 4, 8, 16  # bits of a cell
_LETTERS = np.frombuffer(b"SICISDCD" * 2 + b"\0", dtype=np.uint8)  # by these bits
Pair = tuple[Sequence[str], Sequence[str]]


def count(ops: str) -> Counts:
    """Return the counts of an alignment.

    >>> count("CSCCI")
    Counts(ref=4, corr=3, sub=1, dele=0, ins=1)
    """
    return _counts(*map(ops.count, "CSDI"))


@functools.lru_cache(maxsize=1 << 16)  # of a million utterances most are the same
def _counts(corr: int, sub: int, dele: int, ins: int) -> Counts:
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
        differ = [k for k, (ref, hyp) in enumerate(window) if ref != hyp]
        found = dict(zip(differ, _aligned([window[k] for k in differ], ids)))
        for k, (ref, _) in enumerate(window):
            yield found[k] if k in found else "C" * len(ref)


class _Ids(dict):  # type: ignore[type-arg]
    """A number for every token; the same for two that differ in the case of A-Z.

    So does sclite unless it is told more.
    """

    def __missing__(self, token: str) -> int:
        folded = fold(token)
        self[token] = number = len(self) if folded == token else self[folded]
        return number


def _aligned(pairs: Sequence[Pair], ids: _Ids) -> list[str]:
    tokens = _Tokens([*(ref for ref, _ in pairs), *(hyp for _, hyp in pairs)], ids)
    n_ref, n_hyp = tokens.lengths.reshape(2, -1)
    found = [""] * len(pairs)
    todo = np.lexsort((n_ref - n_hyp, n_hyp))
    for part in _NARROW:
        unsure = []
        for batch in _batches(todo, np.maximum(n_ref, n_hyp)[todo] // part + 5):
            ref, hyp = tokens.padded(batch), tokens.padded(batch + len(pairs))
            spare = max(len(ref), len(hyp)) // part + 4
            table = _Band(ref, n_ref[batch], hyp, n_hyp[batch], spare)
            steps = table.steps()
            width, letters = steps.shape[1], steps.tobytes().decode()
            for n, k in enumerate(batch.tolist()):
                found[k] = letters[n * width : (n + 1) * width].replace("\0", "")
            unsure.append(batch[~table.is_wide_enough()])
        todo = np.concatenate([todo[:0], *unsure])
    return found


class _Tokens:
    """The numbers of the tokens of many texts."""

    def __init__(self, texts: Sequence[Sequence[str]], ids: _Ids) -> None:
        self.lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        self.ends = self.lengths.cumsum()
        every = map(ids.__getitem__, itertools.chain.from_iterable(texts))
        numbers = np.fromiter(every, dtype=np.int32, count=self.lengths.sum())
        self.numbers = numbers.astype(np.min_scalar_type(len(ids)))

    def padded(self, batch: np.ndarray) -> np.ndarray:
        """Return (longest, B) tokens; what is below those of a text is not used."""
        lengths, ends = self.lengths[batch], self.ends[batch]
        at = np.arange(lengths.max())[:, None] + (ends - lengths)
        padded: np.ndarray = self.numbers.take(at, mode="clip")
        return padded


def _batches(order: np.ndarray, wide: np.ndarray) -> Iterator[np.ndarray]:
    """Utterances whose table has _WIDE cells an antidiagonal, or one has more."""
    start = 0
    while start < len(order):
        ahead = wide[start : start + _SHARE]
        most = np.arange(1, len(ahead) + 1) * np.maximum.accumulate(ahead)
        end = start + max(1, int((most <= _WIDE).sum()))
        yield order[start:end]
        start = end


class _Band:
    """A band of the tables of best scores of B utterances.

    A score is half of what an alignment costs less than gaps alone: 3 for a match, 1
    for a substitution, nothing for a gap. Cell (i, j) is on antidiagonal i + j. What
    is outside the band counts zero, or as its column did before: never more than it is
    worth, as a score only grows along a gap.

    Attributes:
        ref: (R, B) reference tokens, from the end on.
        hyp: (H, B) hypothesis tokens.
        n_ref: (B,) lengths.
        n_hyp: (B,) lengths.
        spare: Gaps of each kind that it has room for beside those that the lengths ask
            for.
        low: The least j - i.
        high: The largest j - i.
        score: (B,) of the whole utterances, when the table was made.
    """

    def __init__(
        self,
        ref: np.ndarray,
        n_ref: np.ndarray,
        hyp: np.ndarray,
        n_hyp: np.ndarray,
        spare: int,
    ) -> None:
        self.ref, self.hyp, self.n_ref, self.n_hyp = ref[::-1], hyp, n_ref, n_hyp
        more, self.spare = n_hyp - n_ref, spare
        self.low = int(min(0, more.min())) - spare
        self.high = int(max(0, more.max())) + spare
        self.score = np.zeros(len(n_ref), dtype=np.int64)

    def is_wide_enough(self) -> np.ndarray:
        """Return (B,) whether every path that leaves the band costs more.

        Then no cell outside lies on any of the best paths, so that all choices that
        are taken along one compare costs that are exact.
        """
        gaps = abs(self.n_hyp - self.n_ref) + 2 * self.spare + 2
        cost = 3 * (self.n_ref + self.n_hyp) - 2 * self.score
        enough: np.ndarray = cost < 3 * gaps
        return enough

    def steps(self) -> np.ndarray:
        """Return (B, steps) letters of the best paths, zeros between them."""
        side, last = len(self.n_ref), len(self.ref) + len(self.hyp)
        width = ((self.high - self.low) // 2 + 1) * side
        rows = min(last, max(_CELLS // width, 2 * math.isqrt(last)))
        kind = np.min_scalar_type(3 * min(len(self.ref), len(self.hyp)))
        tops = [np.zeros((2, len(self.hyp) + 1, side), dtype=kind)]
        parts = [range(at + 1, min(at + rows, last) + 1) for at in range(0, last, rows)]
        for part in parts[:-1]:
            tops.append(self._fill(tops[-1], part))
        table = np.zeros((rows + 2, width // side, side), dtype=np.uint8)
        table[:2] = _END  # the two antidiagonals before the part
        back = [2 * width, width + side, 2 * width, width + side]
        back += [2 * width, width, 2 * width, width]
        odd = [0, -side, 0, -side] * 2  # where its first column is one more
        jump = np.array([*back, *(a + b for a, b in zip(back, odd)), 0])
        corner = self.n_ref + self.n_hyp
        column = self.n_hyp - (corner + self.low + 1) // 2
        at = (corner - parts[-1][0] + 2) * width + column * side + np.arange(side)
        steps = []
        for part in reversed(parts):
            self._fill(tops.pop(), part, table[2:])
            while (at >= 2 * width).any():
                steps.append(table.take(at, mode="clip"))  # below 0: in a part before
                at -= jump[steps[-1]]
            at += rows * width
        letters: np.ndarray = _LETTERS[np.array(steps[::-1]).T]
        return letters

    def _fill(
        self, before: np.ndarray, part: range, table: np.ndarray | None = None
    ) -> np.ndarray:
        """Go through antidiagonals.

        Args:
            before: (2, H + 1, B) the two before.
            part: Their numbers.
            table: (rows, columns, B) gets the bits of each cell.

        Returns:
            (2, H + 1, B) the last two.
        """
        n_ref, n_hyp = len(self.ref), len(self.hyp)
        older, old = before.copy()
        new = np.zeros_like(old)
        for row, number in enumerate(part):
            start = (number + self.low + 1) // 2
            low = max(1, number - n_ref, start)
            high = min(number - 1, n_hyp, (number + self.high) // 2) + 1
            ref = self.ref[n_ref - number + low : n_ref - number + high]
            equal = (ref == self.hyp[low - 1 : high - 1]).view(np.uint8)
            match = equal.astype(old.dtype)
            match += match
            match += 1
            match += older[low - 1 : high - 1]
            left, cells = old[low - 1 : high - 1], new[low:high]
            np.maximum(match, old[low:high], out=cells)
            np.maximum(cells, left, out=cells)
            if table is not None:
                bits = table[row, low - start : high - start]
                deleted = (cells != left).view(np.uint8)
                np.add(deleted, deleted, out=bits)
                bits += equal
                bits += bits
                bits += (cells != match).view(np.uint8)
                if start <= 0 and number <= n_ref:
                    table[row, -start] = _GAP + _DELETED
                if number <= min(n_hyp, (number + self.high) // 2):
                    table[row, number - start] = _GAP
                if (number + self.low) % 2:
                    table[row] += _ODD
                here = np.flatnonzero(self.n_ref + self.n_hyp == number)
                self.score[here] = new[self.n_hyp[here], here]
            older, old, new = old, new, older
        return np.stack([older, old])
