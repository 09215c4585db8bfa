from __future__ import annotations

import math
from pathlib import Path

import pytest

from espnet_topdown.cli.main import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring.counts import Counts, read_counts
from espnet_topdown.scoring.score import (
    count_set,
    hypothesis_digest,
    recount,
    score_files,
    write_scores,
)
from espnet_topdown.scoring.units import UNITS


@pytest.fixture
def texts(tmp_path, monkeypatch):
    lines = {
        "text": "u1 THE CAT SAT\nu2 A <NOISE> DOG\nu3 NO\n",
        "hyp": "u1 the cat sat\nu2 A DOG\nu3\n",
        "worse": "u1 THE RAT SAT\nu2 B\nu3 YES\n",
        "short": "u1 THE CAT SAT\nu2 A DOG\n",
        "nlsyms": "<NOISE>  \n\n",
        "none": "",
        "utt2spk": "u1 s\nu2 s\nu3 t\n",
        "d/text": "u1 THE CAT SAT\nu2 A <NOISE> DOG\nu3 ON\n",
    }
    (tmp_path / "d").mkdir()
    for name, text in lines.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_as_in_results_md(texts, capsys) -> None:
    main(["score", "--ref", "text", "--hyp", "hyp", "--nlsyms", "nlsyms"])
    title, _, head, line, row = capsys.readouterr().out.splitlines()
    assert title == "### WER: Wrd are words"
    assert head.count("|") == line.count("|") == row.count("|") == 10
    assert row == "|hyp|3|6|83.3|0.0|16.7|0.0|16.7|33.3|"


@pytest.mark.parametrize(
    "speaker", ["s(1)", "(s)", "s (x", "s) (y", "s 1", "s\t1", "s\u00a01", ""]
)
def test_any_speaker_stands_in_a_trn_file(texts, sclite, scores, speaker) -> None:
    """What is read again, here and by sclite, is what was counted."""
    (texts / "utt2spk").write_text(f"u1 {speaker}\nu2 t\nu3 t\n", encoding="utf-8")
    main("score --ref text --hyp worse --output_dir out".split())
    listed = list(read_counts(texts / "out").values())
    assert list(recount(texts / "out").values()) == listed
    theirs = scores(sclite(texts / "out" / "ref.trn", texts / "out" / "hyp.trn"))
    want = [(c.corr, c.sub, c.dele, c.ins) for c in listed]
    assert sorted(theirs.values()) == sorted(want)


def test_two_systems_are_compared(texts) -> None:
    got = score_files("text", "hyp", bootstrap_against="worse")
    first, second, _, said = got.splitlines()[4:]
    assert "worse|3|7|" in second and "hyp|3|7|" in first
    assert "difference (first - second): -42.86 points" in said
    assert "], n = 3 (" in said and "10000 draws, seed 0" in said


def test_the_files_and_their_replacement(texts) -> None:
    """What is in them is in test/golden/scores.json."""
    out = texts / "out"
    for hyp, of_u3 in (("hyp", (0, 0, 2, 0)), ("worse", (0, 2, 0, 1))):
        main(f"score --ref text --hyp {hyp} --unit cer --output_dir out".split())
        files = ["counts.tsv", "hyp.trn", "ref.trn", "result.txt"]
        assert sorted(p.name for p in out.iterdir()) == files
        assert read_counts(out)["u3"] == Counts(2, *of_u3)
        assert "N O\t(t-u3)\n" in (out / "ref.trn").read_text()
    (texts / "utt2spk").unlink()
    main("score --ref text --hyp hyp --output_dir out".split())
    assert "NO\t(u3-u3)\n" in (out / "ref.trn").read_text()


def test_a_mark_inside_a_text_is_a_character_of_its_trn_file(texts) -> None:
    said, mark = {"u1": "A"}, {"u1": "\ufeff A"}
    counts = write_scores(texts / "out", said, mark, UNITS["cer"], {})
    assert list(recount(texts / "out").values()) == list(counts.values())


@pytest.mark.parametrize(
    "command, code, said",
    [
        ("score --hyp short --output_dir o", 65, "E_UTT_SETS: short lacks 1 (u3)"),
        ("score --hyp hyp --bootstrap_against short", 65, "short lacks 1 (u3)"),
        ("score --hyp hyp --utt2spk no --output_dir o", 66, "E_MISSING: no file no"),
        ("score_set --decode_dir d --model_file m", 65, "d/text lacks 1 (u3)"),
        ("score --ref none --hyp none --output_dir o", 65, "E_DEV_EMPTY"),
    ],
)
def test_what_is_no_score(texts, capsys, command, code, said) -> None:
    """A lost part never improves a rate."""
    (texts / "d" / "text").write_text("u1 A\nu2 B\n")
    with pytest.raises(SystemExit) as e:
        main([*command.split(), *([] if "--ref" in command else ["--ref", "text"])])
    assert e.value.code == code and said in capsys.readouterr().err
    assert not (texts / "d" / "score.json").exists() and not Path("o").exists()


@pytest.mark.parametrize(
    "hyp, said",
    [
        ("c Z\na X\nb Y\n", "|3|3|66.7|33.3|0.0|0.0|33.3|33.3|"),  # another order
        ("c Z\na X\nb Y\na X\n", "E_UTT_DUP: a lines 2, 4 of hyp"),
        ("a X\nd Y\nd Y\n", "E_UTT_SETS: hyp lacks 2 (b, c), ref lacks 1 (d)"),
        ("a X\nb Y\n\nc Z\n", "E_TEXT_LINE: hyp line 3 is empty"),
    ],
)
def test_a_list_is_counted_line_by_line(tmp_path, monkeypatch, hyp, said) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ref").write_text("a X\nb Y\nc W\n")
    Path("hyp").write_text(hyp)
    try:
        found = score_files(Path("ref"), Path("hyp"))
    except TopDownError as e:
        found = str(e)
    assert said in found


@pytest.mark.parametrize(
    "line", ["u\t1\t1\t0\t0", "u\t1\t1\t0\t0\tx", "v\t1\t1\t0\t0\t0"]
)
def test_lines_that_are_no_counts_are_named(tmp_path, line) -> None:
    write_scores(tmp_path, {"v": "A"}, {"v": "A"}, UNITS["wer"], {})
    with (tmp_path / "counts.tsv").open("a") as f:
        f.write(f"{line}\n")
    with pytest.raises(TopDownError, match="E_SCORE.*counts.tsv line 3"):
        read_counts(tmp_path)


@pytest.mark.parametrize("hyp", [{}, {"a": "X", "c": ""}])
def test_a_lost_part_never_improves_a_rate(tmp_path, hyp) -> None:
    with pytest.raises(TopDownError, match="E_UTT_SETS.*lacks 1 "):
        count_set({"a": "X"}, hyp, UNITS["wer"])
    with pytest.raises(TopDownError, match="E_UTT_SETS.*lacks 1 "):
        write_scores(tmp_path / "score_wer", {"a": "X"}, hyp, UNITS["wer"], {})
    assert not (tmp_path / "score_wer").exists()


def test_there_is_no_rate_without_a_reference() -> None:
    assert math.isnan(Counts(ins=1).rate)


def test_the_digest_sees_every_character_and_no_order() -> None:
    digest = hypothesis_digest({"a": "X", "b": "Y"})
    assert digest == hypothesis_digest({"b": "Y", "a": "X"})
    assert digest == "baaeee5d185ccb2480c1954c12b1fbc1979192eb4bc74061609dadb8588475dc"
    assert digest != hypothesis_digest({"a": "X", "b": "y"})
    assert digest != hypothesis_digest({"a": "X", "c": "Y"})


def test_what_sclite_would_count_in_another_way_is_said(texts, caplog) -> None:
    (texts / "d" / "text").write_text("u1 THE @ CAT\nu2 A\u00a0DOG ;\nu3 NO @\n")
    got = score_files("text", "d/text").splitlines()[-1]
    assert got.startswith("W_SCLITE_SYNTAX: WER: '@' in 2 lines, U+00A0 in 1 lines:")
    main("score_set --ref text --decode_dir d --model_file m".split())
    assert caplog.text.count("W_SCLITE_SYNTAX") == 2  # CER and WER
