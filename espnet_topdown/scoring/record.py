"""What ``score.json`` says about a set of hypotheses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from espnet_topdown.scoring.align import Counts, align


def record(
    ref: Mapping[str, str],
    hyp: Mapping[str, str],
    units: Mapping[str, Callable[[str], list[str]]],
) -> dict[str, Any]:
    """Integer counts in each unit, and a digest of the hypotheses.

    Args:
        ref: Utterance id -> text that was said.
        hyp: Utterance id -> text that was recognised; the same ids.
        units: ``cer``, ``wer``, ``ter`` -> what cuts a text into scored tokens.
    """
    counts = {
        unit: {utt: align(cut(ref[utt]), cut(hyp[utt])) for utt in ref}
        for unit, cut in units.items()
    }
    return {
        "utts": len(ref),
        **{unit: summary(by_utt) for unit, by_utt in counts.items()},
        "hyp_sha256": hypothesis_digest(hyp),
    }


def summary(counts: Mapping[str, Counts]) -> dict[str, int]:
    """The integers of one unit; the error count is sub + del + ins."""
    values = list(counts.values())
    return {
        "ref": sum(c.ref for c in values),
        "corr": sum(c.corr for c in values),
        "sub": sum(c.sub for c in values),
        "del": sum(c.dele for c in values),
        "ins": sum(c.ins for c in values),
        "err_utts": sum(c.errors > 0 for c in values),
    }


def hypothesis_digest(text: Mapping[str, str]) -> str:
    """SHA-256 of the lines ``utterance text``, sorted by utterance."""
    lines = "".join(f"{utt} {text[utt]}\n" for utt in sorted(text))
    return hashlib.sha256(lines.encode()).hexdigest()
