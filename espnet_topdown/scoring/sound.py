"""Audio files named in ``wav.scp``: checked, as float32 between -1 and 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from espnet_topdown.data.audio import Source, header, read
from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import DATA, TopDownError


def read_wav_scp(path: Path) -> dict[str, str]:
    """Return audio files by utterance id. A line that would run a command is an error.

    Raises:
        TopDownError: E_PIPE (65), E_DEV_EMPTY (65) and those of ``read_pairs``.
    """
    files = read_pairs(path)
    if not files:
        what = f"{path} names no utterance"
        raise TopDownError("E_DEV_EMPTY", what, "run the stage that writes it", DATA)
    for utt, file in files.items():
        if file.startswith("|") or file.endswith("|"):
            raise TopDownError(
                "E_PIPE",
                f"{path}: {utt} would run '{file.strip('| ')}'",
                "make audio files of it first (stage 3)",
                DATA,
            )
    return files


def longest_first(
    files: Mapping[str, str], fs: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Read sounds one at a time, those with the most samples first.

    Args:
        files: From ``read_wav_scp``.
        fs: The sample rate that every file must have, in Hz.
    """
    sources = (Source(utt, file, f"utt {utt}") for utt, file in files.items())
    lengths = {source.utt: header(source)[0] for source in sources}
    for utt in sorted(lengths, key=lambda u: (-lengths[u], u)):
        yield utt, read_sound(utt, files[utt], fs)


def read_sound(utt: str, file: str, fs: int) -> np.ndarray:
    """Return the samples of a mono file, shape (n_samples,).

    Raises:
        TopDownError: E_WAV_RATE, and those of ``data.audio.read``, naming the
            utterance.
    """
    sound, rate = read(Source(utt, file, f"utt {utt}"))
    if rate != fs:
        what = f"utt {utt}: {rate} Hz, the model expects {fs} Hz ({file})"
        do = "resample it (stage 3), or check frontend_conf.fs"
        raise TopDownError("E_WAV_RATE", what, do, DATA)
    if sound.dtype == np.int16:  # as libsndfile makes floats of them
        sound = sound.astype(np.float32) / 32768
    return sound
