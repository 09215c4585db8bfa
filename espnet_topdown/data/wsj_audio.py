"""Compressed SPHERE files to FLAC: in shards, resumable; a bad file stops no other."""

from __future__ import annotations

import logging
from pathlib import Path

from espnet_topdown.data import sphere, wav_io
from espnet_topdown.data.kaldi_dir import c_sorted, read_pairs, shard
from espnet_topdown.errors import DATA, TopDownError

RATE = 16000
SAY_EVERY = 1000  # files


def flac_path(output_dir: Path, utt: str) -> Path:
    """Where an utterance's audio is; a folder for each speaker."""
    return Path(output_dir) / "flac" / utt[:3] / f"{utt}.flac"


def convert(
    wav_scp: Path, output_dir: Path, nj: int = 1, job: int | None = None
) -> int:
    """Convert shard ``job`` of ``nj`` (from 1), or all.

    What is there already is left alone. A file that cannot be read is logged with
    its reason, the others are converted, and then all bad ones are one error.

    Returns:
        The number of files converted now.
    """
    sources = read_pairs(wav_scp)
    utts = c_sorted(sources)
    part = utts if job is None else shard(utts, job, nj)
    reasons: list[TopDownError] = []
    done = 0
    for n, utt in enumerate(part, 1):
        try:
            done += _one(Path(sources[utt]), flac_path(output_dir, utt))
        except TopDownError as e:
            logging.error("utt %s: %s", utt, e)
            reasons.append(e)
        if n % SAY_EVERY == 0 or n == len(part):
            logging.info("%d of %d files, %d converted now", n, len(part), done)
    if reasons:
        first, _, do = str(reasons[0]).rpartition(" Do: ")
        what = f"{len(reasons)} of {len(part)} files cannot be converted, e.g. {first}"
        do = f"{do.rstrip('.')} (the log names each file), then run this again"
        raise TopDownError("E_WSJ_CONVERT", what, do, DATA)
    return done


def _one(source: Path, target: Path) -> bool:
    """Convert a file unless that is done; whether it was converted now."""
    import soundfile

    if target.exists():
        try:
            frames = soundfile.info(str(target)).frames
        except (soundfile.LibsndfileError, RuntimeError):
            frames = 0
        if frames and frames == sphere.read_header(source).count("sample_count"):
            return False
    samples, rate = sphere.read(source)
    if rate != RATE or samples.shape[1] != 1:
        what = f"{source}: {samples.shape[1]} channels at {rate} Hz"
        do = f"check that it is a file of this corpus (1 channel, {RATE} Hz)"
        raise TopDownError("E_WAV_RATE", what, do, DATA)
    wav_io.write(target, samples[:, 0], rate, "flac")
    return True
