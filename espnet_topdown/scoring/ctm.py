"""Hypotheses as NIST's CTM: a line a word, with times spread over the segment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from espnet_topdown.data.kaldi_dir import c_sorted
from espnet_topdown.errors import DATA, TopDownError

_UTT = re.compile(r"(\w+)_(\d+)-([A-Z])_(\d+)-(\d+)", re.ASCII)
# What the field takes out of hypotheses before it scores them.
_HESITATIONS = "UH UM EH MM HM AH HUH HA ER OOF HEE ACH EEE EW"
_REMOVED = re.compile(
    r"\[NOISE|LAUGHTER|VOCALIZED-NOISE\]|<UNK>|-$|\s(?:"
    + "|".join(_HESITATIONS.split())
    + r")$",
    re.IGNORECASE,
)


def ctm_lines(hypotheses: Mapping[str, str]) -> list[str]:
    """``file side start duration  WORD`` for every word, sorted by utterance.

    Words share a segment evenly; the last one takes the hundredths of a second that
    are left. An empty hypothesis has no line.

    Args:
        hypotheses: Utterance id such as ``en_4001-A_001015-001250`` -> words.

    Raises:
        TopDownError: E_HUB5_UTT for an id that does not say file, side and times.

    >>> ctm_lines({"en_4001-A_001015-001250": "he is"})
    ['en_4001 A 10.15 1.17  HE', 'en_4001 A 11.32 1.18  IS']
    """
    lines = []
    for utt in c_sorted(hypotheses):
        found = _UTT.fullmatch(utt)
        if found is None:
            what = f"utterance '{utt}' is not file-side_start-end"
            do = "score the set eval2000 that stage 1 wrote"
            raise TopDownError("E_HUB5_UTT", what, do, DATA)
        name, number, side = found.group(1, 2, 3)
        start, end = int(found.group(4)), int(found.group(5))
        words = hypotheses[utt].upper().split()
        step = (end - start) // max(len(words), 1)
        for i, word in enumerate(words):
            begin = start + i * step
            length = step if i + 1 < len(words) else end - begin
            head = f"{name}_{number} {side} {begin / 100:.2f} {length / 100:.2f}"
            lines.append(f"{head}  {word}")
    return lines


def scored(lines: Iterable[str]) -> list[str]:
    """CTM lines without noises, laughter, unknown words, hesitations and fragments.

    >>> scored(["f A 0.00 0.10  UH", "f A 0.10 0.10  UHU", "f A 0.20 0.10  W-"])
    ['f A 0.10 0.10  UHU']
    """
    return [line for line in lines if not _REMOVED.search(line)]
