"""Small data directories with generated audio."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from espnet_topdown.data.kaldi_dir import write_dir


def tone(seconds: float, fs: int = 8000, hz: float = 440.0) -> np.ndarray:
    """A sine at a third of full scale, float32 (T,)."""
    t = np.arange(round(seconds * fs)) / fs
    return (0.33 * np.sin(2 * np.pi * hz * t)).astype(np.float32)


@pytest.fixture
def make_set(tmp_path):
    """``make_set("train", {"a-1": "uno"})``: a data directory, one second a line."""

    def make(name="train", texts=None, fs=8000, seconds=1.0, suffix="wav"):
        texts = {"a-1": "uno", "a-2": "dos"} if texts is None else texts
        folder = tmp_path / name
        (folder / "wav").mkdir(parents=True)
        wavs = {}
        for i, utt in enumerate(texts):
            path = folder / "wav" / f"{utt}.{suffix}"
            hz = 300 + 7 * i + sum(map(ord, name))
            soundfile.write(path, tone(seconds, fs, hz), fs, "PCM_16")
            wavs[utt] = str(path)
        speakers = {utt: utt.split("-")[0] for utt in texts}
        write_dir(folder, {"wav.scp": wavs, "text": texts, "utt2spk": speakers})
        return folder

    return make
