from __future__ import annotations

import numpy as np
import pytest

from espnet_topdown.data.audio import Source
from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring.sound import longest_first, read_sound, read_wav_scp

soundfile = pytest.importorskip("soundfile")
NOISE = np.random.default_rng(1).normal(0, 0.1, 999)


def test_longest_first(tmp_path) -> None:
    sources = []
    for name, n in {"u3.wav": 3, "u7.wav": 7, "u5.wav": 5, "v5.flac": 5}.items():
        soundfile.write(tmp_path / name, np.full(n, 0.25), 16000)
        sources.append(Source(name[:2], str(tmp_path / name), ""))
    got = [(utt, len(x), x.dtype) for utt, x in longest_first(sources, 16000)]
    want = [("u7", 7), ("u5", 5), ("v5", 5), ("u3", 3)]
    assert got == [(utt, n, np.float32) for utt, n in want]


@pytest.mark.parametrize(
    "samples, fs, subtype, code, status",
    [
        (None, 16000, None, "E_WAV_MISSING", 66),
        ("", 16000, None, "E_WAV_FORMAT", 65),
        (np.zeros(9), 8000, None, "E_WAV_RATE", 65),
        (np.zeros((9, 2)), 16000, None, "E_WAV_CHANNELS", 65),
        (np.full(9, np.nan), 16000, "FLOAT", "E_WAV_NONFINITE", 65),
    ],
)
def test_bad_files_are_named_with_utterance_and_line(
    tmp_path, samples, fs, subtype, code, status
) -> None:
    file = tmp_path / "x.wav"
    if isinstance(samples, str):
        file.write_text(samples)
    elif samples is not None:
        soundfile.write(file, samples, fs, subtype)
    (tmp_path / "wav.scp").write_text(f"u0 {tmp_path}/good.wav\nu1 {file}\n")
    soundfile.write(tmp_path / "good.wav", np.zeros(9), 16000)
    where = rf"{code}: utt u1 \({tmp_path}/wav.scp line 2\): "
    with pytest.raises(TopDownError, match=where) as e:
        list(longest_first(read_wav_scp(tmp_path / "wav.scp").values(), 16000))
    assert e.value.status == status


def test_a_sound_is_read_as_espnet_reads_it(tmp_path) -> None:
    for name, subtype in (("x.wav", "PCM_16"), ("y.flac", "PCM_24"), ("z.wav", "ULAW")):
        soundfile.write(tmp_path / name, NOISE, 16000, subtype)
        want, _ = soundfile.read(tmp_path / name, dtype="float32")
        got = read_sound(Source("u1", str(tmp_path / name), ""), 16000)
        assert got.dtype == np.float32 and np.array_equal(got, want)


@pytest.mark.parametrize(
    "line, code",
    [
        ("u1 cat x.wav |", "E_PIPE"),  # refused, not run
        ("u1 | cat x.wav", "E_PIPE"),
        ("u1 touch y|", "E_PIPE"),
        ("", "E_DEV_EMPTY"),
    ],
)
def test_lists_that_are_refused(tmp_path, line: str, code: str) -> None:
    (tmp_path / "wav.scp").write_text(line and line + "\n")
    with pytest.raises(TopDownError, match=code):
        read_wav_scp(tmp_path / "wav.scp")
