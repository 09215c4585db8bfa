"""Text as the numbers of its words; every line ends with ``<eos>``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from espnet_topdown.data.kaldi_dir import read_lines
from espnet_topdown.errors import DATA, TopDownError

END, UNKNOWN = "<eos>", "<unk>"


def read_words(path: Path) -> Iterator[list[str]]:
    """The words of each line, without the end of the line.

    Args:
        path: A text.

    Returns:
        Words of one line after the other.

    Raises:
        TopDownError: E_EMPTY (65), and those of ``read_lines``.
    """
    lines = read_lines(path, as_espnet=True)
    if not any(line.strip() for line in lines):
        what = f"{path} holds no word"
        raise TopDownError("E_EMPTY", what, "get the corpus again", DATA)
    return (line.split() for line in lines)


def word_counts(paths: Iterable[Path]) -> Counter[str]:
    """How often each word is there; ``<eos>`` once a line.

    Args:
        paths: Texts.

    Returns:
        Word -> how often.

    Raises:
        TopDownError: E_TOKENS (65) for a text with ``<eos>`` in it, and those of
            ``read_words``.
    """
    counts: Counter[str] = Counter()
    for path in paths:
        for words in read_words(path):
            if END in words:
                do = "take that word out of the text: it is added to every line"
                raise TopDownError("E_TOKENS", f"{path} holds '{END}'", do, DATA)
            counts.update(words)
            counts[END] += 1
    return counts


def vocabulary(counts: Counter[str], min_count: int = 1) -> list[str]:
    """The words, most frequent first, ``<eos>`` last.

    Args:
        counts: See ``word_counts``.
        min_count: Rarer words are left out; ``<unk>`` never is.

    Returns:
        The words.

    >>> vocabulary(Counter({"b": 2, "a": 2, "<eos>": 9, "c": 1}), 2)
    ['a', 'b', '<eos>']
    """
    kept = [w for w, n in counts.items() if n >= min_count or w == UNKNOWN]
    kept = [w for w in kept if w != END]
    return [*sorted(kept, key=lambda w: (-counts[w], w)), END]


def check_vocabulary(tokens: Sequence[str], where: str) -> list[str]:
    """A list of words that a language model can use.

    Args:
        tokens: The list.
        where: What it is from, for the message.

    Returns:
        The list, as texts.

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

    Args:
        path: A text.
        tokens: The words, see ``vocabulary``.

    Returns:
        Shape (number of words and line ends,).

    Raises:
        TopDownError: E_OOV (65) with file and line; those of ``read_words``.
    """
    index = {t: i for i, t in enumerate(tokens)}
    end, ids = index[END], []
    for number, words in enumerate(read_words(path), 1):
        for word in words:
            if word not in index:
                what = f"{path}:{number}: '{word}' is not among the {len(tokens)} words"
                do = "make the token list from this text, or run stage data again"
                raise TopDownError("E_OOV", what, do, DATA)
            ids.append(index[word])
        ids.append(end)
    return np.array(ids, dtype=np.int64)
