from __future__ import annotations

import numpy as np
import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring.sound import (
    longest_first,
    n_samples,
    read_sound,
    read_wav_scp,
)

soundfile = pytest.importorskip("soundfile")


def write(path, n: int, fs: int = 16000, channels: int = 1, value: float = 0.25) -> str:
    samples = np.full((n, channels), value, dtype=np.float32)
    soundfile.write(path, samples, fs, subtype="FLOAT" if value != value else None)
    return str(path)


def test_longest_first(tmp_path) -> None:
    files = {f"u{n}": write(tmp_path / f"{n}.wav", n) for n in (3, 7, 5)}
    files["v5"] = write(tmp_path / "v.flac", 5)
    got = [(utt, len(x), x.dtype) for utt, x in longest_first(files, 16000)]
    want = [("u7", 7), ("u5", 5), ("v5", 5), ("u3", 3)]
    assert got == [(utt, n, np.float32) for utt, n in want]
    assert read_sound("u3", files["u3"], 16000) == pytest.approx([0.25] * 3, abs=1e-4)


@pytest.mark.parametrize(
    "kind, code, status",
    [
        ("missing", "E_WAV_MISSING", 66),
        ("text", "E_WAV_FORMAT", 65),
        ("nothing", "E_WAV_FORMAT", 65),
        ("8 kHz", "E_WAV_RATE", 65),
        ("stereo", "E_WAV_CHANNELS", 65),
        ("no samples", "E_WAV_EMPTY", 65),
        ("nan", "E_WAV_NONFINITE", 65),
    ],
)
def test_bad_files_are_named_with_their_utterance(tmp_path, kind, code, status) -> None:
    file = tmp_path / "x.wav"
    makers = {
        "missing": lambda: None,
        "text": lambda: file.write_text("no sound"),
        "nothing": lambda: file.write_bytes(b""),
        "8 kHz": lambda: write(file, 9, fs=8000),
        "stereo": lambda: write(file, 9, channels=2),
        "no samples": lambda: write(file, 0),
        "nan": lambda: write(file, 9, value=float("nan")),
    }
    makers[kind]()
    with pytest.raises(TopDownError, match=f"{code}: utt u1: ") as e:
        list(longest_first({"u1": str(file)}, 16000))
    assert e.value.status == status


def test_a_sound_is_read_as_espnet_reads_it(tmp_path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 999)
    for name, subtype in (("x.wav", "PCM_16"), ("y.flac", "PCM_24"), ("z.wav", "ULAW")):
        soundfile.write(tmp_path / name, noise, 16000, subtype)
        want, _ = soundfile.read(tmp_path / name, dtype="float32")
        got = read_sound("u1", str(tmp_path / name), 16000)
        assert got.dtype == np.float32 and np.array_equal(got, want)


def test_a_sound_that_breaks_off(tmp_path) -> None:
    """Its header can be read, its samples cannot."""
    noise = np.random.default_rng(1).normal(0, 0.1, 40_000)
    soundfile.write(tmp_path / "x.flac", noise, 16000)
    whole = (tmp_path / "x.flac").read_bytes()
    (tmp_path / "x.flac").write_bytes(whole[: len(whole) // 2])
    for look in (n_samples, lambda *args: read_sound(*args, 16000)):
        with pytest.raises(TopDownError, match="E_WAV_LENGTH: utt u1: .* cut off"):
            look("u1", str(tmp_path / "x.flac"))


@pytest.mark.parametrize("line", ["u1 cat x.wav |", "u1 | cat x.wav", "u1 touch y|"])
def test_commands_are_refused_not_run(tmp_path, line: str) -> None:
    (tmp_path / "wav.scp").write_text(line + "\n")
    with pytest.raises(TopDownError, match="E_PIPE"):
        read_wav_scp(tmp_path / "wav.scp")


def test_an_empty_list_is_an_error(tmp_path) -> None:
    (tmp_path / "wav.scp").write_text("")
    with pytest.raises(TopDownError, match="E_DEV_EMPTY"):
        read_wav_scp(tmp_path / "wav.scp")
