"""Sets are checked together: roles, shapes and overlap."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from espnet_topdown.bin.main import main
from espnet_topdown.data.kaldi_dir import read_pairs, write_pairs
from espnet_topdown.data.tokens import read_token_list
from espnet_topdown.data.validate import check_overlap, validate_sets
from espnet_topdown.errors import TopDownError
from espnet_topdown.models.text import TextReader

MINI_AN4 = Path(__file__).parents[3] / "shared" / "data" / "espnet_mini_an4"
TEXTS = {
    "train": {"a-1": "uno", "a-2": "dos"},
    "dev": {"b-1": "tres"},
    "test": {"c-1": "uno"},
}


@pytest.fixture
def sets(make_set):
    """Folders of a train, a dev and a test set."""
    return {name: make_set(name, texts) for name, texts in TEXTS.items()}


def lists(sets) -> list[Path]:
    return [folder / "wav.scp" for folder in sets.values()]


def run(sets, *options: str) -> None:
    words = [w for name, folder in sets.items() for w in (f"--{name}", str(folder))]
    main(["validate_data", *words, "--fs", "8k", *options])


def test_good_sets_print_a_line_each(sets, capsys):
    run(sets)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].endswith(
        "2 utterances, 2.0 s (1.00 to 1.00), every sample read: good"
    )
    run(sets, "--full", "false")
    assert "headers read" in capsys.readouterr().out


def test_a_set_that_fails_ends_with_its_status(sets, capsys):
    with pytest.raises(SystemExit) as e:
        run(sets, "--fs", "16k")
    assert e.value.code == 65 and "E_WAV_RATE_ALL" in capsys.readouterr().err


def test_empty_validation_set(sets):
    for name in ("wav.scp", "text"):
        (sets["dev"] / name).write_text("")
    with pytest.raises(TopDownError, match="E_DEV_EMPTY"):
        validate_sets("8k", list, train=sets["train"], dev=sets["dev"])
    with pytest.raises(TopDownError, match="E_SET_EMPTY"):
        validate_sets("8k", list, test=[sets["dev"]])


def test_no_sets():
    with pytest.raises(TopDownError, match="E_USAGE"):
        validate_sets("8k", list)


@pytest.mark.parametrize("other", ["train", "test"])
def test_58_the_same_utterance_in_two_sets(sets, other):
    shared = list(TEXTS[other])[0]
    for name in ("wav.scp", "text"):
        pairs = read_pairs(sets["dev"] / name)
        write_pairs(sets["dev"] / name, {shared: pairs["b-1"]})
    with pytest.raises(TopDownError) as e:
        check_overlap(lists(sets), recordings=False)
    assert e.value.code == "E_OVERLAP" and f"({shared})" in str(e.value)


def test_58_the_same_recording_under_another_id(sets, capsys):
    copy = sets["dev"] / "wav" / "b-1.wav"
    shutil.copy(sets["train"] / "wav" / "a-2.wav", copy)
    with pytest.raises(SystemExit):
        run(sets)
    assert "1 recordings in both" in capsys.readouterr().err
    run(sets, "--allow_overlap", "true")
    run(sets, "--full", "false")  # audio is not read then


def test_58_speakers_only_when_asked(sets):
    write_pairs(sets["dev"] / "utt2spk", {"b-1": "a"})
    check_overlap(lists(sets))
    with pytest.raises(TopDownError, match=r"E_OVERLAP: 1 speakers .*\(a\)"):
        check_overlap(lists(sets), speakers=True)


def test_shapes_and_tokens(sets, tmp_path, capsys):
    stats = tmp_path / "stats"
    for role, name in (("train", "train"), ("dev", "valid")):
        shape = dict.fromkeys(TEXTS[role], "8000")
        write_pairs(stats / name / "speech_shape", shape)
        write_pairs(stats / name / "text_shape", dict.fromkeys(TEXTS[role], "4"))
    tokens = tmp_path / "tokens.txt"
    tokens.write_text("\n".join(["<blank>", "<unk>", *"unodstre", "<sos/eos>"]) + "\n")
    options = ["--stats_dir", str(stats), "--token_list", str(tokens)]
    run(sets, *options, "--hop_length", "80", "--subsampling", "4")
    write_pairs(stats / "valid" / "speech_shape", {"b-1": "4000"})
    with pytest.raises(SystemExit):
        run(sets, *options)
    assert "E_WAV_LENGTH: utt b-1" in capsys.readouterr().err


@pytest.mark.skipif(not MINI_AN4.is_dir(), reason=f"no {MINI_AN4}")
def test_a_genuine_recipe(monkeypatch):
    """Sets made by ESPnet's own recipe; their paths refer to its folder."""
    monkeypatch.chdir(MINI_AN4)
    dump = Path("dump/raw")
    missing = [
        path
        for name in ("train_nodev", "train_dev", "test")
        for path in read_pairs(dump / name / "wav.scp").values()
        if not os.path.exists(path)
    ]
    sets = {"train": dump / "train_nodev", "dev": dump / "train_dev"}
    if missing:
        with pytest.raises(TopDownError, match="E_WAV_MISSING"):
            validate_sets("16k", list, **sets, allow_overlap=True)
        return
    tokens = Path("data/en_token_list/char/tokens.txt")
    reports = validate_sets(
        "16k",
        TextReader.of({"token_type": "char"}, "test").tokens,
        read_token_list(tokens),
        **sets,
        test=[dump / "test"],
        stats_dir=Path("exp/asr_stats_raw_en_char"),
        allow_overlap=True,
    )
    for role, folder in sets.items():
        lengths = read_pairs(folder / "utt2num_samples")
        assert reports[role].samples == {u: int(n) for u, n in lengths.items()}
