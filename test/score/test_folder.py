from __future__ import annotations

import re

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring.folder import speakers, write_scores
from espnet_topdown.scoring.units import characters, words


def test_the_three_files(tmp_path) -> None:
    ref, hyp = {"b": "X Y", "a": "Z"}, {"a": "Z", "b": "X"}
    write_scores(tmp_path / "score_cer", ref, hyp, characters, {"b": "spk"})
    folder = tmp_path / "score_cer"
    assert sorted(p.name for p in folder.iterdir()) == [
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
