"""Audio files named in ``wav.scp``: checked, as float32 between -1 and 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from espnet_topdown.data.audio import Source, audio_path, header, read, sources_of
from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import DATA, TopDownError


def read_wav_scp(path: Path) -> dict[str, Source]:
    """Read a ``wav.scp``; a line that would run a command is an error.

    Args:
        path: The list, or a folder of its parts.

    Returns:
        Utterance id -> its audio.

    Raises:
        TopDownError: E_DEV_EMPTY (65) and those of ``read_pairs`` and ``audio_path``.
    """
    sources = {source.utt: source for source in sources_of(path, read_pairs(path))}
    if not sources:
        what = f"{path} names no utterance"
        raise TopDownError("E_DEV_EMPTY", what, "run the stage that writes it", DATA)
    for source in sources.values():
        audio_path(source)
    return sources


def read_longest_first(
    sources: Iterable[Source], fs: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Read sounds one at a time, those with the most samples first.

    Args:
        sources: From ``read_wav_scp``.
        fs: The sample rate that every file must have, in Hz.

    Yields:
        Utterance id and samples, (n_samples,), float32 between -1 and 1.

    Raises:
        TopDownError: E_WAV_RATE (65), and those of ``data.audio.read``, naming the
            utterance and its line.
    """
    lengths = {source: header(source)[0] for source in sources}
    for source in sorted(lengths, key=lambda s: (-lengths[s], s.utt)):
        sound, rate = read(source)
        if rate != fs:
            what = f"{source.where}: {rate} Hz, the model expects {fs} Hz "
            do = "resample it (stage 3), or check frontend_conf.fs"
            raise TopDownError("E_WAV_RATE", f"{what}({source.value})", do, DATA)
        if sound.dtype == np.int16:  # as libsndfile makes floats of them
            sound = sound.astype(np.float32) / 32768
        yield source.utt, sound
