"""Audio files named in ``wav.scp``: checked, as float32 between -1 and 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from espnet_topdown.data.audio import Source, header, read
from espnet_topdown.data.kaldi_dir import places, read_pairs
from espnet_topdown.errors import DATA, TopDownError


def read_wav_scp(path: Path) -> dict[str, Source]:
    """Return what to read by utterance id. A line that would run a command is an error.

    Raises:
        TopDownError: E_PIPE (65), E_DEV_EMPTY (65) and those of ``read_pairs``.
    """
    files = read_pairs(path)
    if not files:
        what = f"{path} names no utterance"
        raise TopDownError("E_DEV_EMPTY", what, "run the stage that writes it", DATA)
    lines = places(path)
    sources = {u: Source(u, file, f"utt {u} ({lines[u]})") for u, file in files.items()}
    for source in sources.values():
        if source.is_pipe:
            what = f"{source.where} would run '{source.value.strip('| ')}'"
            do = "make audio files of it first (stage 3)"
            raise TopDownError("E_PIPE", what, do, DATA)
    return sources


def longest_first(
    sources: Iterable[Source], fs: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Read sounds one at a time, those with the most samples first.

    Args:
        sources: From ``read_wav_scp``.
        fs: The sample rate that every file must have, in Hz.
    """
    lengths = {source: header(source)[0] for source in sources}
    for source in sorted(lengths, key=lambda s: (-lengths[s], s.utt)):
        yield source.utt, read_sound(source, fs)


def read_sound(source: Source, fs: int) -> np.ndarray:
    """Return the samples of a mono file, shape (n_samples,).

    Raises:
        TopDownError: E_WAV_RATE, and those of ``data.audio.read``, naming the
            utterance and its line.
    """
    sound, rate = read(source)
    if rate != fs:
        what = f"{source.where}: {rate} Hz, the model expects {fs} Hz ({source.value})"
        do = "resample it (stage 3), or check frontend_conf.fs"
        raise TopDownError("E_WAV_RATE", what, do, DATA)
    if sound.dtype == np.int16:  # as libsndfile makes floats of them
        sound = sound.astype(np.float32) / 32768
    return sound
