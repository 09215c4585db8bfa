"""Text as the numbers of its words; every line ends with ``<eos>``."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from espnet_topdown.errors import DATA, MISSING, TopDownError

END, UNKNOWN = "<eos>", "<unk>"


def lines_of(path: Path) -> Iterator[list[str]]:
    """The words of each line, without the end of the line.

    Raises:
        TopDownError: E_MISSING (66), E_BOM, E_UTF8 or E_EMPTY (65).
    """
    path = Path(path)
    if not path.is_file():
        do = "run the stage that writes it, or start in the recipe's folder"
        raise TopDownError("E_MISSING", f"no text {path}", do, MISSING)
    data, number = path.read_bytes(), 0
    if data.startswith(b"\xef\xbb\xbf"):
        what = f"{path} line 1 starts with a byte order mark (U+FEFF)"
        do = f"run: sed -i '1s/^\\xef\\xbb\\xbf//' {shlex.quote(str(path))}"
        raise TopDownError("E_BOM", what, do, DATA)
    if not data.strip():
        raise TopDownError(
            "E_EMPTY", f"{path} holds no word", "get the corpus again", DATA
        )
    for number, line in enumerate(data.split(b"\n")[: _whole(data)], 1):
        try:
            yield line.decode("utf-8").split()
        except UnicodeDecodeError as e:
            what = f"{path}:{number} is not UTF-8 ({e.reason})"
            raise TopDownError("E_UTF8", what, "get the corpus again", DATA) from None


def _whole(data: bytes) -> int | None:
    """What follows the last line feed is a line only if there is something."""
    return -1 if data.endswith(b"\n") else None


def word_counts(paths: Iterable[Path]) -> Counter[str]:
    """How often each word is there; ``<eos>`` once a line."""
    counts: Counter[str] = Counter()
    for path in paths:
        for words in lines_of(path):
            if END in words:
                do = "take that word out of the text: it is added to every line"
                raise TopDownError("E_TOKENS", f"{path} holds '{END}'", do, DATA)
            counts.update(words)
            counts[END] += 1
    return counts


def vocabulary(counts: Counter[str], min_count: int = 1) -> list[str]:
    """The words, most frequent first, ``<eos>`` last.

    >>> vocabulary(Counter({"b": 2, "a": 2, "<eos>": 9, "c": 1}), 2)
    ['a', 'b', '<eos>']
    """
    kept = [w for w, n in counts.items() if n >= min_count or w == UNKNOWN]
    kept = [w for w in kept if w != END]
    return [*sorted(kept, key=lambda w: (-counts[w], w)), END]


def check_vocabulary(tokens: Sequence[str], where: str) -> list[str]:
    """A list of words that a language model can use.

    Raises:
        TopDownError: E_TOKENS (65): no ``<eos>`` at its end, a word that is there
            twice, or a symbol that would change the perplexity.
    """
    tokens, do = [str(t) for t in tokens], "make the token list again (stage tokens)"
    if not tokens or tokens[-1] != END:
        raise TopDownError("E_TOKENS", f"{where}: '{END}' is not last", do, DATA)
    if len(set(tokens)) != len(tokens):
        twice = next(t for t, n in Counter(tokens).items() if n > 1)
        raise TopDownError("E_TOKENS", f"{where}: '{twice}' is there twice", do, DATA)
    if "<blank>" in tokens:
        what = f"{where}: '<blank>' is no word and would take part in the perplexity"
        raise TopDownError("E_TOKENS", what, do, DATA)
    return tokens


def read_ids(path: Path, tokens: Sequence[str]) -> np.ndarray:
    """A text as the places of its words in the list, int64.

    Raises:
        TopDownError: E_OOV (65) with file and line; those of ``lines_of``.
    """
    index = {t: i for i, t in enumerate(tokens)}
    end, ids = index[END], []
    for number, words in enumerate(lines_of(path), 1):
        for word in words:
            if word not in index:
                raise TopDownError(
                    "E_OOV",
                    f"{path}:{number}: '{word}' is not among the {len(tokens)} words",
                    "make the token list from this text, or run stage data again",
                    DATA,
                )
            ids.append(index[word])
        ids.append(end)
    return np.array(ids, dtype=np.int64)
