"""Sound goes through unchanged, or changed exactly as asked."""

from __future__ import annotations

import resource

import numpy as np
import pytest
import soundfile
from tones import sine

from espnet_topdown.data import audio
from espnet_topdown.data.audio import Source
from espnet_topdown.errors import TopDownError


def source(path, **cut) -> Source:
    return Source("a", str(path), "utt a (wav.scp line 1)", **cut)


@pytest.mark.parametrize("text", ["", "k", "0", "-8k", "8 k", "fast"])
def test_bad_rates(text):
    with pytest.raises(TopDownError, match="E_USAGE"):
        audio.parse_rate(text)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_sixteen_bits_survive_exactly(tmp_path, suffix):
    every = np.arange(-32768, 32768, dtype=np.int16)
    path = tmp_path / f"a.{suffix}"
    audio.write(path, every, 8000, suffix)
    samples, rate = audio.read(source(path))
    assert rate == 8000 and samples.dtype == np.int16
    assert np.array_equal(samples, every)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    as_float = every.astype(np.float32) / 32768
    audio.write(path, as_float, 8000, suffix)
    assert np.array_equal(audio.read(source(path))[0], every)
    audio.write(path, np.array([2.0, -2.0, 0.5]), 8000, suffix)  # clipped, not wrapped
    assert audio.read(source(path))[0].tolist() == [32767, -32768, 16384]


@pytest.mark.parametrize("rate, target", [(16000, 8000), (8000, 16000), (44100, 8000)])
def test_resample_keeps_length_pitch_and_level(rate, target):
    out = audio.resample(sine(1.0, rate, 440), rate, target)
    assert abs(len(out) - target) <= 1
    middle = slice(target // 10, -target // 10)
    assert np.abs(out[middle] - sine(1.0, target, 440)[: len(out)][middle]).max() < 1e-3
    assert audio.resample(out, target, target) is out, "nothing changes"


@pytest.mark.parametrize(
    "rate, subtype, channels, suffix, ready",
    [
        (8000, "PCM_16", 1, "wav", True),
        (8000, "PCM_16", 1, "flac", False),
        (16000, "PCM_16", 1, "wav", False),
        (8000, "PCM_24", 1, "wav", False),
        (8000, "PCM_16", 2, "wav", False),
    ],
)
def test_ready_means_nothing_needs_to_change(
    tmp_path, rate, subtype, channels, suffix, ready
):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.zeros((10, channels)), rate, subtype)
    assert audio.is_ready(source(path), 8000, "wav") == (10 if ready else 0)
    assert audio.is_ready(source(path, start=0.0, end=0.1), 8000, "wav") == 0


def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(0).integers(-9000, 9000, 9000).astype(np.int16)
    audio.write(path, noise[:100], 8000, "flac")
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (999, limits[1]))
    try:
        with pytest.raises(TopDownError, match=r"E_DISK: .*need \d{4,} B") as e:
            audio.write(path, noise, 8000, "flac")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert e.value.status == 74
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [before]
