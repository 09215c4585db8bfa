from __future__ import annotations

import re

import pytest

from espnet_topdown.bin.main import main
from espnet_topdown.data.kaldi_dir import read_pairs, write_pairs
from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring.counts import Counts, read_counts
from espnet_topdown.scoring.score import (
    as_written,
    count_set,
    hypothesis_digest,
    record,
    score_files,
    score_set,
    speakers,
    write_scores,
)
from espnet_topdown.scoring.units import characters, words
from espnet_topdown.search.state import read_score


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
    title, _, head, line, row = got.splitlines()
    assert title == "### WER: Wrd are words"
    assert head.count("|") == line.count("|") == row.count("|") == 10
    assert row.endswith("|3|6|83.3|0.0|16.7|0.0|16.7|33.3|")


def test_two_systems_are_compared(texts) -> None:
    got = score_files(texts / "text", texts / "hyp", bootstrap_against=texts / "worse")
    first, second, _, said = got.splitlines()[4:]
    assert "worse|3|7|" in second and "hyp|3|7|" in first
    assert "difference (first - second): -42.86 points" in said
    assert "10000 draws, seed 0" in said


def test_the_command(texts, capsys) -> None:
    options = ["--ref", texts / "text", "--hyp", texts / "hyp", "--unit", "cer"]
    main(["score", *map(str, options), "--output_dir", str(texts / "out")])
    assert "|dataset|Snt|Wrd|" in capsys.readouterr().out
    assert "(t-u3)" in (texts / "out" / "hyp.trn").read_text()  # utt2spk beside --ref


def test_a_lost_part_is_no_score(texts, capsys) -> None:
    with pytest.raises(TopDownError, match=r"E_UTT_SETS.*short lacks 1 \(u3\)"):
        score_files(texts / "text", texts / "short")
    other = {"bootstrap_against": texts / "short"}
    with pytest.raises(TopDownError, match=r"E_UTT_SETS.*short lacks 1 \(u3\)"):
        score_files(texts / "text", texts / "hyp", **other)
    with pytest.raises(SystemExit) as e:
        main(["score", "--ref", str(texts / "text"), "--hyp", str(texts / "short")])
    assert e.value.code == 65
    assert capsys.readouterr().err.startswith("E_UTT_SETS: ")


def test_the_files(tmp_path) -> None:
    ref, hyp = {"b": "X Y", "a": "Z"}, {"a": "Z", "b": "X"}
    write_scores(tmp_path / "score_cer", ref, hyp, characters, {"b": "spk"})
    folder = tmp_path / "score_cer"
    assert read_counts(folder) == {"a": Counts(1, 1), "b": Counts(3, 1, 0, 2, 0)}
    assert sorted(p.name for p in folder.iterdir()) == [
        "counts.tsv",
        "hyp.trn",
        "ref.trn",
        "result.txt",
    ]
    assert (folder / "ref.trn").read_text() == "Z\t(a-a)\nX <space> Y\t(spk-b)\n"
    row = re.search(
        "Sum/Avg *[|] *2 *4 *[|] *50.0", (folder / "result.txt").read_text()
    )
    assert row


def test_equals_what_espnet_left(mini_an4, tmp_path) -> None:
    """From its text files to its trn files, byte for byte."""
    (test,) = mini_an4.glob("exp/asr_*/decode_*/test")
    for unit, cut in {"cer": characters, "wer": words}.items():
        sides = [
            dict(line.split(" ", 1) for line in file.read_text().splitlines())
            for file in (mini_an4 / "dump/raw/test/text", test / "text")
        ]
        spk = speakers(None, beside=mini_an4 / "dump/raw/test/text")
        assert len(spk) == 2
        write_scores(tmp_path, *sides, cut, spk)
        for name in ("ref.trn", "hyp.trn"):
            want = (test / f"score_{unit}" / name).read_bytes()
            assert (tmp_path / name).read_bytes() == want


def test_an_utterance_is_missing(tmp_path) -> None:
    with pytest.raises(TopDownError, match="E_UTT_SETS"):
        write_scores(tmp_path / "s", {"a": "X", "b": "Y"}, {"a": "X"}, words, {})
    assert not (tmp_path / "s").exists()


def test_a_named_speaker_list_must_be_there(tmp_path) -> None:
    assert speakers(None, beside=tmp_path / "text") == {}
    with pytest.raises(TopDownError, match="E_MISSING"):
        speakers(tmp_path / "utt2spk", beside=tmp_path / "text")


def test_record() -> None:
    ref, hyp = {"a": "X Y", "b": "Z"}, {"a": "X", "b": "Z W"}
    cuts = {"cer": characters, "wer": words}
    got = record({u: count_set(ref, hyp, cut) for u, cut in cuts.items()}, hyp)
    assert got["utts"] == 2
    assert got["wer"] == dict(zip(KEYS, (3, 2, 0, 1, 1, 2)))
    assert got["cer"] == dict(zip(KEYS, (4, 2, 0, 2, 2, 2)))
    assert got["hyp_sha256"] == hypothesis_digest(hyp)


KEYS = ("ref", "corr", "sub", "del", "ins", "err_utts")


def test_the_digest_sees_every_character_and_no_order() -> None:
    digest = hypothesis_digest({"a": "X", "b": "Y"})
    assert digest == hypothesis_digest({"b": "Y", "a": "X"})
    assert digest == "baaeee5d185ccb2480c1954c12b1fbc1979192eb4bc74061609dadb8588475dc"
    assert digest != hypothesis_digest({"a": "X", "b": "y"})
    assert digest != hypothesis_digest({"a": "X", "c": "Y"})


@pytest.fixture
def folders(tmp_path):
    """References and a decoded set with one wrong word of three."""
    ref, hyp = tmp_path / "text", tmp_path / "decode_beam" / "test"
    hyp.mkdir(parents=True)
    ref.write_text("a one two\nb three\n")
    (hyp / "text").write_text("a one too\nb three\n")
    return ref, hyp


def test_the_report_reads_what_is_written(folders):
    ref, hyp = folders
    score_set(ref, hyp, "beam", "exp/2epoch.pth")
    score = read_score(hyp / "score.json")
    assert (score.set, score.decoder, score.utts) == ("test", "beam", 2)
    assert (score.counts["wer"].errors, score.counts["wer"].ref) == (1, 3)
    assert (score.counts["cer"].errors, score.counts["cer"].ref) == (1, 12)


def test_a_lost_utterance_is_an_error(folders):
    ref, hyp = folders
    (hyp / "text").write_text("a one two\n")
    with pytest.raises(TopDownError, match="E_UTT_SETS"):
        score_set(ref, hyp, "beam", "exp/2epoch.pth")
    assert not (hyp / "score.json").exists()


def test_counts_by_utterance() -> None:
    got = count_set({"a": "X Y", "b": "Z"}, {"b": "", "a": "x y"}, words)
    assert {utt: c.errors for utt, c in got.items()} == {"a": 0, "b": 1}


@pytest.mark.parametrize(
    "ref, hyp, code, word",
    [
        ({"a": "X", "b": "Y"}, {"a": "X"}, "E_UTT_SETS", "hypothesis lacks 1 (b)"),
        ({"a": "X"}, {"a": "X", "c": ""}, "E_UTT_SETS", "reference lacks 1 (c)"),
        ({"a": "X"}, {}, "E_UTT_SETS", "hypothesis lacks 1 (a)"),
        ({}, {}, "E_DEV_EMPTY", "no utterance"),
    ],
)
def test_a_lost_part_never_improves_a_rate(ref, hyp, code, word) -> None:
    with pytest.raises(TopDownError, match=code) as e:
        count_set(ref, hyp, words)
    assert word in str(e.value)
    assert e.value.status == 65


def test_what_sclite_would_count_in_another_way_is_said(texts, caplog) -> None:
    (texts / "hyp").write_text("u1 THE @ CAT\nu2 A\u00a0DOG ;\nu3 NO @\n")
    got = score_files(texts / "text", texts / "hyp").splitlines()[-1]
    assert got.startswith("W_SCLITE_SYNTAX: WER: '@' in 2 lines, U+00A0 in 1 lines:")
    (texts / "d").mkdir()
    (texts / "hyp").rename(texts / "d" / "text")
    score_set(texts / "text", texts / "d", "beam", "x.pth")
    assert caplog.text.count("W_SCLITE_SYNTAX") == 2  # CER and WER


@pytest.mark.parametrize("text", ["", " ", "  a ", "a\tb", "\u00a0", "\u3000a"])
def test_the_digest_is_of_what_is_written(tmp_path, text) -> None:
    written = as_written({"u": text})
    write_pairs(tmp_path / "text", {"u": text})
    assert read_pairs(tmp_path / "text") == written
    write_pairs(tmp_path / "text", written)
    assert read_pairs(tmp_path / "text") == written
