"""Stage 2: copies of a training set played faster or slower, without sox.

Speed changes by resampling, so pitch changes with it, as with ``sox speed``. Speaker,
utterance and recording ids get the prefix ``sp<factor>-``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_topdown.data import audio
from espnet_topdown.data.audio import Source
from espnet_topdown.data.format import sources
from espnet_topdown.data.kaldi_dir import (
    check_target,
    places,
    read_dir,
    read_pairs,
    shard,
    write_dir,
    write_pairs,
)
from espnet_topdown.errors import DATA, USAGE, TopDownError
from espnet_topdown.files import check_apart


def parse_factors(words: Sequence[str]) -> list[str]:
    """The factors other than 1, as written; they become part of ids.

    >>> parse_factors(["0.9", "1.0", "1.1"]) == parse_factors(["0.9 1.0 1.1"])
    True
    """
    words = " ".join(words).split()
    for word in words:
        try:
            good = 0.5 <= float(word) <= 2.0
        except ValueError:
            good = False
        if not good:
            what = f"speed factor '{word}' is not a number from 0.5 to 2"
            raise TopDownError("E_USAGE", what, "write e.g. 0.9 1.0 1.1", USAGE)
    return [word for word in words if float(word) != 1.0]


def perturb_audio(
    data_dir: Path,
    factor: str,
    output_dir: Path,
    job: int = 1,
    nj: int = 1,
    channel: int | None = None,
    allow_pipes: bool = False,
) -> int:
    """Write the recordings of shard ``job`` of ``nj``; those already there are kept."""
    lists = read_dir(data_dir)
    wavs, segments = lists["wav.scp"], lists.get("segments", {})
    # segments that name their channel need all of them
    every = {v.split()[0] for v in segments.values() if len(v.split()) > 3}
    where = places(Path(data_dir) / "wav.scp")
    written = 0
    for recording, value in shard(list(wavs.items()), job, nj):
        source = Source(recording, value, f"{recording} ({where[recording]})")
        target = _target(output_dir, factor, recording)
        if target.exists() and not source.is_pipe:
            made = target.stat().st_mtime
            if made >= audio.audio_path(source).stat().st_mtime:
                continue
        samples, rate = audio.read(source, channel, allow_pipes, recording in every)
        audio.write(
            target, audio.resample(samples, rate * float(factor), rate), rate, "flac"
        )
        written += 1
    logging.info("speed %s, shard %d of %d: %d written", factor, job, nj, written)
    return written


def _target(output_dir: Path, factor: str, recording: str) -> Path:
    return Path(output_dir) / "wav" / f"sp{factor}-{recording}.flac"


def perturb_lists(data_dir: Path, factor: str, output_dir: Path) -> None:
    """Write the lists of the perturbed copy, after all of its audio."""
    lists = read_dir(data_dir)
    prefix = f"sp{factor}-"
    out = {name: {prefix + k: v for k, v in lists[name].items()} for name in lists}
    for recording in lists["wav.scp"]:
        target = _target(output_dir, factor, recording)
        if not target.exists():
            what = f"{target} is not there"
            raise TopDownError("E_FORMAT_SHARDS", what, "run all shards first", DATA)
        out["wav.scp"][prefix + recording] = target.as_posix()
    if "utt2spk" in lists:
        out["utt2spk"] = {k: prefix + v for k, v in out["utt2spk"].items()}
    segments = lists.get("segments", {})
    if segments:
        out["segments"] = {
            prefix + cut.utt: _shrunk(cut, prefix, float(factor), segments[cut.utt])
            for cut in sources(data_dir)
        }
    write_dir(output_dir, out)
    utts = lists.get("segments", lists["wav.scp"])
    write_pairs(Path(output_dir) / "utt2uniq", {prefix + utt: utt for utt in utts})


def _shrunk(cut: Source, prefix: str, factor: float, segment: str) -> str:
    recording, _, _, *channel = segment.split()
    times = [t if t < 0 else t / factor for t in (cut.start, cut.end)]
    return " ".join([prefix + recording, *(f"{t:.4f}" for t in times), *channel])


def combine(folders: Sequence[Path], output_dir: Path) -> int:
    """Join data directories whose ids differ; the number of utterances."""
    joined: dict[str, dict[str, str]] = {}
    per_dir = [_with_uniq(Path(folder)) for folder in folders]
    common = set.intersection(*(set(lists) for lists in per_dir))
    for folder, lists in zip(folders, per_dir):
        for name in common:
            target = joined.setdefault(name, {})
            both = target.keys() & lists[name].keys()
            if both:
                what = f"{min(both)} of {folder}/{name} is in another set too"
                raise TopDownError("E_UTT_DUP", what, "combine different sets", DATA)
            target.update(lists[name])
    write_dir(output_dir, joined)
    return len(joined.get("segments", joined["wav.scp"]))


def _with_uniq(folder: Path) -> dict[str, Mapping[str, str]]:
    lists: dict[str, Mapping[str, str]] = dict(read_dir(folder))
    utts = lists.get("segments", lists["wav.scp"])
    uniq = folder / "utt2uniq"
    lists["utt2uniq"] = read_pairs(uniq) if uniq.exists() else {u: u for u in utts}
    return lists


def run_perturb(
    data_dir: Path,
    output_dir: Path | None = None,
    factors: Sequence[str] = ("0.9", "1.0", "1.1"),
    channel: int | None = None,
    nj: int = 1,
    job: int | None = None,
    merge: bool = False,
    allow_pipes: bool = False,
) -> None:
    """One shard of the audio (``job``), the lists (``merge``), or everything.

    Makes ``<data_dir>_sp<f>`` for each factor, and ``output_dir``
    (``<data_dir>_sp``) with the original and them all.
    """
    output_dir = Path(output_dir or f"{data_dir}_sp")
    check_apart(data_dir, output_dir)
    jobs = [job] if job is not None else range(1, 1 if merge else nj + 1)
    folders, recordings = [Path(data_dir)], list(read_dir(data_dir)["wav.scp"])
    check_target(output_dir, "utt2uniq", recordings)
    for factor in parse_factors(factors):
        folder = Path(f"{data_dir}_sp{factor}")
        check_target(folder, "utt2uniq", [f"sp{factor}-{r}" for r in recordings])
        for number in jobs:
            perturb_audio(data_dir, factor, folder, number, nj, channel, allow_pipes)
        if job is None:
            perturb_lists(data_dir, factor, folder)
            folders.append(folder)
    if job is None:
        combine(folders, output_dir)
