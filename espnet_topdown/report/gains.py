"""What the best model gained over another one, on sets that both were decoded on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.errors import TopDownError
from espnet_topdown.report.nodes import CANDIDATE, CONTROL, Node
from espnet_topdown.report.rows import SearchReport
from espnet_topdown.report.scores import Score
from espnet_topdown.scoring.align import align
from espnet_topdown.scoring.bootstrap import paired_bootstrap
from espnet_topdown.scoring.counts import FILE, Counts, read_counts, total
from espnet_topdown.scoring.sclite import read_trn
from espnet_topdown.scoring.units import check_same_utterances

REASONS = {
    "E_MISSING": "no counts of single utterances beside score.json",
    "E_UTT_SETS": "the two were not scored on the same utterances",
    "E_SCORE_DIFFERS": "what lies beside score.json is of another decoding",
}


@dataclass(frozen=True)
class Gain:
    """Best minus other, in percent points; below 0 the best model is better.

    `low` and `high` bound the 95 % bootstrap interval over utterances; where it could
    not be computed they are None and `why` is the code of the reason.
    """

    key: tuple[str, str]
    unit: str
    other: str
    best_counts: Counts
    other_counts: Counts
    low: float | None
    high: float | None
    why: str = ""

    @property
    def difference(self) -> float:
        """Percent points."""
        return self.best_counts.percent - self.other_counts.percent

    @property
    def reason(self) -> str:
        """Why there is no interval, in words."""
        return REASONS.get(self.why, self.why)

    @property
    def clear(self) -> bool:
        """Is 0 outside the interval?"""
        if self.low is None or self.high is None:
            return False
        return self.low > 0 or self.high < 0


def gains(search: SearchReport) -> tuple[Gain, ...]:
    """Best minus baseline, then best minus each control, on every test set.

    Where the baseline is the best it is compared with what was retrained and decoded.
    """
    best, base = search.best_node, search.baseline
    if best is None or base is None:
        return ()
    first = search.having(CANDIDATE) if best is base else (base,)
    others = (*first, *search.having(CONTROL))
    return tuple(
        gain
        for other in others
        for key in search.test_sets
        for unit in ("cer", "wer")
        for gain in _gain(best, other, key, unit)
    )


def _gain(best: Node, other: Node, key: tuple[str, str], unit: str) -> list[Gain]:
    a, b = best.tests.get(key), other.tests.get(key)
    if not a or not b or not _rated(a, unit) or not _rated(b, unit):
        return []
    low = high = None
    why = ""
    try:
        counts = [counts_by_utterance(s, unit) for s in (a, b)]
        low, high = paired_bootstrap(*counts)
    except TopDownError as e:
        why = e.code
    pooled = (a.counts[unit], b.counts[unit])
    return [Gain(key, unit, other.name, *pooled, low, high, why)]


def _rated(score: Score, unit: str) -> bool:
    return unit in score.counts and score.counts[unit].ref > 0


def counts_by_utterance(score: Score, unit: str) -> Mapping[str, Counts]:
    """Counts of each utterance, from the files that were scored.

    Raises:
        TopDownError: E_MISSING without the files; E_SCORE_DIFFERS where they do not
            add up to score.json: then one of the two is of another decoding.
    """
    folder: Path = score.folder / f"score_{unit}"
    if (folder / FILE).is_file():
        counts = read_counts(folder)
    else:  # scored by release 0.1.0
        ref, hyp = read_trn(folder / "ref.trn"), read_trn(folder / "hyp.trn")
        check_same_utterances(ref, hyp)
        counts = {utt: align(ref[utt], hyp[utt]) for utt in ref}
    if total(counts.values()) != score.counts[unit]:
        raise TopDownError(
            "E_SCORE_DIFFERS", f"{folder} is not what score.json counts", "score again"
        )
    return counts
