"""From a prompt's transcript to words that a recogniser can be trained on."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_BRACKETS = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")
_PUNCTUATION = re.compile(r"[.,;:?!¿¡\"“”«»…–—\-_/]+")


class Unusable(ValueError):
    """The words spoken cannot be told from the transcript; the text says why."""


def normalise(
    text: str, letters: str, digits: Sequence[str], fold_accents: bool = False
) -> str:
    """Lower case, no punctuation, lone digits spelled; spelling errors stay.

    ``[noise]`` is taken away; a transcript with words both inside and outside of
    brackets is unusable, because the recordings do not agree on whether such words
    are spoken. So are numerals of more than one digit ("1234" may be read in many
    ways) and signs such as ``#``.

    >>> normalise("Oprima 1, por favor!", "abfimnoprtuv", ["cero", "uno"])
    'oprima uno por favor'
    """
    text = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    words = _outside_brackets(text)
    if re.search(r"\d[.,]\d", words):
        raise Unusable("numeral of unknown reading")
    tokens = _PUNCTUATION.sub(" ", words).split()
    spelled = [_word(token, letters, digits) for token in tokens]
    out = " ".join(token for token in spelled if token)
    if not out:
        raise Unusable("no speech")
    return _without_accents(out) if fold_accents else out


def _outside_brackets(text: str) -> str:
    outside = _BRACKETS.sub(" ", text)
    inside = "".join(_BRACKETS.findall(text))
    if not _has_word(outside):
        raise Unusable("no speech")
    if _has_word(inside):
        raise Unusable("words in brackets")
    return outside


def _has_word(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _word(token: str, letters: str, digits: Sequence[str]) -> str:
    if token in list("0123456789")[: len(digits)]:
        return digits[int(token)]
    if any(char.isdigit() for char in token):
        raise Unusable("numeral of unknown reading")
    token = token.strip("'")
    for char in token:
        if char not in letters:
            raise Unusable("sign or letter of unknown reading")
    return token


def _without_accents(text: str) -> str:
    """Vowels lose their accents; ``ñ``, ``ç`` and ``й`` are letters of their own."""
    marks = {"\u0300", "\u0301", "\u0302", "\u0308"}
    decomposed = unicodedata.normalize("NFD", text)
    plain = "".join(char for char in decomposed if char not in marks)
    return unicodedata.normalize("NFC", plain)
