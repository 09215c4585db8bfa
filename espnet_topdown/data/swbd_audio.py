"""Two-channel telephone SPHERE files to FLAC, a file for each side, 16 kHz.

In shards, resumable; a bad file stops no other.
"""

from __future__ import annotations

import logging
from pathlib import Path

from espnet_topdown.data import sphere, wav_io
from espnet_topdown.data.kaldi_dir import c_sorted, read_pairs, shard
from espnet_topdown.errors import DATA, TopDownError

SOURCE_RATE, RATE = 8000, 16000
SIDES = "AB"
SAY_EVERY = 100  # files


def flac_path(output_dir: Path, recording: str) -> Path:
    """Where a side's audio is: a folder for each hundred conversations."""
    return Path(output_dir) / "flac" / recording[:5] / f"{recording}.flac"


def seconds(path: Path) -> float:
    """Length of a FLAC file; 0 for one that is missing or damaged."""
    import soundfile

    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError, OSError):
        return 0.0
    return info.frames / info.samplerate


def convert(sounds: Path, output_dir: Path, nj: int = 1, job: int | None = None) -> int:
    """Convert shard ``job`` of ``nj`` (from 1), or all.

    What is there already is left alone. A file that cannot be read is logged with its
    reason, the others are converted, and then all bad ones are one error.

    Args:
        sounds: Lines ``conversation path``.
        output_dir: FLAC files go to ``flac`` in it.
        nj: Number of shards.
        job: The shard.

    Returns:
        The number of conversations converted now.
    """
    sources = read_pairs(sounds)
    names = c_sorted(sources)
    part = names if job is None else shard(names, job, nj)
    reasons: list[TopDownError] = []
    done = 0
    for n, name in enumerate(part, 1):
        try:
            done += _one(Path(sources[name]), name, output_dir)
        except TopDownError as e:
            logging.error("%s: %s", name, e)
            reasons.append(e)
        if n % SAY_EVERY == 0 or n == len(part):
            logging.info("%d of %d files, %d converted now", n, len(part), done)
    if reasons:
        first, _, do = str(reasons[0]).rpartition(" Do: ")
        what = f"{len(reasons)} of {len(part)} files cannot be converted, e.g. {first}"
        do = f"{do.rstrip('.')} (the log names each file), then run this again"
        raise TopDownError("E_SWBD_CONVERT", what, do, DATA)
    return done


def _one(source: Path, name: str, output_dir: Path) -> bool:
    """Convert a file unless both its sides are there; whether it was done now."""
    import soundfile

    targets = [flac_path(output_dir, f"{name}-{side}") for side in SIDES]
    header = sphere.read_header(source)
    channels = header.count("channel_count", 1)
    rate = header.count("sample_rate")
    if channels != len(SIDES) or rate != SOURCE_RATE:
        what = f"{source}: {channels} channels at {rate} Hz"
        do = f"check that it is a file of this corpus (2 channels, {SOURCE_RATE} Hz)"
        raise TopDownError("E_WAV_RATE", what, do, DATA)
    frames = (source.stat().st_size - header.size) // channels  # one byte a sample
    plain = not header.packing and header.coding == "ulaw"
    frames = frames if plain else 0
    if frames and all(abs(seconds(t) - frames / rate) < 0.001 for t in targets):
        return False
    samples, rate = sphere.read(source)
    if len(samples) < frames:  # the header counts too few: the file's size is right
        samples, rate = soundfile.read(str(source), dtype="int16", always_2d=True)
    for channel, target in enumerate(targets):
        wide = wav_io.resample(samples[:, channel], rate, RATE)
        wav_io.write(target, wide, RATE, "flac")
    return True
