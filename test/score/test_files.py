from __future__ import annotations

import pytest

from espnet_topdown.bin.score import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring.files import score_files


@pytest.fixture
def texts(tmp_path):
    lines = {
        "text": "u1 THE CAT SAT\nu2 A <NOISE> DOG\nu3 NO\n",
        "hyp": "u1 the cat sat\nu2 A DOG\nu3\n",
        "worse": "u1 THE RAT SAT\nu2 B\nu3 YES\n",
        "short": "u1 THE CAT SAT\nu2 A DOG\n",
        "nlsyms": "<NOISE>\n",
        "utt2spk": "u1 s\nu2 s\nu3 t\n",
    }
    for name, text in lines.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_table_as_in_results_md(texts) -> None:
    got = score_files(texts / "text", texts / "hyp", "wer", nlsyms=texts / "nlsyms")
    head, line, row = got.splitlines()
    assert head.count("|") == line.count("|") == row.count("|") == 10
    assert row.endswith("|3|6|83.3|0.0|16.7|0.0|16.7|33.3|")


def test_two_systems_are_compared(texts) -> None:
    got = score_files(texts / "text", texts / "hyp", bootstrap_against=texts / "worse")
    first, second, _, said = got.splitlines()[2:]
    assert "worse|3|7|" in second and "hyp|3|7|" in first
    assert "difference (first - second): -42.86 points" in said
    assert "10000 draws, seed 0" in said and "MAPSSWE: " in said


def test_the_command(texts, capsys) -> None:
    options = ["--ref", texts / "text", "--hyp", texts / "hyp", "--unit", "cer"]
    main([*map(str, options), "--output_dir", str(texts / "out")])
    assert "|dataset|Snt|Wrd|" in capsys.readouterr().out
    assert "(t-u3)" in (texts / "out" / "hyp.trn").read_text()  # utt2spk beside --ref


def test_a_lost_part_is_no_score(texts, capsys) -> None:
    with pytest.raises(TopDownError, match=r"E_UTT_SETS.*short lacks 1 \(u3\)"):
        score_files(texts / "text", texts / "short")
    other = {"bootstrap_against": texts / "short"}
    with pytest.raises(TopDownError, match=r"E_UTT_SETS.*short lacks 1 \(u3\)"):
        score_files(texts / "text", texts / "hyp", **other)
    with pytest.raises(SystemExit) as e:
        main(["--ref", str(texts / "text"), "--hyp", str(texts / "short")])
    assert e.value.code == 65
    assert capsys.readouterr().err.startswith("E_UTT_SETS: ")
