"""NIST's trn files: ``tokens TAB (speaker-utterance)``, as asr.sh writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_topdown.data.kaldi_dir import c_sorted, read_lines, write_lines
from espnet_topdown.errors import DATA, TopDownError

_LINE = re.compile(r"(.*?)[ \t]*\(([^()\s]+)\)[ \t]*")


def trn_id(utt: str, utt2spk: Mapping[str, str]) -> str:
    """``speaker-utterance``; an utterance without a speaker is its own."""
    return f"{utt2spk.get(utt, utt)}-{utt}"


def write_trn(
    path: Path, tokens: Mapping[str, Sequence[str]], utt2spk: Mapping[str, str]
) -> None:
    """Write tokens by utterance id, sorted by it."""
    lines = (
        f"{' '.join(tokens[utt])}\t({trn_id(utt, utt2spk)})" for utt in c_sorted(tokens)
    )
    write_lines(path, lines)


def read_trn(path: Path) -> dict[str, list[str]]:
    """Tokens by ``speaker-utterance``, in the file's order.

    Raises:
        TopDownError: E_TRN for a line without an id or with one that was there before.
    """
    found: dict[str, list[str]] = {}
    for number, line in enumerate(read_lines(path), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            what = f"{path} line {number} does not end in '(speaker-utterance)'"
            raise TopDownError("E_TRN", what, "correct the line", DATA)
        text, name = match.groups()
        if name in found:
            what = f"{name} is twice in {path}, again in line {number}"
            raise TopDownError("E_TRN", what, "keep one of the lines", DATA)
        found[name] = text.split()
    return found
