"""Switchboard's words and acronyms, eval2000's segments: tables of single lines."""

from __future__ import annotations

import pytest
from corpora import load

swbd = load("prepare_swbd")

LINES = {
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
    "[noise] [vocalized-noise] i-": "[noise] [vocalized-noise] i-",
    "[laughter]": "[laughter]",
    "[SILENCE] [silence]": "",
    "so [silence] it": "so it",
    "x[silence]": "x-",
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


@pytest.mark.parametrize("line, wanted", LINES.items(), ids=str)
def test_lines(line, wanted):
    assert swbd.clean_transcript(line) == wanted


@pytest.mark.parametrize(
    "text, dots, plain",
    [
        ("see MTV and TVs", "see m._t._v. and t._v.s", "see m t v and t vs"),
        ("by IBM in the US A", "by i._b._m. in the u._s. a.", "by i b m in the u s a"),
        ("P I X or I am B I G", "p. i. x. or i am b. i. g.", "p i x or i am b i g"),
        ("a b c I", "a b c i", "a b c i"),
        ("IBM's be so", "i._b._m.'s be so", "i b m's be so"),
        # in no dictionary
        ("NAACP", "n._a._a._c._p.", "n a a c p"),
        ("NIT NTSC", "n._i._t. n._t._s._c.", "n i t n t s c"),
    ],
)
def test_acronyms(text, dots, plain):
    written = swbd.write_acronyms(text, swbd.read_acronyms(DICTIONARY))
    assert (written, swbd.undotted(written)) == (dots, plain)


def test_what_is_an_acronym():
    found = swbd.read_acronyms(DICTIONARY)
    assert not {"them", "be", "so", "TWAs", "them_1", "file:"} & set(found)
    assert found["A"] == "a." and len([k for k in found if len(k) == 1]) == 26
    own_name = ["W d ah b y uw", "WWF d ah b y uw d ah b y uw eh f"]
    assert swbd.read_acronyms(own_name)["WWF"] == "w._w._f."


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
    assert swbd.Repetitions(501).keep(texts) == list(texts)


@pytest.mark.parametrize(
    "start, end, times",
    [(1.15, 10.29, "000114-001029"), (0.0, 299.99, "000000-029999")],
)
def test_times_are_cut_off_not_rounded(start, end, times):
    segment = swbd.Segment("en_4001", "A", start, end, "")
    assert segment.utt == f"en_4001-A_{times}"


@pytest.mark.parametrize(
    "text, shown, scored",
    [
        ("IS GONNA (%HESITATION) TO- GO", "is gonna to- go", None),
        ("((TH-) A <B_ASIDE> NOT <E_ASIDE> B", "th- a b", "(TH-) A  NOT  B"),
        ("UM-HUM (%UH) I CAN'T (%UM) SAY", "um-hum i can't say", None),
        ("(%HESITATION)", "", None),
        ("(A) ((B)", "a b", "(A) (B)"),
    ],
)
def test_references(text, shown, scored):
    """What a model is shown; the scored text differs in brackets and asides alone."""
    assert swbd.clean_reference(text) == shown
    assert swbd.mended(text) == (scored or text)


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
    found = [*swbd.extend(sides).values()]
    assert found == [(f"f-{side}", *times) for side in "AB" for times in wanted]


def test_segments_that_overlap_are_a_warning(tmp_path, caplog):
    (tmp_path / "pem").write_text("f A x 1.0 3.0\nf A x 2.0 4.0\nf A x 0.1 0.2\n")
    assert [s.start for s in swbd.read_pem(tmp_path / "pem")] == [0.1, 1.0, 2.0]
    assert "W_SEGMENTS" in caplog.text and "line 2" in caplog.text
