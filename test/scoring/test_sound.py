from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring.sound import read_longest_first, read_wav_scp

soundfile = pytest.importorskip("soundfile")
NOISE = np.random.default_rng(1).normal(0, 0.1, 999)


def test_sounds_are_read_as_espnet_reads_them_the_longest_first(tmp_path) -> None:
    files = {"u3.wav": "PCM_16", "u7.flac": "PCM_24", "u5.wav": "ULAW", "v5.wav": ""}
    lines = []
    for name, subtype in files.items():
        file = tmp_path / name
        soundfile.write(file, NOISE[: int(name[1])], 16000, subtype or None)
        lines.append(f"{name[:2]} {file}\n")
    (tmp_path / "wav.scp").write_text("".join(lines))
    sources = read_wav_scp(tmp_path / "wav.scp").values()
    got = dict(read_longest_first(sources, 16000))
    assert list(got) == ["u7", "u5", "v5", "u3"]
    for name in files:
        want, _ = soundfile.read(tmp_path / name, dtype="float32")
        sound = got[name[:2]]
        assert sound.dtype == np.float32 and np.array_equal(sound, want)


@pytest.mark.parametrize(
    "line, says",
    [
        ("u1 16k.wav\nu2 8k.wav", r"E_WAV_RATE: utt u2 \(wav.scp line 2\): 8000 Hz"),
        ("u1 no.wav", r"E_WAV_MISSING: utt u1 \(wav.scp line 1\).*recipe's folder"),
        ("u1 touch y|", r"E_PIPE: utt u1 \(wav.scp line 1\)"),  # refused, not run
        ("", "E_DEV_EMPTY: wav.scp names no utterance"),
    ],
)
def test_what_is_refused_is_named_with_its_line(tmp_path, monkeypatch, line, says):
    """What else may be wrong with a file is in test/data/test_sound_faults.py."""
    monkeypatch.chdir(tmp_path)
    for khz in (8, 16):
        soundfile.write(f"{khz}k.wav", NOISE, khz * 1000)
    Path("wav.scp").write_text(f"{line}\n" if line else "")
    with pytest.raises(TopDownError, match=says):
        list(read_longest_first(read_wav_scp(Path("wav.scp")).values(), 16000))
    assert not Path("y").exists()
