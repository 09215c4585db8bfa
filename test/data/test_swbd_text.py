"""Switchboard's words and acronyms, against pairs that the usual scripts made."""

from __future__ import annotations

import pytest
from corpora import load

swbd = load("prepare_swbd")
clean = swbd.clean_transcript

WORDS = {
    "[LAUGHTER-STORY]": "STORY",
    "[laughter-i]-": "i-",
    "[it'n/isn't]": "it'n",
    "-[an]y": "-y",
    "[an]y": "-y",
    "ab[solute]-": "ab-",
    "AB[SOLUTE]": "AB-",
    "ex[specially]-/especially]": "ex",
    "{alrighty}": "alrighty",
    "ammu[n]it-": "ammn-t-",
    "y[ou]i-": "u--",
    "them_1": "them",
    "because_12": "because_12",
    "[lem[guini]-/linguini]": "lem-",
    "[laughter-w[ould]-]": "w-",
    "-[a]b[out]-": "-b-",
    "[tack/talking]-": "tack-",
    "-[40]1k": "-1k",
    "[noise]": "[noise]",
    "[vocalized-noise]": "[vocalized-noise]",
    "[laughter]": "[laughter]",
    "i-": "i-",
}
DICTIONARY = """file: made-up
# comment
MTV eh m t iy v iy
TV t iy v iy
TVs t iy v iy z
IBM ay b iy eh m
IBM's ay b iy eh m z
US y uw eh s
them_1 ax m
be b iy
so s ow
them dh eh m
TWAs t w aa z
""".splitlines()


@pytest.mark.parametrize("word, wanted", WORDS.items(), ids=str)
def test_words(word, wanted):
    assert swbd.map_word(word) == wanted


def test_lines():
    line = "[noise] them_1 {alrighty} [tranged/changed] <b_aside> hold on <e_aside>"
    assert clean(line) == "[noise] them alrighty tranged hold on"
    assert clean("hi um [laughter-yeah] w[ould]- talk") == "hi um yeah w- talk"
    assert clean("[silence]") == clean("[SILENCE] [silence]") == ""
    assert clean("so [silence] it") == "so it" and clean("x[silence]") == "x-"


@pytest.mark.parametrize(
    "text, dots, plain",
    [
        (
            "i watch MTV and TVs by IBM in the US A",
            "i watch m._t._v. and t._v.s by i._b._m. in the u._s. a.",
            "i watch m t v and t vs by i b m in the u s a",
        ),
        (
            "P I X or I am B I G",
            "p. i. x. or i am b. i. g.",
            "p i x or i am b i g",
        ),
        ("a b c I", "a b c i", "a b c i"),
        ("IBM's be so", "i._b._m.'s be so", "i b m's be so"),
        ("NAACP NIT NTSC", None, "n a a c p n i t n t s c"),
    ],
)
def test_acronyms(text, dots, plain):
    written = swbd.write_acronyms(text, swbd.read_acronyms(DICTIONARY))
    assert dots is None or written == dots
    assert swbd.undotted(written) == plain


def test_what_is_no_acronym():
    found = swbd.read_acronyms(DICTIONARY)
    assert not {"them", "be", "so", "TWAs", "them_1", "file:"} & set(found)
    assert found["A"] == "a." and len([k for k in found if len(k) == 1]) == 26


def test_the_dictionary_names_letters_its_own_way():
    lines = ["W d ah b y uw", "WWF d ah b y uw d ah b y uw eh f"]
    assert swbd.read_acronyms(lines)["WWF"] == "w._w._f."


def test_repetitions():
    """All rare ones stay; of the others the share that the limit gives."""
    texts = {f"u{i:04d}": "yeah" if i % 2 else f"text {i}" for i in range(1000)}
    texts["last"] = "text  2"
    kept = swbd.Repetitions(300).keep(texts)
    yeah = [u for u in kept if texts[u] == "yeah"]
    assert len(kept) - len(yeah) == 501 and kept == [u for u in texts if u in set(kept)]
    states, k = [], 0
    for _ in range(500):
        k = (k + 103349) % 71147
        states.append(k / 71147 < 300 / 500)
    utts = [u for u in texts if texts[u] == "yeah"]
    assert yeah == [u for u, s in zip(utts, states) if s]
    assert abs(len(yeah) - 300) < 5
    assert swbd.Repetitions(501).keep(texts) == list(texts)
