"""Characters of a transcript that a reader does not see, or sees as others.

ESPnet makes a token of every character: of a no-break space, of a zero-width mark, and
two of a letter that is written composed (U+00E9) here and with a mark of its own
(U+0065 U+0301) there.
"""

from __future__ import annotations

import itertools
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from espnet_topdown.data.kaldi_dir import locate
from espnet_topdown.errors import DATA, TopDownError, warn

# Parts of words in Persian, Hindi and others, although they cannot be seen alone.
_JOINERS = "\u200c\u200d"
# Seen as nothing, or as a space, although Unicode counts them as letters or marks.
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U0001d159"
_BLANK += "\u180b\u180c\u180d\u180f" + "".join(map(chr, range(0xFE00, 0xFE10)))
_BLANK += "".join(map(chr, range(0xE0100, 0xE01F0)))  # variation selectors
# Seen, although Unicode counts them as format characters: they stand around numbers.
_SEEN = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"
_SEEN += "\U000110bd\U000110cd"
_DAMAGED = "\ufffd"
_MOST = 5  # characters that a message names


def _is_space(char: str) -> bool:
    """Whether it is seen as a space but is another character, or is a tab.

    Returns:
        False for the plain space; ``normalize_spaces`` replaces what is True.
    """
    return char == "\t" or (char != " " and unicodedata.category(char) == "Zs")


def _is_hidden(char: str) -> bool:
    """Whether no transcript can mean it: control, zero-width, ends of lines.

    Returns:
        False for a tab, joiners and the signs around numbers; what is True is an error.
    """
    kind = unicodedata.category(char)
    return kind in ("Cc", "Cf", "Zl", "Zp") and char not in _JOINERS + _SEEN + "\t"


def _is_odd(char: str) -> bool:
    """Whether a message should name it: what is hidden, blank, damaged or a space.

    Returns:
        True for more than ``_is_hidden``: also for what is only a warning.
    """
    if char.isascii() and char.isprintable():
        return False
    odd = _is_space(char) or _is_hidden(char) or char in _JOINERS + _BLANK + _DAMAGED
    return odd or unicodedata.category(char) in ("Co", "Cn")


def char_name(char: str) -> str:
    """A character in words.

    Args:
        char: One character.

    Returns:
        Its code and name.

    >>> char_name("\\u00a0")
    'U+00A0 NO-BREAK SPACE'
    """
    return f"U+{ord(char):04X} {unicodedata.name(char, '')}".rstrip()


def normalize_spaces(texts: dict[str, str], path: Path) -> dict[str, str]:
    """Texts of a list with plain spaces only; says what it changed.

    Args:
        texts: Utterance -> text.
        path: Where they are from, for messages.

    Returns:
        The same utterances; ``texts`` itself if there is nothing to change.

    Raises:
        TopDownError: E_TEXT_CHAR (65) for a character that cannot be seen.
    """
    check_hidden(texts, path)
    counts = _counted(texts, _is_space)
    if not counts:
        return texts
    warn("W_TEXT_SPACE", f"{path}: {_listed(counts)} written as plain spaces")
    spaces = re.compile("[" + "".join(map(re.escape, counts)) + "]")
    return {utt: spaces.sub(" ", text).strip() for utt, text in texts.items()}


def check_hidden(texts: Mapping[str, str], path: Path) -> None:
    """E_TEXT_CHAR (65), with the line, for a character that cannot be seen.

    Args:
        texts: Utterance -> text.
        path: Where they are from.

    Raises:
        TopDownError: E_TEXT_CHAR (65), with a command that deletes it.
    """
    counts = _counted(texts, _is_hidden)
    if counts:
        char = next(iter(counts))
        utt = next(u for u, text in texts.items() if char in text)
        octets = "".join(f"\\x{byte:02x}" for byte in char.encode())
        what = f"utt {utt} ({locate(path, utt)}) holds {char_name(char)}, "
        what += f"which cannot be seen; in the file: {_listed(counts)}"
        do = f"run: sed -i 's/{octets}//g' {shlex.quote(str(path))}"
        raise TopDownError("E_TEXT_CHAR", what, do, DATA)


def warn_unusual(texts: Mapping[str, str], path: Path) -> None:
    """W_TEXT_CHAR with the count of every character that is not seen as it is.

    Args:
        texts: Utterance -> text.
        path: Where they are from.
    """
    counts = _counted(texts, _is_odd)
    if counts:
        warn("W_TEXT_CHAR", f"{path} holds {_listed(counts)}, read as characters")


def _spellings(texts: Mapping[str, str]) -> tuple[set[str], dict[str, str]]:
    """How letters are written, to be compared over several sets.

    Returns:
        The characters of the texts as they are; and those that composing (NFC) would
        make of several, with an utterance of each.
    """
    plain: set[str] = set().union(*texts.values())
    composed: dict[str, str] = {}
    for utt, text in texts.items():
        if not unicodedata.is_normalized("NFC", text):
            for char in Counter(unicodedata.normalize("NFC", text)) - Counter(text):
                composed.setdefault(char, utt)
    return plain, composed


def warn_two_spellings(sets: Mapping[Path, Mapping[str, str]]) -> None:
    """W_TEXT_SPELLING for letters that the texts write in more than one way.

    Args:
        sets: List -> utterance -> text.
    """
    spelled = {path: _spellings(texts) for path, texts in sets.items()}
    plain = set().union(*(chars for chars, _ in spelled.values()))
    for path, (_, composed) in spelled.items():
        twice = sorted(plain & composed.keys())
        if twice:
            parts = [
                f"'{c}' as {char_name(c)} and as "
                f"{_codes(unicodedata.normalize('NFD', c))} (decomposed, {composed[c]})"
                for c in twice[:_MOST]
            ]
            more = f" and {len(twice) - _MOST} more" if len(twice) > _MOST else ""
            what = f"{path}: two spellings of one letter are two tokens: "
            warn("W_TEXT_SPELLING", what + ", ".join(parts) + more)


def _codes(text: str) -> str:
    return " ".join(f"U+{ord(char):04X}" for char in text)


def _counted(texts, wanted) -> dict[str, int]:  # type: ignore[no-untyped-def]
    # printable ASCII is never wanted, and quickly seen
    rest = (t for t in texts.values() if not (t.isascii() and t.isprintable()))
    counts = Counter(itertools.chain.from_iterable(rest))
    return {char: n for char, n in counts.most_common() if wanted(char)}


def _listed(counts: Mapping[str, int]) -> str:
    parts = [f"{n} x {char_name(char)}" for char, n in list(counts.items())[:_MOST]]
    more = f" and {len(counts) - _MOST} other characters" if len(counts) > _MOST else ""
    return ", ".join(parts) + more
