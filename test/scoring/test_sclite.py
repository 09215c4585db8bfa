from __future__ import annotations

import itertools
import re
import string

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring import _sclite as ours
from espnet_topdown.scoring._align import paths
from espnet_topdown.scoring._sclite import read_trn, sclite_note, write_trn
from espnet_topdown.scoring.units import UNITS


def render(name: str, ref: dict, hyp: dict, speaker: dict) -> str:
    ops = dict(zip(ref, paths((ref[utt], hyp[utt]) for utt in ref)))
    return ours.render(name, ref, hyp, speaker, ops)


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


def test_equals_sclites_report(sclite, corpus, tmp_path) -> None:
    random = corpus(120, seed=11)
    write_trn(tmp_path / "r.trn", random.ref, random.speaker)
    write_trn(tmp_path / "h.trn", random.hyp, random.speaker)
    theirs = sclite(tmp_path / "r.trn", tmp_path / "h.trn")
    assert len(cells(theirs)) == 2 * (5 + 4)  # '# Snt' makes the head longer
    check_against(theirs, render("h.trn", random.ref, random.hyp, random.speaker))


def test_equals_sclites_tables_without_references(sclite, tmp_path) -> None:
    ref = {"1": ["a"] * 16, "2": [], "3": []}
    hyp = {"1": ["a"] * 15 + ["x"], "2": ["q"], "3": []}
    speaker = {"1": "s", "2": "t", "3": "u"}
    write_trn(tmp_path / "r.trn", ref, speaker)
    write_trn(tmp_path / "h.trn", hyp, speaker)
    theirs = sclite(tmp_path / "r.trn", tmp_path / "h.trn")
    made = render("h.trn", ref, hyp, speaker)
    assert cells(made) == cells(theirs)
    assert "0*" in made and "6.3" in made and "6.3+" in made


@pytest.mark.parametrize("unit", ["cer", "wer"])
def test_equals_the_report_that_espnet_left(mini_an4, unit: str) -> None:
    folders = sorted(mini_an4.glob(f"exp/asr_*/decode_*/**/score_{unit}"))
    assert len(folders) == 2
    for folder in folders:
        sides = [read_trn(folder / f"{side}.trn") for side in ("ref", "hyp")]
        ids = {name: name.partition("-") for name in sides[0]}
        ref, hyp = ({ids[n][2]: t for n, t in side.items()} for side in sides)
        speaker = {utt: spk for spk, _, utt in ids.values()}
        stored = (folder / "result.txt").read_text(encoding="utf-8")
        check_against(stored, render("x", ref, hyp, speaker))


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
PLACES = {"alone": "{}", "begin": "{}x", "middle": "x{}y", "end": "x{}"}
SHAPES = [("a {} b", "a {} b"), ("a {} b", "a x b"), ("a {} b", "a xy b")]
SHAPES += [("{} b", "b"), ("b {}", "b"), ("{}", "q"), ("a b", "a {} b")]


def notes_and_counts(folder, sclite, scores, unit: str, words: list[str]):
    """sclite's note of ours on texts with each word, our counts, and sclite's."""
    cut = UNITS["cer"] if unit == "cer" else str.split
    sides = [
        {
            f"u{i:02d}": shape[side].format(word)
            for i, (word, shape) in enumerate(itertools.product(words, SHAPES))
        }
        for side in (0, 1)
    ]
    said, spoken = (
        {u: [c.replace(" ", "<space>") for c in cut(t)] for u, t in side.items()}
        for side in sides
    )
    names = ("r.trn", "h.trn")
    for name, tokens in zip(names, (said, spoken)):
        write_trn(folder / name, tokens, {})
    theirs = scores(sclite(*(folder / name for name in names), may_fail=True))
    ops = paths((said[u], spoken[u]) for u in said)
    mine = {f"{u}-{u}": tuple(map(op.count, "CSDI")) for u, op in zip(said, ops)}
    return sclite_note(unit, *sides), mine, theirs


@pytest.mark.parametrize("unit", ["cer", "wer"])
def test_what_sclite_reads_as_its_syntax_is_named(sclite, scores, tmp_path, unit):
    """Equal counts, or one warning that names the character."""
    named = set()
    for c in [*sorted(set(map(chr, range(128))) - set(string.whitespace)), *SPACES]:
        words = [place.format(c) for place in PLACES.values()]
        note, mine, theirs = notes_and_counts(tmp_path, sclite, scores, unit, words)
        if not note:
            assert mine == theirs, f"{c!r} is not named"
        else:
            name = repr(c) if c.isprintable() else f"U+{ord(c):04X}"
            assert note.startswith(f"{unit.upper()}: {name} in ")
            named.add(c)
    expected = {"cer": "@{", "wer": "@{\\;*"}[unit]
    assert named == {*expected, *"\0\x1c\x1d\x1e\x1f", *SPACES}


@pytest.mark.parametrize("word", ["**", ";;", "x;y", "xy*", "x*;y", "{ a / b }", "**x"])
def test_syntax_of_several_characters_is_named(sclite, scores, tmp_path, word):
    found = notes_and_counts(tmp_path, sclite, scores, "wer", [word])
    assert found[0] and found[1] != found[2]


@pytest.mark.parametrize("unit", ["cer", "wer"])
def test_two_characters_that_are_one_to_sclite_are_named(
    sclite, scores, tmp_path, unit
):
    chars = [c for c in string.printable.strip() if c not in "@{"]
    pairs = [(a, b) for a in chars for b in chars]
    ref, hyp = ({f"u{i:04d}": p[side] for i, p in enumerate(pairs)} for side in (0, 1))
    for side in (ref, hyp):
        name = "r.trn" if side is ref else "h.trn"
        write_trn(tmp_path / name, {u: [c] for u, c in side.items()}, {})
    theirs = scores(sclite(tmp_path / "r.trn", tmp_path / "h.trn", may_fail=True))
    ops = paths(([ref[u]], [hyp[u]]) for u in ref)
    mine = {f"{u}-{u}": tuple(map(op.count, "CSDI")) for u, op in zip(ref, ops)}
    other = {(ref[u], hyp[u]) for u in ref if mine[f"{u}-{u}"] != theirs[f"{u}-{u}"]}
    assert other == {("\\", ";"), (";", "\\")}
    for a, b in other:
        note = sclite_note(unit, {"u": f"x {a}"}, {"u": f"x {b} y"})
        assert note.startswith(f"{unit.upper()}: ';' in 1 lines, '\\\\' in 1 lines:")
        assert not sclite_note(unit, {"u": a}, {"u": a})
