"""Text as numbers, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from espnet_topdown.data.words import read_ids, vocabulary, word_counts
from espnet_topdown.errors import TopDownError

TOKENS = ["a", "<unk>", "b", "<eos>"]


@pytest.mark.parametrize(
    "text, ids",
    [
        (b" a b \n\n<unk> b\n", [0, 2, 3, 3, 1, 2, 3]),
        (b"a\nb", [0, 3, 2, 3]),  # no line feed at the end
        (b"a\r\nb\r\n", [0, 3, 2, 3]),
    ],
)
def test_every_line_ends_with_eos(tmp_path: Path, text: bytes, ids: list) -> None:
    (tmp_path / "t").write_bytes(text)
    assert read_ids(tmp_path / "t", TOKENS).tolist() == ids


@pytest.mark.parametrize(
    "text, code, where",
    [
        (b"", "E_EMPTY", "t"),
        (b" \n\n", "E_EMPTY", "t"),
        (b"a\na c\n", "E_OOV", "t:2: 'c'"),
        (b"a\n\xff\n", "E_UTF8", "t line 2 byte 1"),
        (b"\xef\xbb\xbfa\n", "E_BOM", "t line 1"),
        (None, "E_MISSING", "t"),
    ],
)
def test_refused_texts(tmp_path: Path, text, code: str, where: str) -> None:
    if text is not None:
        (tmp_path / "t").write_bytes(text)
    with pytest.raises(TopDownError, match=code) as e:
        read_ids(tmp_path / "t", TOKENS)
    assert where in str(e.value)


def test_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("b b a\n a c <unk>\n")
    counts = word_counts([tmp_path / "t"])
    assert counts["<eos>"] == 2 and sum(counts.values()) == 8
    assert vocabulary(counts) == ["a", "b", "<unk>", "c", "<eos>"]
    assert vocabulary(counts, 2) == ["a", "b", "<unk>", "<eos>"]
    assert vocabulary(Counter({"<eos>": 1})) == ["<eos>"]
    (tmp_path / "t").write_text("a <eos>\n")
    with pytest.raises(TopDownError, match="E_TOKENS"):
        word_counts([tmp_path / "t"])
