"""Switchboard transcripts: mark-up, words and acronyms as all published results have.

The transcripts are Mississippi State University's (``sw2001A-ms98-a-trans.text``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_SILENCE = re.compile(r"\s\[silence\](?=\s|$)", re.IGNORECASE)
_ASIDE = re.compile(r"</?[be]_aside>", re.IGNORECASE)
# One after the other, each on what the last one left.
_WORD_RULES = [
    (re.compile(pattern, re.IGNORECASE), new)
    for pattern, new in (
        (r"^\[laughter-(.+)\](-?)$", r"\1\2"),  # laughed while speaking
        (r"^\[(.+)/.+\](-?)$", r"\1\2"),  # said, not what was meant
        (r"^-?\[[^][]+\](.+)$", r"-\1"),  # the start was not spoken
        (r"^(.+)\[[^][]+\]-?$", r"\1-"),  # the end was not spoken
        (r"([^][]+)\[.+\]$", r"\1"),
        (r"^\{(.+)\}$", r"\1"),  # a word of the speaker's own
        (r"[a-z]\[([^][])+\][a-z]", r"\1-"),  # the middle: published data are so
        (r"_\d$", ""),  # a variant of the pronunciation
    )
]
# Letter names as the dictionary writes them, for letters that it has no entry for.
_NAMES = """A ey, B b iy, C s iy, D d iy, E iy, F eh f, G jh iy, H ey ch, I ay, J jh ey,
K k ey, L eh l, M eh m, N eh n, O ow, P p iy, Q k y uw, R aa r, S eh s, T t iy, U y uw,
V v iy, W d ah b ax l y uw, X eh k s, Y w ay, Z z iy"""
LETTERS = {name.strip()[0]: name.strip()[2:] for name in _NAMES.split(",")}
# Acronyms that the dictionary spells wrongly.
MISSPELT = ("NAACP", "NIT", "NTSC")


def clean(text: str) -> str:
    """The words of a transcript line, silences and marks of asides taken out.

    >>> clean("[silence] them_1 {alrighty} <b_aside> hold [laughter-on] <e_aside>")
    'them alrighty hold on'
    """
    kept = _ASIDE.sub("", _SILENCE.sub("", f" {text}"))
    return " ".join(map_word(word) for word in kept.split())


def map_word(word: str) -> str:
    """One word without the transcribers' brackets.

    >>> map_word("[laughter-w[ould]-]"), map_word("[it'n/isn't]"), map_word("[noise]")
    ('w-', "it'n", '[noise]')
    """
    for pattern, new in _WORD_RULES:
        word = pattern.sub(new, word, count=1)
    return word


def read_acronyms(lines: Iterable[str]) -> dict[str, str]:
    """Acronym -> how it is written, from the lines of the pronouncing dictionary.

    An acronym is a word of letters, perhaps with ``s`` or ``'s``, that is pronounced as
    the names of its letters.

    >>> read_acronyms(["MTV eh m t iy v iy", "TVs t iy v iy z", "them dh eh m"])["TVs"]
    't._v.s'
    """
    said: dict[str, set[str]] = {}
    for line in lines:
        word, *phones = line.split() or ["#"]
        if not word.startswith("#") and phones:
            said.setdefault(word, set()).add(" ".join(phones))
    names = {letter: {name} for letter, name in LETTERS.items()}
    names.update({w: p for w, p in said.items() if re.fullmatch("[A-Z]", w)})
    found = {letter: f"{letter.lower()}." for letter in names}
    for word in MISSPELT:
        found[word] = dotted(word)
    for word, phones in said.items():
        if re.fullmatch(r"[A-Za-z]+('?s)?", word):
            for spoken in phones:
                found.update(_acronym(word, spoken, names))
    return found


def _acronym(word: str, spoken: str, names: Mapping[str, set[str]]) -> dict[str, str]:
    stem, end = word, ""
    if word.endswith("s"):
        if spoken[-2:] not in (" s", " z"):
            return {}
        stem, end = (word[:-2], "'s") if word.endswith("'s") else (word[:-1], "s")
        spoken = spoken[:-2]
    rests = {spoken}
    for letter in stem.upper():
        rests = {
            rest[len(name) :].lstrip()
            for rest in rests
            for name in names[letter]
            if rest == name or rest.startswith(f"{name} ")
        }
    return {word: dotted(stem) + end} if "" in rests and stem else {}


def dotted(letters: str) -> str:
    """As acronyms are written.

    >>> dotted("IBM")
    'i._b._m.'
    """
    return "._".join(letters.lower()) + "."


def write_acronyms(text: str, acronyms: Mapping[str, str]) -> str:
    """A text in lower case, with dots in acronyms and in single letters.

    ``I`` is the letter only beside another single capital.

    >>> write_acronyms("i watch MTV", {"MTV": "m._t._v."})
    'i watch m._t._v.'
    """
    words = text.split()
    single = [len(w) == 1 and "A" <= w <= "Z" for w in words]
    out = []
    for i, word in enumerate(words):
        alone = word == "I" and not any(
            single[max(i - 1, 0) : i] + single[i + 1 : i + 2]
        )
        out.append(word if alone or word == "i" else acronyms.get(word, word))
    return " ".join(out).lower()


def undotted(text: str) -> str:
    """Acronyms as letters between blanks, as models are trained.

    >>> undotted("m._t._v. and t._v.s them_1")
    'm t v and t vs them'
    """
    return text.replace("._", " ").replace(".", "").replace("them_1", "them")


class Repetitions:
    """Chooses which of many equal sentences stay: the published training set.

    A sentence that occurs ``limit`` times or more is kept with a chance of
    ``limit`` / occurrences, by a generator that is the same everywhere.
    """

    def __init__(self, limit: int = 300) -> None:
        self.limit, self.state = limit, 0

    def keep(self, texts: Mapping[str, str]) -> list[str]:
        """The utterances that stay, in the order of ``texts``."""
        counts: dict[str, int] = {}
        for text in texts.values():
            key = " ".join(text.split())
            counts[key] = counts.get(key, 0) + 1
        return [
            utt
            for utt, text in texts.items()
            if self._stays(counts[" ".join(text.split())])
        ]

    def _stays(self, n: int) -> bool:
        if n < self.limit:
            return True
        self.state = (self.state + 103349) % 71147
        return self.state / 71147 < self.limit / n
