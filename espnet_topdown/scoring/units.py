"""What is counted: the characters (CER) or the words (WER) of a line of text.

Both are cut as ESPnet's asr.sh cuts them before it calls sclite: runs of blanks are
one blank; a blank between two words is a character of its own, ``<space>``;
non-linguistic symbols such as ``<NOISE>`` are taken out, their blanks stay. The last
rule is that of ESPnet up to 202511 and of the numbers in the literature; 202611 makes
one blank of two that meet and drops those at the ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from espnet_topdown.data.kaldi_dir import read_lines
from espnet_topdown.errors import DATA, TopDownError

SPACE = "<space>"


def characters(text: str, nlsyms: Sequence[str] = ()) -> list[str]:
    """Return the characters that are scored.

    >>> characters("<NOISE> IT  IS", ["<NOISE>"])
    ['<space>', 'I', 'T', '<space>', 'I', 'S']
    """
    text = " ".join(text.split())
    longest_first = sorted((s for s in nlsyms if s and s in text), key=len)[::-1]
    if not longest_first:
        return [SPACE if c == " " else c for c in text]
    tokens, at = [], 0
    while at < len(text):
        symbol = next((s for s in longest_first if text.startswith(s, at)), None)
        if symbol is None:
            tokens.append(SPACE if text[at] == " " else text[at])
        at += len(symbol) if symbol else 1
    return tokens


def words(text: str, nlsyms: Sequence[str] = ()) -> list[str]:
    """Return the words that are scored.

    >>> words("<NOISE> IT  IS", ["<NOISE>"])
    ['IT', 'IS']
    """
    if not nlsyms:
        return text.split()
    return [word for word in text.split() if word not in nlsyms]


UNITS: Mapping[str, Callable[..., list[str]]] = {"cer": characters, "wer": words}


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
