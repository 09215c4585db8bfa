"""Switchboard's words and acronyms, eval2000's segments: tables of single lines."""

from __future__ import annotations

import pytest
from corpora import load

swbd = load("prepare_swbd")

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
    assert swbd.clean_transcript(line) == "[noise] them alrighty tranged hold on"
    assert (
        swbd.clean_transcript("hi um [laughter-yeah] w[ould]- talk")
        == "hi um yeah w- talk"
    )
    assert (
        swbd.clean_transcript("[silence]")
        == swbd.clean_transcript("[SILENCE] [silence]")
        == ""
    )
    assert (
        swbd.clean_transcript("so [silence] it") == "so it"
        and swbd.clean_transcript("x[silence]") == "x-"
    )


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


def test_times_are_cut_off_not_rounded():
    assert (
        swbd.Segment("en_4001", "A", 1.15, 10.29, "").utt == "en_4001-A_000114-001029"
    )
    assert (
        swbd.Segment("sw_4390", "B", 0.0, 299.99, "").utt == "sw_4390-B_000000-029999"
    )


@pytest.mark.parametrize(
    "text, wanted",
    [
        (
            "HE IS GONNA CALL (%HESITATION) TO- TOMORROW",
            "he is gonna call to- tomorrow",
        ),
        ("((TH-) YEAH <B_ASIDE> NOT YOU <E_ASIDE> OKAY", "th- yeah okay"),
        ("UM-HUM (%UH) I CAN'T (%UM) SAY", "um-hum i can't say"),
        ("(%HESITATION)", ""),
    ],
)
def test_reference_text(text, wanted):
    assert swbd.clean_reference(text) == wanted


def test_what_is_scored():
    assert swbd.mended("((TH-) YEAH <B_ASIDE> NOT <E_ASIDE>") == "(TH-) YEAH  NOT "
    assert swbd.mended("(A) ((B)") == "(A) (B)"


@pytest.mark.parametrize(
    "segments, wanted",
    [
        ([(1.0, 2.0)], [(0.9, 2.1)]),
        ([(0.05, 2.0)], [(0.0, 2.1)]),
        ([(1.0, 2.0), (2.5, 3.0)], [(0.9, 2.1), (2.4, 3.1)]),
        ([(1.0, 2.0), (2.1, 3.0)], [(0.9, 2.05), (2.05, 3.1)]),
        ([(1.0, 2.0), (2.0, 3.0)], [(0.9, 2.0), (2.0, 3.1)]),
        ([(1.0, 2.0), (1.9, 3.0)], [(0.9, 2.0), (1.9, 3.1)]),
    ],
)
def test_extended_segments(segments, wanted):
    sides = [swbd.Segment("f", side, a, b, "") for side in "AB" for a, b in segments]
    found = swbd.extend(sides)
    assert [x[1:] for x in found.values()] == wanted * 2
    assert [x[0] for x in found.values()] == ["f-A"] * len(wanted) + ["f-B"] * len(
        wanted
    )


def test_segments_that_overlap_are_a_warning(tmp_path, caplog):
    (tmp_path / "pem").write_text("f A x 1.0 3.0\nf A x 2.0 4.0\nf A x 0.1 0.2\n")
    assert [s.start for s in swbd.read_pem(tmp_path / "pem")] == [0.1, 1.0, 2.0]
    assert "W_SEGMENTS" in caplog.text and "line 2" in caplog.text
