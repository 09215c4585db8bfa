"""Transcripts of the Wall Street Journal corpus: ``.dot`` files and their mark-up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from espnet_topdown.files import read_text

NOISE = "<NOISE>"
_LINE = re.compile(r"(.*)\((\w{8})\)\s*", re.ASCII)
_SPELLED = {"%PERCENT": "PERCENT", ".POINT": "POINT", "--DASH": "-DASH"}
_DROPPED = re.compile(r"\[<\w+\]|\[\w+>\]|.*\[(\w+/|/\w+)\]|~|\.", re.ASCII)
_NOISE = re.compile(r"\[\w+\]", re.ASCII)
_DELETED = re.compile(r"<([\w']+)>", re.ASCII)  # taken back by the reader, yet heard


def normalise(text: str) -> str:
    r"""Words as all published results on this corpus have them.

    Noises within or beside words, ends of stretches, lone dots and tildes go; other
    noises become ``<NOISE>``, also where they are part of a word.

    >>> normalise(r"Ms\\. Lund said \\,COMMA [door_slam>] <stop> th[e]- ~")
    'MS. LUND SAID ,COMMA STOP <NOISE>'
    """
    tokens = text.upper().replace("\\", "").split()
    return " ".join(word for token in tokens for word in _word(token))


def _word(token: str) -> Iterator[str]:
    if _DROPPED.fullmatch(token):
        return
    if _NOISE.search(token):
        yield NOISE
        return
    deleted = _DELETED.fullmatch(token)
    yield deleted.group(1) if deleted else _SPELLED.get(token, token)


def read_dot(path: Path) -> dict[str, str]:
    """Utterance -> transcript as written, from lines ``words... (utterance)``.

    Other lines are left out. Utterance ids are in lower case.
    """
    found = (_LINE.fullmatch(line) for line in read_text(path).splitlines())
    return {m.group(2).lower(): m.group(1).strip() for m in found if m}


def non_linguistic(texts: Iterable[str]) -> list[str]:
    """The words with a ``<``: each is one unit for a character model.

    >>> non_linguistic(["A <NOISE> B", "<*IN*> <NOISE>"])
    ['<*IN*>', '<NOISE>']
    """
    return sorted({word for text in texts for word in text.split() if "<" in word})
