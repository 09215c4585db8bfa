"""What is checked before training; the faults themselves are in test/catalogue.yaml.

Rows 44 to 67 of the catalogue run ``validate_data``; here is where its limits are, and
that sets are checked together.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from espnet_topdown.cli.main import main
from espnet_topdown.data.kaldi_dir import read_pairs, write_pairs
from espnet_topdown.data.tokens import read_token_list
from espnet_topdown.data.validate import (
    Front,
    SetReport,
    compare_sets,
    validate_set,
    validate_sets,
)
from espnet_topdown.errors import TopDownError
from espnet_topdown.models.text import TextReader

MINI_AN4 = Path(__file__).parents[3] / "shared" / "data" / "espnet_mini_an4"
TOKENS = ["<blank>", "<unk>", "<space>", *"acdegimnorstu", "<sos/eos>"]
UTTS = {f"a-{i}": "uno dos" for i in range(4)}


@pytest.fixture
def folder(make_set):
    """Four good utterances of one second, 8 kHz."""
    return make_set(texts=UTTS)


def check(folder, nlsyms=None, token_type="char", **options):
    options.setdefault("fs", 8000)
    text = {"token_type": token_type, "non_linguistic_symbols": nlsyms}
    options.setdefault("cut", TextReader.of(text, "test").tokens)
    return validate_set(folder / "wav.scp", folder / "text", **options)


def refused(folder, code, *parts, status=65, **options):
    """The set must be refused with this code, and the message name these parts."""
    with pytest.raises(TopDownError) as e:
        check(folder, **options)
    assert e.value.code == code, str(e.value)
    assert e.value.status == status
    for part in parts:
        assert part in str(e.value), part


def test_a_good_set(folder, monkeypatch):
    report = check(folder, token_list=TOKENS)
    assert (report.texts, report.seconds, report.full) == (UTTS, 4.0, True)
    assert report.samples == dict.fromkeys(UTTS, 8000)
    write_pairs(folder / "wav.scp", {utt: f"wav/{utt}.wav" for utt in UTTS})
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        check(folder)
    refused(folder, "E_WAV_MISSING", "a-0", status=66)


@pytest.mark.parametrize(
    "name, utts, parts",
    [
        ("wav.scp", ["a-0", "a-1", "a-3"], ["wav.scp (against", "lacks 1 (a-2)"]),
        ("speech_shape", ["a-1", "a-2", "a-3", "b"], ["lacks 1 (a-0)", "lacks 1 (b)"]),
    ],
)
def test_ids_differ(folder, name, utts, parts):
    write_pairs(folder / "speech_shape", dict.fromkeys(UTTS, "8000"))
    pairs = {**dict.fromkeys(utts, "8000"), **read_pairs(folder / name)}
    write_pairs(folder / name, {utt: pairs[utt] for utt in utts})
    refused(folder, "E_UTT_SETS", *parts, shape_files=[folder / "speech_shape"])


@pytest.mark.parametrize("value", ["abc", "", "-3", "3,", "1.5", "²"])
def test_a_shape_is_not_numeric(folder, tmp_path, value):
    shape = tmp_path / "speech_shape"
    write_pairs(shape, {**dict.fromkeys(UTTS, "8000"), "a-1": value})
    refused(folder, "E_SHAPE", "line 2", f"'{value}'", shape_files=[shape])


def test_a_symbol_is_one_token_not_its_characters(make_set, caplog):
    folder = make_set(texts={f"a-{i}": "<NOISE> uno" for i in range(4)})
    tokens = [*TOKENS[:-1], "<NOISE>", "<sos/eos>"]
    check(folder, token_list=tokens, nlsyms=["<NOISE>"])
    assert "W_TEXT_UNK" not in caplog.text
    front = Front(hop=1600, subsampling=1)  # 8000 samples: 6 outputs
    check(folder, nlsyms=["<NOISE>"], front=front)
    refused(folder, "E_TEXT_UNK", "'<' in a-0", token_list=tokens)
    refused(folder, "E_CTC_INFEASIBLE", "needs 11, has 6", front=front)


def test_a_few_unknown_characters_are_counted(folder, caplog):
    write_pairs(folder / "text", {**UTTS, "a-2": "uno z dos uno dos uno dos"})
    check(folder, token_list=TOKENS)
    assert "W_TEXT_UNK: " in caplog.text and ": 1 of " in caplog.text


def test_more_tokens_than_outputs(folder):
    # 8000 samples // 128 + 1 = 63 frames; / 4 = 16 outputs
    front = Front(hop=128, subsampling=4)
    write_pairs(folder / "text", {**UTTS, "a-2": "no" * 8})
    check(folder, front=front)  # 16 tokens
    write_pairs(folder / "text", {**UTTS, "a-2": "no" * 7 + "ss"})
    parts = ("1 of 4", "a-2 needs 17, has 16")  # a repeated token needs a blank
    refused(folder, "E_CTC_INFEASIBLE", *parts, front=front)


TEXTS = {
    "train": {"a-1": "uno", "a-2": "dos"},
    "dev": {"b-1": "tres"},
    "test": {"c-1": "uno"},
}


@pytest.fixture
def sets(make_set):
    """Folders of a train, a dev and a test set."""
    return {name: make_set(name, texts) for name, texts in TEXTS.items()}


def reports(sets) -> list[SetReport]:
    return [SetReport(f / "wav.scp", f / "text", {}) for f in sets.values()]


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


def test_sets_without_utterances(sets, capsys):
    for name in ("wav.scp", "text"):
        (sets["dev"] / name).write_text("")
    empty = sets["dev"]
    for dirs, code in (
        ({"dev": empty}, "E_DEV_EMPTY"),
        ({"test": empty}, "E_SET_EMPTY"),
        ({}, "E_USAGE"),
    ):
        with pytest.raises(SystemExit):
            run(dirs)
        assert code in capsys.readouterr().err


@pytest.mark.parametrize("other", ["train", "test"])
def test_the_same_utterance_in_two_sets(sets, other):
    shared = list(TEXTS[other])[0]
    for name in ("wav.scp", "text"):
        pairs = read_pairs(sets["dev"] / name)
        write_pairs(sets["dev"] / name, {shared: pairs["b-1"]})
    with pytest.raises(TopDownError) as e:
        compare_sets(reports(sets))
    assert e.value.code == "E_OVERLAP" and f"({shared})" in str(e.value)


def test_the_same_recording_under_another_id(sets, capsys):
    copy = sets["dev"] / "wav" / "b-1.wav"
    shutil.copy(sets["train"] / "wav" / "a-2.wav", copy)
    with pytest.raises(SystemExit):
        run(sets)
    assert "1 recordings in both" in capsys.readouterr().err
    run(sets, "--allow_overlap", "true")
    run(sets, "--full", "false")  # audio is not read then


def test_speakers_only_when_asked(sets):
    write_pairs(sets["dev"] / "utt2spk", {"b-1": "a"})
    compare_sets(reports(sets))
    with pytest.raises(TopDownError, match=r"E_OVERLAP: 1 speakers .*\(a\)"):
        compare_sets(reports(sets), speakers=True)


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
            validate_sets(fs=16000, cut=list, **sets, allow_overlap=True)
        return
    tokens = Path("data/en_token_list/char/tokens.txt")
    reports = validate_sets(
        fs=16000,
        cut=TextReader.of({"token_type": "char"}, "test").tokens,
        token_list=read_token_list(tokens),
        **sets,
        test=[dump / "test"],
        stats_dir=Path("exp/asr_stats_raw_en_char"),
        allow_overlap=True,
    )
    for role, folder in sets.items():
        lengths = read_pairs(folder / "utt2num_samples")
        assert reports[role].samples == {u: int(n) for u, n in lengths.items()}
