"""Subword token lists have the form that ESPnet's recipes give them."""

from __future__ import annotations

import pytest

from espnet_topdown.cli.main import main
from espnet_topdown.data.kaldi_dir import read_lines, write_pairs

TEXTS = {f"a-{i}": f"marque {word} para salir" for i, word in enumerate("abcdefgh")}


@pytest.fixture
def text(tmp_path):
    """A ``text`` list with an empty line in it."""
    write_pairs(tmp_path / "text", {**TEXTS, "b": ""})
    return tmp_path / "text"


def run(text, out, *options: str) -> list[str]:
    main(["token_list", "--input", str(text), "--output_dir", str(out), *options])
    return read_lines(out / "tokens.txt")


@pytest.mark.parametrize("mode", ["unigram", "bpe"])
def test_files_and_order(text, tmp_path, mode):
    out = tmp_path / "bpe"
    tokens = run(text, out, "--vocab_size", "20", "--bpemode", mode)
    assert len(tokens) == 20  # <unk> <s> </s> of sentencepiece became 3 of ESPnet
    assert tokens[:2] == ["<blank>", "<unk>"] and tokens[-1] == "<sos/eos>"
    pieces = [line.split("\t")[0] for line in read_lines(out / "bpe.vocab")]
    assert tokens[2:-1] == pieces[3:]
    assert read_lines(out / "train.txt") == list(TEXTS.values())


@pytest.mark.parametrize("as_file", [True, False])
def test_symbols_kept_whole_and_own_names(text, tmp_path, as_file):
    nlsyms = "<laugh>,<noise>"
    if as_file:
        (tmp_path / "nlsyms").write_text("<laugh>\n<noise>\n")
        nlsyms = str(tmp_path / "nlsyms")
    options = ["--vocab_size", "22", "--nlsyms", nlsyms, "--blank", "<b>"]
    tokens = run(text, tmp_path / "bpe", *options, "--oov", "<u>", "--sos_eos", "<s>")
    assert tokens[:4] == ["<b>", "<u>", "<laugh>", "<noise>"] and tokens[-1] == "<s>"


def test_too_many_tokens(text, tmp_path, refuses):
    refuses(lambda: run(text, tmp_path / "bpe", "--vocab_size", "9999"), 65, "E_BPE")
    assert list((tmp_path / "bpe").iterdir()) == []
