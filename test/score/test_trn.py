from __future__ import annotations

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring.trn import read_trn, write_trn


def test_written_as_asr_sh_writes_them(tmp_path) -> None:
    tokens = {"b-1": ["B", "<space>", "("], "a-1": [], "é": ["x"]}
    write_trn(tmp_path / "x.trn", tokens, {"b-1": "spk"})
    text = (tmp_path / "x.trn").read_text(encoding="utf-8")
    assert text == "\t(a-1-a-1)\nB <space> (\t(spk-b-1)\nx\t(é-é)\n"
    want = {"a-1-a-1": [], "spk-b-1": ["B", "<space>", "("], "é-é": ["x"]}
    assert read_trn(tmp_path / "x.trn") == want


@pytest.mark.parametrize("text", ["A B\n", "A (x y)\n", "A\t(x)\nB\t(x)\n", "\n"])
def test_wrong_lines_are_named(tmp_path, text: str) -> None:
    (tmp_path / "x.trn").write_text(text)
    with pytest.raises(TopDownError, match="E_TRN.*x.trn.*line"):
        read_trn(tmp_path / "x.trn")


def test_reads_what_espnet_wrote(mini_an4) -> None:
    files = sorted(mini_an4.glob("exp/asr_*/decode_*/**/*.trn"))
    assert len(files) == 8
    for file in files:
        assert all("-" in name for name in read_trn(file))
