from __future__ import annotations

import itertools
import re
import string

import pytest

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring import _sclite as ours
from espnet_topdown.scoring._align import paths
from espnet_topdown.scoring._sclite import read_trn, sclite_note, write_trn
from espnet_topdown.scoring.score import read_speakers, write_scores
from espnet_topdown.scoring.units import UNITS


def render(name: str, ref: dict, hyp: dict, speaker: dict) -> str:
    ops = dict(zip(ref, paths((ref[utt], hyp[utt]) for utt in ref)))
    return ours.render(name, ref, hyp, speaker, ops)


@pytest.fixture
def compared(sclite, tmp_path):
    """Score tokens: sclite's report, and ours."""

    def run(ref: dict, hyp: dict, speaker: dict) -> tuple[str, str]:
        write_trn(tmp_path / "r.trn", ref, speaker)
        write_trn(tmp_path / "h.trn", hyp, speaker)
        theirs = sclite(tmp_path / "r.trn", tmp_path / "h.trn")
        return theirs, render("h.trn", ref, hyp, speaker)

    return run


def cells(text: str) -> list[list[str]]:
    """The rows of the tables, as words."""
    rows = [line.replace("|", " ").split() for line in text.splitlines() if "|" in line]
    return [row for row in rows if len(row) == 9]


def lines_of_alignments(text: str) -> list[str]:
    keep = ("id:", "Scores:", "REF:", "HYP:", "Eval:")
    return [line.rstrip() for line in text.splitlines() if line.startswith(keep)]


def check_against(text: str, made: str) -> None:
    assert cells(made) == cells(text)
    assert lines_of_alignments(made) == lines_of_alignments(text)


def test_equals_sclites_report(compared, corpus) -> None:
    random = corpus(1500, seed=11)
    theirs, made = compared(random.ref, random.hyp, random.speaker)
    assert len(cells(theirs)) == 2 * (5 + 4)  # '# Snt' makes the head longer
    assert made.count("Scores:") == 1500
    check_against(theirs, made)


def test_equals_sclites_tables_without_references(compared) -> None:
    ref = {"1": ["a"] * 16, "2": [], "3": []}
    hyp = {"1": ["a"] * 15 + ["x"], "2": ["q"], "3": []}
    theirs, made = compared(ref, hyp, {"1": "s", "2": "t", "3": "u"})
    assert cells(made) == cells(theirs)
    assert "0*" in made and "6.3" in made and "6.3+" in made


@pytest.mark.parametrize("unit", ["cer", "wer"])
def test_equals_what_espnet_left(mini_an4, tmp_path, unit: str) -> None:
    """From its text files to its trn files, byte for byte, and to its report."""
    (test,) = mini_an4.glob("exp/asr_*/decode_*/test")
    text = mini_an4 / "dump/raw/test/text"
    speakers = read_speakers(None, beside=text)
    assert len(speakers) == 2
    both = read_pairs(text), read_pairs(test / "text")
    write_scores(tmp_path, *both, UNITS[unit], speakers)
    stored = test / f"score_{unit}"
    for name in ("ref.trn", "hyp.trn"):
        assert (tmp_path / name).read_bytes() == (stored / name).read_bytes()
    reports = [(place / "result.txt").read_text() for place in (stored, tmp_path)]
    check_against(*reports)


def test_show_asr_result_finds_its_row() -> None:
    """It greps for Avg, deletes 'Sum/Avg' and turns runs of blanks and | into one |."""
    text = render(
        "decode/test/score_wer/hyp.trn", {"u": ["A"]}, {"u": ["B"]}, {"u": "s"}
    )
    (row,) = [line for line in text.splitlines() if "Avg" in line]
    row = re.sub(r"[| ]+", "|", row.replace("Sum/Avg", ""))
    assert row == "|1|1|0.0|100.0|0.0|0.0|100.0|100.0|"


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


SPACES = [chr(c) for c in range(0x80, 0x3001) if chr(c).isspace()]
PLACES = ["{}", "{}x", "x{}y", "x{}"]  # alone, begin, middle, end
SHAPES = [("a {} b", "a {} b"), ("a {} b", "a x b"), ("a {} b", "a xy b")]
SHAPES += [("{} b", "b"), ("b {}", "b"), ("{}", "q"), ("a b", "a {} b")]


@pytest.fixture
def noted(compared, scores):
    """The note on texts with each word, and whether sclite counts as we do."""

    def run(unit: str, words: list[str]) -> tuple[str, bool]:
        texts = list(itertools.product(words, SHAPES))
        sides = [
            {f"u{i:02d}": shape[side].format(w) for i, (w, shape) in enumerate(texts)}
            for side in (0, 1)
        ]
        tokens = [
            {
                utt: [c.replace(" ", "<space>") for c in UNITS[unit](text)]
                for utt, text in side.items()
            }
            for side in sides
        ]
        theirs, made = compared(*tokens, {utt: utt for utt in sides[0]})
        return sclite_note(unit, *sides), scores(theirs) == scores(made)

    return run


@pytest.mark.parametrize("unit", ["cer", "wer"])
def test_what_sclite_reads_as_its_syntax_is_named(noted, unit: str) -> None:
    """Equal counts, or one warning that names the character."""
    named = set()
    for c in [*sorted(set(map(chr, range(128))) - set(string.whitespace)), *SPACES]:
        note, same = noted(unit, [place.format(c) for place in PLACES])
        if not note:
            assert same, f"{c!r} is not named"
        else:
            name = repr(c) if c.isprintable() else f"U+{ord(c):04X}"
            assert note.startswith(f"{unit.upper()}: {name} in ")
            named.add(c)
    expected = {"cer": "@{", "wer": "@{\\;*"}[unit]
    assert named == {*expected, *"\0\x1c\x1d\x1e\x1f", *SPACES}


@pytest.mark.parametrize("word", ["**", ";;", "x;y", "xy*", "x*;y", "{ a / b }", "**x"])
def test_syntax_of_several_characters_is_named(noted, word: str) -> None:
    note, same = noted("wer", [word])
    assert note and not same


@pytest.mark.parametrize("unit", ["cer", "wer"])
def test_two_characters_that_are_one_to_sclite_are_named(compared, scores, unit):
    chars = [c for c in string.printable.strip() if c not in "@{"]
    pairs = {f"u{i}": p for i, p in enumerate(itertools.product(chars, chars))}
    sides = [{utt: [pair[side]] for utt, pair in pairs.items()} for side in (0, 1)]
    theirs, made = map(scores, compared(*sides, {utt: "s" for utt in pairs}))
    other = {pair for u, pair in pairs.items() if made[f"s-{u}"] != theirs[f"s-{u}"]}
    assert other == {("\\", ";"), (";", "\\")}
    for a, b in other:
        note = sclite_note(unit, {"u": f"x {a}"}, {"u": f"x {b} y"})
        assert note.startswith(f"{unit.upper()}: ';' in 1 lines, '\\\\' in 1 lines:")
        assert not sclite_note(unit, {"u": a}, {"u": a})
