"""Stage 2: copies of a training set played faster or slower, without sox.

Speed changes by resampling, so pitch changes with it, as with ``sox speed``. Speaker,
utterance and recording ids get the prefix ``sp<factor>-``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.data import audio
from espnet_topdown.data.audio import Source, sources_of
from espnet_topdown.data.format import finished, sources
from espnet_topdown.data.kaldi_dir import (
    check_target,
    read_dir,
    read_pairs,
    shard,
    write_dir,
)
from espnet_topdown.errors import DATA, USAGE, TopDownError
from espnet_topdown.files import check_apart

_Lists = dict[str, dict[str, str]]


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

    Args:
        data_dir: From stage 1.
        output_dir: The original and all copies; default: ``<data_dir>_sp``. Each copy
            alone is ``<data_dir>_sp<factor>``.
        factors: As words, or several in one word, as ``run.sh`` has them.
        channel: From 1, for stereo.
        nj: Number of shards.
        job: Make only this shard, from 1.
        merge: Only write the lists.
        allow_pipes: Run the commands of ``wav.scp``.

    Raises:
        TopDownError: E_USAGE (64) for a factor; E_CREATE (73) for a folder of
            somebody else's; E_FORMAT_SHARDS (65) where audio is missing; those of
            ``read_dir`` and ``audio.read``.
    """
    output_dir = Path(output_dir or f"{data_dir}_sp")
    check_apart(data_dir, output_dir)
    lists = read_dir(data_dir)
    check_target(output_dir, "utt2uniq", lists["wav.scp"])
    jobs = [job] if job is not None else range(1, 1 if merge else nj + 1)
    every = [*sources_of(Path(data_dir) / "wav.scp", lists["wav.scp"])]
    cuts = (value.split() for value in lists.get("segments", {}).values())
    in_parts = {words[0] for words in cuts if len(words) > 3}
    how = channel, allow_pipes, in_parts
    sets = [(Path(data_dir), _with_uniq(Path(data_dir), lists))]
    for factor in _parse_factors(factors):
        folder = Path(f"{data_dir}_sp{factor}")
        names = [f"sp{factor}-{recording}" for recording in lists["wav.scp"]]
        check_target(folder, "utt2uniq", names)
        for number in jobs:
            part = shard(every, number, nj)
            record = folder / f"sources.{number}"
            n = _write_audio(part, factor, folder, record, *how)
            logging.info("speed %s, shard %d of %d: %d written", factor, number, nj, n)
        if job is None:
            sets.append((folder, _perturbed(data_dir, lists, factor, folder)))
            write_dir(*sets[-1])
    if job is None:
        write_dir(output_dir, _joined(sets))


def _parse_factors(words: Sequence[str]) -> list[str]:
    """The factors other than 1, as written; they become part of ids.

    Returns:
        Without units: 0.9 plays slower. Empty if there is only 1.
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


def _write_audio(
    part: Sequence[Source],
    factor: str,
    folder: Path,
    record: Path,
    channel: int | None,
    allow_pipes: bool,
    in_parts: set[str],
) -> int:
    """Write recordings, those already there are kept; how many were written.

    Of those ``in_parts``, whose segments name a channel, all channels are needed.
    ``record`` gets the source of each, as in stage 3.

    Returns:
        The number of files; 0 if all were there and not older than their sources.
    """
    written, before = 0, finished(record)
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.open("a", 1, "utf-8") as lines:
        for source in part:
            target, every = _target(folder, factor, source.utt), source.utt in in_parts
            line = f"{source.value} channel {'every' if every else channel}"
            if before.get(source.utt) != line or not audio.is_current(target, source):
                samples, rate = audio.read(source, channel, allow_pipes, every)
                samples = audio.resample(samples, rate * float(factor), rate)
                audio.write(target, samples, rate, "flac")
                written += 1
            lines.write(f"{source.utt} {line}\n")
    return written


def _target(folder: Path, factor: str, recording: str) -> Path:
    return Path(folder) / "wav" / f"sp{factor}-{recording}.flac"


def _perturbed(data_dir: Path, lists: _Lists, factor: str, folder: Path) -> _Lists:
    """The lists of a copy, whose audio is there.

    Returns:
        List -> id with its prefix -> value. Segments are in seconds of the copy, and
        ``utt2uniq`` names the original utterance.
    """
    prefix = f"sp{factor}-"
    out = {name: {prefix + k: v for k, v in lists[name].items()} for name in lists}
    for recording in lists["wav.scp"]:
        target = _target(folder, factor, recording)
        if not target.exists():
            what = f"{target} is not there"
            raise TopDownError("E_FORMAT_SHARDS", what, "run all shards first", DATA)
        out["wav.scp"][prefix + recording] = target.as_posix()
    if "utt2spk" in lists:
        out["utt2spk"] = {k: prefix + v for k, v in out["utt2spk"].items()}
    if "segments" in lists:
        for cut in sources(data_dir):
            recording, _, _, *channel = lists["segments"][cut.utt].split()
            seconds = [cut.start or 0.0, -1.0 if cut.end is None else cut.end]
            times = [f"{t if t < 0 else t / float(factor):.4f}" for t in seconds]
            line = " ".join([prefix + recording, *times, *channel])
            out["segments"][prefix + cut.utt] = line
    utts = lists.get("segments", lists["wav.scp"])
    return {"utt2uniq": {prefix + utt: utt for utt in utts}, **out}


def _with_uniq(folder: Path, lists: _Lists) -> _Lists:
    utts, uniq = lists.get("segments", lists["wav.scp"]), folder / "utt2uniq"
    pairs = read_pairs(uniq) if uniq.exists() else {u: u for u in utts}
    return {"utt2uniq": pairs, **lists}


def _joined(sets: Sequence[tuple[Path, _Lists]]) -> _Lists:
    """The same lists of all sets in one; their ids differ.

    Returns:
        List -> id -> value, in the order of the sets.
    """
    joined: _Lists = {}
    for name in sets[0][1]:
        pairs = joined[name] = {}
        for folder, lists in sets:
            both = pairs.keys() & lists[name].keys()
            if both:
                what = f"{min(both)} of {folder}/{name} is in another set too"
                raise TopDownError("E_UTT_DUP", what, "combine different sets", DATA)
            pairs.update(lists[name])
    return joined
