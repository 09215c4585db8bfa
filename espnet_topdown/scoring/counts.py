"""Integer error counts of utterances, and the file that keeps them: ``counts.tsv``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from espnet_topdown.data.kaldi_dir import c_sorted, read_lines, write_lines
from espnet_topdown.errors import DATA, TopDownError

FILE = "counts.tsv"
HEAD = "utt\tref\tcorr\tsub\tdel\tins"


class Counts(NamedTuple):
    """Integer counts of one utterance, or of many added up."""

    ref: int = 0
    corr: int = 0
    sub: int = 0
    dele: int = 0
    ins: int = 0

    @property
    def errors(self) -> int:
        """What Algorithm 1 compares."""
        return self.sub + self.dele + self.ins

    @property
    def rate(self) -> float:
        """Errors per 100 reference tokens, for display only; NaN without any."""
        return 100.0 * self.errors / self.ref if self.ref else float("nan")

    def show(self, unit: str) -> str:
        """Return rate and counts in words.

        >>> Counts(20, sub=1, dele=2).show("cer")
        'CER 15.0 % (3 errors of 20)'
        """
        percent = 100 * self.errors / max(1, self.ref)
        return f"{unit.upper()} {percent:.1f} % ({self.errors} errors of {self.ref})"


class Likelihood(NamedTuple):
    """Of a text under a language model: its tokens, its negative logarithm in nats."""

    ref: int
    nll: float

    @property
    def errors(self) -> float:
        """What Algorithm 1 compares, in nats."""
        return self.nll

    @property
    def rate(self) -> float:
        """The perplexity: e to the mean nats of a token; NaN without any."""
        return math.exp(self.nll / self.ref) if self.ref else float("nan")

    def show(self, unit: str) -> str:
        """Return perplexity, nats and tokens in words.

        >>> Likelihood(2, 2.5).show("ppl")
        'PPL 3.49 (2.5 nats, 2 tokens)'
        """
        return f"{unit.upper()} {self.rate:.2f} ({self.nll} nats, {self.ref} tokens)"


UnitScore = Counts | Likelihood


def unit_score(raw: Mapping[str, int | float]) -> UnitScore:
    """What a search compares, of one unit of ``score.json``.

    Args:
        raw: "ref" and either "corr", "sub", "del" and "ins" or "nll", of a whole set.

    Returns:
        Its counts, or its likelihood.
    """
    if "nll" in raw:
        return Likelihood(int(raw["ref"]), float(raw["nll"]))
    return Counts._make(raw[name] for name in HEAD.split("\t")[1:])


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum over utterances.

    >>> total([Counts(ref=4, corr=3, sub=0, dele=1, ins=1), Counts(2, 1, 1, 0, 0)])
    Counts(ref=6, corr=4, sub=1, dele=1, ins=1)
    """
    often = Counter(counts).items()  # of a million utterances most are the same
    return Counts(*(sum(c[i] * n for c, n in often) for i in range(5)))


def summary(counts: Mapping[str, Counts]) -> dict[str, int]:
    """The integers of one unit in ``score.json``.

    Args:
        counts: By utterance id.

    Returns:
        ``ref``, ``corr``, ``sub``, ``del``, ``ins`` and ``err_utts``, the number of
        utterances with an error.
    """
    sums = dict(zip(HEAD.split("\t")[1:], total(counts.values())))
    return {**sums, "err_utts": err_utts(counts)}


def err_utts(counts: Mapping[str, Counts]) -> int:
    """Return the number of utterances with an error."""
    return sum(n for c, n in Counter(counts.values()).items() if c.errors)


def write_counts(folder: Path, counts: Mapping[str, Counts]) -> None:
    """Write ``counts.tsv`` into a folder: a line an utterance (or scored segment)."""
    rows = ([utt, *counts[utt]] for utt in c_sorted(counts))
    lines = ("\t".join(map(str, row)) for row in rows)
    write_lines(Path(folder) / FILE, [HEAD, *lines])


def read_counts(folder: Path) -> dict[str, Counts]:
    """Read what :func:`write_counts` wrote.

    Args:
        folder: For example ``decode_ctc_greedy/test/score_cer``.

    Returns:
        Counts by utterance id.

    Raises:
        TopDownError: E_MISSING (66) without the file; E_SCORE (65) for a line that is
            no utterance with five counts.
    """
    path = Path(folder) / FILE
    head, *lines = read_lines(path) or [""]
    counts: dict[str, Counts] = {}
    for number, line in enumerate(lines, 2):
        utt, *numbers = line.split("\t")
        good = len(numbers) == 5 and all(n.isdecimal() for n in numbers)
        if head != HEAD or not good or utt in counts:
            what = f"{path} line {number}: '{line[:80]}' is no utterance's counts"
            raise TopDownError("E_SCORE", what, "move it aside and score again", DATA)
        counts[utt] = Counts(*map(int, numbers))
    return counts
