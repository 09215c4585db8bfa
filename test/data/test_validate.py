"""One test a row of the catalogue of bad inputs (numbers 44-67)."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from sine import tone

from espnet_topdown.data.kaldi_dir import read_pairs, write_pairs
from espnet_topdown.data.validate import Front, validate_set
from espnet_topdown.errors import TopDownError
from espnet_topdown.models.text import TextReader

TOKENS = ["<blank>", "<unk>", "<space>", *"acdegimnorstu", "<sos/eos>"]
TEXTS = {f"a-{i}": "uno dos" for i in range(4)}


@pytest.fixture
def folder(make_set):
    """Four good utterances of one second, 8 kHz."""
    return make_set(texts=TEXTS)


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


def replace_audio(folder, samples, fs=8000, **options) -> None:
    """New contents for utterance a-2, line 3 of wav.scp."""
    soundfile.write(folder / "wav" / "a-2.wav", samples, fs, **options)


WHERE = ("a-2", "wav.scp line 3")


def test_a_good_set(folder):
    report = check(folder, token_list=TOKENS)
    assert (report.utterances, report.seconds, report.full) == (4, 4.0, True)
    assert (report.shortest, report.longest, report.unknown) == (1.0, 1.0, 0)
    assert report.samples == dict.fromkeys(TEXTS, 8000)


def test_relative_paths_start_at_root(folder):
    wavs = {utt: f"wav/{utt}.wav" for utt in TEXTS}
    write_pairs(folder / "wav.scp", wavs)
    assert check(folder, root=folder).utterances == 4
    refused(folder, "E_WAV_MISSING", "a-0", status=66)


def test_44_missing(folder):
    (folder / "wav" / "a-2.wav").unlink()
    refused(folder, "E_WAV_MISSING", *WHERE, "a-2.wav", status=66)


@pytest.mark.parametrize("content", [b"", b"<html>", b"RIFF\x00\x00\x00\x00WAVE"])
def test_45_not_audio(folder, content):
    (folder / "wav" / "a-2.wav").write_bytes(content)
    refused(folder, "E_WAV_FORMAT", *WHERE)


def test_46_cut_off_wav(folder):
    path = folder / "wav" / "a-2.wav"
    path.write_bytes(path.read_bytes()[:-1000])
    refused(folder, "E_WAV_LENGTH", *WHERE, "1000 bytes", full=False)


@pytest.mark.parametrize("damage", ["cut", "zeros"])
def test_46_damaged_flac_is_found_by_reading(make_set, damage):
    folder = make_set(texts=TEXTS, suffix="flac")
    path = folder / "wav" / "a-2.flac"
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + (b"" if damage == "cut" else bytes(half)))
    refused(folder, "E_WAV_LENGTH", *WHERE, "of 8000 samples", full=False)


def test_46_length_differs_from_the_shape(folder, tmp_path):
    shape = tmp_path / "speech_shape"
    write_pairs(shape, {**dict.fromkeys(TEXTS, "8000"), "a-2": "16000"})
    parts = ("8000 samples", "line 3 says 16000", "stage 10")
    refused(folder, "E_WAV_LENGTH", *parts, shape_files=[shape])
    write_pairs(shape, dict.fromkeys(TEXTS, "8000"))
    write_pairs(tmp_path / "text_shape", dict.fromkeys(TEXTS, "7,22"))
    check(folder, shape_files=[shape, tmp_path / "text_shape"])


def test_47_no_samples(folder):
    replace_audio(folder, np.zeros(0))
    refused(folder, "E_WAV_EMPTY", *WHERE)


def test_48_one_other_rate(folder):
    replace_audio(folder, tone(1.0, 16000), 16000)
    refused(folder, "E_WAV_RATE", *WHERE, "16000 Hz, others 8000")


def test_49_all_at_another_rate(folder):
    parts = ("files 8000 Hz, config fs 16000",)
    refused(folder, "E_WAV_RATE_ALL", *parts, fs=16000)


def test_50_stereo(folder):
    replace_audio(folder, np.zeros((8000, 2)))
    refused(folder, "E_WAV_CHANNELS", *WHERE, "2 channels", "stage 3")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_51_not_finite(folder, bad):
    samples = tone(1.0)
    samples[100] = bad
    replace_audio(folder, samples, subtype="FLOAT")
    refused(folder, "E_WAV_NONFINITE", *WHERE, "sample 100")
    check(folder, full=False)  # headers do not show it


@pytest.mark.parametrize(
    "samples, name",
    [(np.zeros(8000), "SILENT"), (np.sign(tone(1.0)), "CLIPPED")],
)
def test_52_silent_or_clipped(folder, caplog, samples, name):
    replace_audio(folder, samples)
    report = check(folder)
    assert f"W_WAV_{name}: 1 of 4 utterances: a-2" in caplog.text
    assert [report.silent, report.clipped] == [
        ["a-2"] if name == kind else [] for kind in ("SILENT", "CLIPPED")
    ]
    soundfile.write(folder / "wav" / "a-1.wav", samples, 8000)
    refused(folder, f"E_WAV_{name}", "2 of 4", "a-1, a-2")


def test_53_too_short(folder):
    replace_audio(folder, tone(0.0125))
    parts = ("a-2", "100 samples", "at least 400")
    refused(folder, "E_WAV_SHORT", *parts, front=Front(min_samples=400))


@pytest.mark.parametrize("pipe", ["touch {} |", "| touch {}"])
def test_54_pipe(folder, tmp_path, pipe):
    ran = tmp_path / "ran"
    wavs = {**read_pairs(folder / "wav.scp"), "a-2": pipe.format(ran)}
    write_pairs(folder / "wav.scp", wavs)
    refused(folder, "E_PIPE", *WHERE, "would run 'touch", "--allow_pipes")
    check(folder, allow_pipes=True)
    assert not ran.exists()


@pytest.mark.parametrize(
    "lists, parts",
    [
        (["text"], ["text lacks 1 (a-2)"]),
        (["wav.scp"], ["wav.scp (against", "lacks 1 (a-2)"]),
    ],
)
def test_56_ids_differ(folder, lists, parts):
    for name in lists:
        pairs = read_pairs(folder / name)
        del pairs["a-2"]
        write_pairs(folder / name, pairs)
    refused(folder, "E_UTT_SETS", *parts)


def test_56_ids_differ_in_a_shape(folder, tmp_path):
    shape = tmp_path / "speech_shape"
    write_pairs(shape, {**dict.fromkeys(list(TEXTS)[1:], "8000"), "b": "8000"})
    parts = ("speech_shape lacks 1 (a-0)", "lacks 1 (b)")
    refused(folder, "E_UTT_SETS", *parts, shape_files=[shape])


def test_no_utterances(folder):
    (folder / "wav.scp").write_text("")
    refused(folder, "E_SET_EMPTY")


@pytest.mark.parametrize("value", ["abc", "", "-3", "3,", "1.5", "²"])
def test_60_shape_is_not_numeric(folder, tmp_path, value):
    shape = tmp_path / "speech_shape"
    write_pairs(shape, {**dict.fromkeys(TEXTS, "8000"), "a-1": value})
    refused(folder, "E_SHAPE", "line 2", f"'{value}'", shape_files=[shape])


def test_61_empty_reference(folder):
    (folder / "text").write_text("a-0 uno\na-1 dos\na-2\na-3 uno\n")
    refused(folder, "E_TEXT_EMPTY", "a-2", "text line 3")


def test_62_wrong_case(folder):
    write_pairs(folder / "text", dict.fromkeys(TEXTS, "UNO"))
    parts = ("12 of 12 tokens (100.0 %) are unknown", "'U' in a-0")
    refused(folder, "E_TEXT_UNK", *parts, token_list=TOKENS)


def test_62_a_symbol_is_one_token_not_its_characters(make_set):
    folder = make_set(texts={f"a-{i}": "<NOISE> uno" for i in range(4)})
    tokens = [*TOKENS[:-1], "<NOISE>", "<sos/eos>"]
    report = check(folder, token_list=tokens, nlsyms=["<NOISE>"])
    assert report.unknown == 0
    front = Front(hop=1600, subsampling=1)  # 8000 samples: 6 outputs
    check(folder, nlsyms=["<NOISE>"], front=front)
    refused(folder, "E_TEXT_UNK", "'<' in a-0", token_list=tokens)
    refused(folder, "E_CTC_INFEASIBLE", "needs 11, has 6", front=front)


def test_62_a_few_unknown_characters_are_counted(folder):
    write_pairs(folder / "text", {**TEXTS, "a-2": "uno z dos uno dos uno dos"})
    assert check(folder, token_list=TOKENS).unknown == 1


@pytest.mark.parametrize("word, good", [("uno", True), ("una", False)])
def test_62_words(folder, word, good):
    tokens = ["<blank>", "<unk>", word, "dos", "<sos/eos>"]
    options = {"token_list": tokens, "token_type": "word"}
    if good:
        assert check(folder, **options).unknown == 0
    else:
        refused(folder, "E_TEXT_UNK", **options)


@pytest.mark.parametrize(
    "data, code, part",
    [
        (b"a-0 uno\na-0 uno\n", "E_UTT_DUP", "lines 1, 2"),  # 57
        (b"../a uno\n", "E_UTT_ID", "line 1"),  # 55
        (b"a-0 uno\na-1 \xff\n", "E_UTF8", "line 2 byte 5"),  # 64
        (b"a-0 uno\n\n", "E_TEXT_LINE", "line 2"),  # 65
    ],
)
def test_55_to_65_lists(folder, data, code, part):
    (folder / "text").write_bytes(data)
    refused(folder, code, part)


def test_66_more_tokens_than_outputs(folder):
    # 8000 samples // 128 + 1 = 63 frames; / 4 = 16 outputs
    front = Front(hop=128, subsampling=4)
    write_pairs(folder / "text", {**TEXTS, "a-2": "no" * 8})
    assert check(folder, front=front).utterances == 4  # 16 tokens
    write_pairs(folder / "text", {**TEXTS, "a-2": "no" * 7 + "ss"})
    parts = ("1 of 4", "a-2 needs 17, has 16")  # a repeated token needs a blank
    refused(folder, "E_CTC_INFEASIBLE", *parts, front=front)


def test_67_token_list(folder):
    refused(folder, "E_TOKENS", "starts with", token_list=TOKENS[1:])


def test_a_comma_in_the_path(make_set):
    folder = make_set("a,b")
    refused(folder, "E_PATH", "','", status=64)
