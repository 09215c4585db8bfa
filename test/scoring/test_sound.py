from __future__ import annotations

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
    "file, samples, fs, subtype, code, status",
    [
        ("x.wav", None, 16000, None, "E_WAV_MISSING", 66),
        ("x.wav", "", 16000, None, "E_WAV_FORMAT", 65),
        ("x.wav", np.zeros(9), 8000, None, "E_WAV_RATE", 65),
        ("x.wav", np.zeros((9, 2)), 16000, None, "E_WAV_CHANNELS", 65),
        ("x.wav", np.full(9, np.nan), 16000, "FLOAT", "E_WAV_NONFINITE", 65),
        ("cat x.wav |", None, 16000, None, "E_PIPE", 65),  # refused, not run
        ("| cat x.wav", None, 16000, None, "E_PIPE", 65),
        ("touch y|", None, 16000, None, "E_PIPE", 65),
        (None, None, 16000, None, "E_DEV_EMPTY", 65),
    ],
)
def test_what_is_refused_is_named_with_its_line(
    tmp_path, monkeypatch, file, samples, fs, subtype, code, status
) -> None:
    monkeypatch.chdir(tmp_path)
    if isinstance(samples, str):
        (tmp_path / file).write_text(samples)
    elif samples is not None:
        soundfile.write(file, samples, fs, subtype)
    (tmp_path / "wav.scp").write_text(f"u1 {file}\n" if file else "")
    line = r"utt u1 \(wav.scp line 1\)" if file else "wav.scp"
    wav_scp = (tmp_path / "wav.scp").relative_to(tmp_path)
    with pytest.raises(TopDownError, match=f"{code}: {line}") as e:
        list(read_longest_first(read_wav_scp(wav_scp).values(), 16000))
    assert e.value.status == status
