"""What is counted: the characters (CER) or the words (WER) of a line of text.

Both are cut as ESPnet's asr.sh cuts them before it calls sclite: runs of blanks are
one blank; a blank between two words is a character of its own;
non-linguistic symbols such as ``<NOISE>`` are taken out, their blanks stay. The last
rule is that of ESPnet up to 202511 and of the numbers in the literature; 202611 makes
one blank of two that meet and drops those at the ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from espnet_topdown.data.kaldi_dir import read_lines
from espnet_topdown.errors import DATA, TopDownError


def _characters(text: str, nlsyms: Sequence[str] = ()) -> str:
    """Return the characters that are scored; ``write_scores`` names the blanks.

    >>> _characters("<NOISE> IT  IS", ["<NOISE>"])
    ' IT IS'
    """
    text = " ".join(text.split())
    if not nlsyms:
        return text
    longest_first = sorted(filter(None, nlsyms), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), "", text)


def _words(text: str, nlsyms: Sequence[str] = ()) -> list[str]:
    """Return the words that are scored.

    >>> _words("<NOISE> IT  IS", ["<NOISE>"])
    ['IT', 'IS']
    """
    if not nlsyms:
        return text.split()
    return [word for word in text.split() if word not in nlsyms]


UNITS: Mapping[str, Callable[..., Sequence[str]]] = {"cer": _characters, "wer": _words}


def read_nlsyms(path: Path | None) -> list[str]:
    """Return non-linguistic symbols, one a line; none without a file."""
    if path is None:
        return []
    return [line.strip() for line in read_lines(path) if line.strip()]


def check_same_utterances(
    ref: Mapping[str, object],
    hyp: Mapping[str, object],
    names: tuple[str, str] = ("reference", "hypothesis"),
) -> None:
    """Refuse two sides of which one lacks utterances of the other.

    Args:
        ref: By utterance id.
        hyp: By utterance id.
        names: Of the two, for the message.

    Raises:
        TopDownError: E_UTT_SETS (65), naming utterances; E_DEV_EMPTY (65).
    """
    if not ref:
        what = f"the {names[0]} has no utterance"
        raise TopDownError("E_DEV_EMPTY", what, "check the file", DATA)
    if ref.keys() != hyp.keys():
        lost, extra = sorted(set(ref) - set(hyp)), sorted(set(hyp) - set(ref))
        what = f"{names[1]} lacks {_some(lost)}, {names[0]} lacks {_some(extra)}"
        do = "decode the whole set again, or give the text that belongs to it"
        raise TopDownError("E_UTT_SETS", what, do, DATA)


def _some(utts: list[str]) -> str:
    more = ", ..." if len(utts) > 3 else ""
    return f"{len(utts)} ({', '.join(utts[:3])}{more})" if utts else "0"
