"""Audio files named in ``wav.scp``: checked, as float32 between -1 and 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import DATA, MISSING, TopDownError


def read_wav_scp(path: Path) -> dict[str, str]:
    """Utterance id -> audio file. A line that would run a command is an error.

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
    lengths = {utt: n_samples(utt, file) for utt, file in files.items()}
    for utt in sorted(lengths, key=lambda u: (-lengths[u], u)):
        yield utt, read_sound(utt, files[utt], fs)


def n_samples(utt: str, file: str) -> int:
    """Number of samples by the file's header."""
    import soundfile

    if not Path(file).is_file():
        do = "check wav.scp; relative paths refer to the recipe folder"
        raise TopDownError("E_WAV_MISSING", f"utt {utt}: no file {file}", do, MISSING)
    try:
        return int(soundfile.info(file).frames)
    except (soundfile.LibsndfileError, RuntimeError):
        raise _format_error(utt, file) from None


def read_sound(utt: str, file: str, fs: int) -> np.ndarray:
    """The samples of a mono file, shape (n_samples,).

    Raises:
        TopDownError: E_WAV_MISSING, E_WAV_FORMAT, E_WAV_RATE, E_WAV_CHANNELS,
            E_WAV_EMPTY or E_WAV_NONFINITE, naming the utterance.
    """
    import soundfile

    n_samples(utt, file)
    try:
        sound, rate = soundfile.read(file, dtype="float32")
    except (soundfile.LibsndfileError, RuntimeError):
        raise _format_error(utt, file) from None
    if rate != fs:
        what = f"utt {utt}: {rate} Hz, the model expects {fs} Hz ({file})"
        do = "resample it (stage 3), or check frontend_conf.fs"
        raise TopDownError("E_WAV_RATE", what, do, DATA)
    if sound.ndim != 1:
        what = f"utt {utt}: {sound.shape[1]} channels ({file})"
        raise TopDownError("E_WAV_CHANNELS", what, "choose one channel (stage 3)", DATA)
    if not len(sound):
        what = f"utt {utt}: no samples ({file})"
        raise TopDownError("E_WAV_EMPTY", what, "leave the utterance out", DATA)
    if not np.isfinite(sound).all():
        first = int(np.flatnonzero(~np.isfinite(sound))[0])
        what = f"utt {utt}: sample {first} is NaN or infinite ({file})"
        raise TopDownError("E_WAV_NONFINITE", what, "make the file again", DATA)
    return sound


def _format_error(utt: str, file: str) -> TopDownError:
    what = f"utt {utt}: {file} is no WAV, FLAC or other audio file that can be read"
    return TopDownError("E_WAV_FORMAT", what, "make the file again (stage 3)", DATA)
