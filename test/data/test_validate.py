"""What is checked before training; the faults themselves are in test/catalogue.yaml.

Rows 44 to 67 of the catalogue run ``validate_data``; here is where its limits are, and
that sets are checked together.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from espnet_topdown.cli.main import main
from espnet_topdown.data.kaldi_dir import read_pairs, write_pairs
from espnet_topdown.data.tokens import read_token_list
from espnet_topdown.data.validate import validate_sets
from espnet_topdown.models.text import TextReader

TEXTS = {
    "train": {"a-1": "uno", "a-2": "dos"},
    "dev": {"b-1": "tres"},
    "test": {"c-1": "uno"},
}


@pytest.fixture(autouse=True)
def sets(make_set, tmp_path, monkeypatch):
    """A train, a dev and a test set, one second each utterance, and statistics."""
    monkeypatch.chdir(tmp_path)
    for name, texts in TEXTS.items():
        make_set(f"d/{name}", texts)
    for part, role in (("train", "train"), ("valid", "dev")):
        for name, value in (("speech_shape", "8000"), ("text_shape", "4")):
            write_pairs(Path("stats", part, name), dict.fromkeys(TEXTS[role], value))
    tokens = ["<blank>", "<unk>", *"unodstre", "<sos/eos>"]
    Path("tokens.txt").write_text("".join(f"{token}\n" for token in tokens))
    Path("nlsyms").write_text("<NOISE>\n")


def run(
    options: str = "", sets: str = "--train d/train --dev d/dev --test d/test"
) -> None:
    main(["validate_data", *sets.split(), "--fs", "8k", *options.split()])


def test_good_sets_print_a_line_each(capsys):
    run("--stats_dir stats --token_list tokens.txt")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    good = "2 utterances, 2.0 s (1.00 to 1.00), every sample read: good"
    assert lines[0].endswith(good)
    run("--full false")
    assert "headers read" in capsys.readouterr().out


SHAPES, STATS = "stats/train/speech_shape", "--stats_dir stats"
FRONT = "--hop_length 128 --subsampling 4"  # 8000 samples are 63 frames, 16 outputs
NOISE, SIX = {"a-1": "<NOISE> uno", "a-2": "a"}, "--hop_length 1600 --subsampling 1"
LIMITS = [  # a list that is changed, what it holds then, options, what is said
    *[
        (SHAPES, {"a-1": "8000", "a-2": value}, STATS, f"line 2 '{value}'")
        for value in ("abc", "", "-3", "3,", "1.5", "²")
    ],
    (SHAPES, {"a-1": "8000", "b": "8000"}, STATS, "lacks 1 (a-2)"),
    ("stats/valid/speech_shape", {"b-1": "4000"}, STATS, "E_WAV_LENGTH: utt b-1"),
    ("d/train/text", {"a-1": "uno", "a-2": "no" * 8}, FRONT, ""),
    # a repeated token needs a blank
    ("d/train/text", {"a-1": "uno", "a-2": "no" * 7 + "ss"}, FRONT, "needs 17, has 16"),
    ("d/train/text", NOISE, SIX, "a-1 needs 11, has 6"),
    ("d/train/text", NOISE, f"{SIX} --non_linguistic_symbols nlsyms", ""),
    ("d/dev/utt2spk", {"b-1": "a"}, "", ""),  # one speaker may be in two sets
    ("d/dev/utt2spk", {"b-1": "a"}, "--check_speakers true", "E_OVERLAP: 1 speakers "),
]


@pytest.mark.parametrize("path, pairs, options, says", LIMITS)
def test_where_the_limits_are(path, pairs, options, says, refuses):
    write_pairs(Path(path), pairs)
    if says:
        refuses(lambda: run(options), 65, says)
    else:
        run(options)


def test_a_test_set_in_a_folder_named_dev_is_one_more(capsys):
    shutil.copytree("d/test", "dev")
    run("", "--dev d/dev --test dev")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["d/dev", "dev"]


@pytest.mark.parametrize(
    "named, status, code",
    [
        ("--dev d/dev", 65, "E_DEV_EMPTY"),
        ("--test d/dev", 65, "E_SET_EMPTY"),
        ("", 64, "E_USAGE"),
    ],
)
def test_sets_without_utterances(named, status, code, refuses):
    for name in ("wav.scp", "text"):
        Path("d/dev", name).write_text("")
    refuses(lambda: run(sets=named), status, code)


def test_the_same_utterance_in_dev_and_test(refuses):
    for name in ("wav.scp", "text"):
        (value,) = read_pairs(Path("d/dev", name)).values()
        write_pairs(Path("d/dev", name), {"c-1": value})
    both = "1 utterances in both d/dev/wav.scp and d/test/wav.scp (c-1)"
    refuses(run, 65, both)
    same = "2 utterances in both d/train/wav.scp and d/train/wav.scp (a-1, a-2)"
    refuses(lambda: run(sets="--train d/train --dev d/train"), 65, same)
    refuses(lambda: run(sets="--train d/train --test d/test d/train"), 65, same)


def test_the_development_set_may_be_a_test_set(capsys):
    run(sets="--train d/train --dev d/dev --test d/dev d/test d/test")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["d/train", "d/dev", "d/test"]


def test_the_same_recording_under_another_id(refuses):
    shutil.copy("d/train/wav/a-2.wav", "d/dev/wav/b-1.wav")
    refuses(run, 65, "1 recordings in both")
    run("--allow_overlap true")
    run("--full false")  # audio is not read then


def test_a_genuine_recipe(shared, monkeypatch):
    """Sets made by ESPnet's own recipe; their paths refer to its folder."""
    monkeypatch.chdir(shared / "espnet_mini_an4")
    sets = {"train": Path("dump/raw/train_nodev"), "dev": Path("dump/raw/train_dev")}
    reports = validate_sets(
        **sets,
        fs=16000,
        cut=TextReader.of({"token_type": "char"}, "test").tokens,
        token_list=read_token_list(Path("data/en_token_list/char/tokens.txt")),
        test=[Path("dump/raw/test")],
        stats_dir=Path("exp/asr_stats_raw_en_char"),
        allow_overlap=True,
    )
    for report, folder in zip(reports, sets.values()):
        lengths = read_pairs(folder / "utt2num_samples")
        assert report.samples == {u: int(n) for u, n in lengths.items()}
