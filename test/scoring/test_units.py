from __future__ import annotations

import random

import pytest

from espnet_topdown.scoring.units import UNITS

NOISE = ["<NOISE>", "<*IN*>"]


@pytest.mark.parametrize(
    "text, nlsyms, chars, word_list",
    [
        ("", [], "", ""),
        ("A B", [], "A <space> B", "A B"),
        ("  A \t B  ", [], "A <space> B", "A B"),
        ("A <NOISE> B", NOISE, "A <space> <space> B", "A B"),
        ("<NOISE> CO", NOISE, "<space> C O", "CO"),
        ("A<NOISE>B", NOISE, "A B", "A<NOISE>B"),
        ("<NOISE>", NOISE, "", ""),
        ("<NOISE>", [], "< N O I S E >", "<NOISE>"),
        ("<N> X", ["<N>", "<"], "<space> X", "X"),  # the longest symbol wins
        ("año sí", [], "a ñ o <space> s í", "año sí"),
    ],
)
def test_units(text: str, nlsyms: list, chars: str, word_list: str) -> None:
    tokens = [c.replace("<space>", " ") for c in chars.split()]
    assert list(UNITS["cer"](text, nlsyms)) == tokens
    assert UNITS["wer"](text, nlsyms) == word_list.split()


@pytest.mark.espnet
def test_units_are_those_of_espnets_tokenizers() -> None:
    char = pytest.importorskip("espnet2.text.char_tokenizer").CharTokenizer
    word = pytest.importorskip("espnet2.text.word_tokenizer").WordTokenizer
    options = {"non_linguistic_symbols": NOISE, "remove_non_linguistic_symbols": True}
    char, word = char(**options), word(**options)
    merges = len(char.text2tokens("A <NOISE> B")) == 3  # since release 202611
    rng = random.Random(0)
    pieces = ["A", "b", " ", "  ", "<NOISE>", "<*IN*>", "<", ">", "<NO", "é", "{", "@"]
    for _ in range(300):
        text = "".join(rng.choices(pieces, k=rng.randrange(20)))
        line = " ".join(text.split())  # tokenize_text joins the fields of a line
        ours = UNITS["cer"](text, NOISE)
        if merges and any(symbol in line for symbol in NOISE):
            ours = " ".join(ours.split())
        assert [c.replace(" ", "<space>") for c in ours] == char.text2tokens(line)
        assert UNITS["wer"](text, NOISE) == word.text2tokens(line)
