"""Stage 3: real audio files of one rate and format, as ESPnet's recipes lay them out.

``dump/raw/org/<set>`` gets ``wav.scp``, ``utt2num_samples``, ``feats_type`` and
``audio_format`` beside the copied lists; the audio is in ``data/format.N`` below it.
Stage 4 keeps what can be used of that.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_topdown.data import audio
from espnet_topdown.data._characters import normalize_spaces
from espnet_topdown.data.audio import Source, sources_of
from espnet_topdown.data.kaldi_dir import (
    c_sorted,
    check_target,
    copy_dir,
    keep_common,
    locate,
    read_dir,
    read_pairs,
    shard,
    write_dir,
    write_lines,
    write_pairs,
)
from espnet_topdown.errors import DATA, TopDownError
from espnet_topdown.files import check_apart, check_output

# recording, start, end, channel from 0: as Kaldi's extract-segments reads them
_SECONDS = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,2})?"
_SEGMENT = re.compile(
    rf"(\S+)\s+({_SECONDS})\s+(-1(?:\.0*)?|{_SECONDS})(?:\s+(-1|[0-9]{{1,3}}))?"
)
_REPLACED = (
    *("text", "wav.scp", "segments", "utt2num_samples", "feats_type"),
    *("audio_format", "reco2file_and_channel"),
)


def sources(data_dir: Path) -> list[Source]:
    """What to read for each utterance, sorted; with ``segments``, cuts in seconds.

    Args:
        data_dir: Has ``wav.scp``, perhaps ``segments``.

    Returns:
        One source an utterance.

    Raises:
        TopDownError: E_SEGMENT (65) or E_UTT_SETS (65) with utterance and line, and
            those of ``read_dir``.
    """
    lists = read_dir(data_dir)
    name = "segments" if "segments" in lists else "wav.scp"
    found = {s.utt: s for s in sources_of(Path(data_dir) / name, lists[name])}
    every = [found[utt] for utt in c_sorted(found)]
    return [_cut(s, lists["wav.scp"]) for s in every] if name == "segments" else every


def _cut(line: Source, wavs: Mapping[str, str]) -> Source:
    match, where, value = _SEGMENT.fullmatch(line.value), line.where, line.value
    recording, start, end, channel = match.groups() if match else ("", 0, 0, None)
    start, end, channel = float(start), float(end), int(channel or -1)
    if not match or not (end > start or end == -1):
        what = f"{where}: '{value[:200]}'"
        do = "write '<utt> <recording> <start> <end>' in seconds; a fifth column is the"
        do += " channel from 0, or -1"
        raise TopDownError("E_SEGMENT", what, do, DATA)
    if recording not in wavs:
        what = f"{where}: recording {recording} is not in wav.scp"
        raise TopDownError("E_UTT_SETS", what, "add it, or drop the line", DATA)
    number = channel + 1 or None  # from 1, as --channel
    return Source(line.utt, wavs[recording], where, start, end, number)


def run_format(
    data_dir: Path,
    output_dir: Path,
    fs: str = "16k",
    audio_format: str = "flac",
    channel: int | None = None,
    nj: int = 1,
    job: int | None = None,
    merge: bool = False,
    allow_pipes: bool = False,
) -> None:
    """Stage 3: one shard (``job``), the lists (``merge``), or all shards and the lists.

    A finished file is kept when its source is the same and not newer, so a run that
    was cut off continues. Shards beyond the number of utterances do nothing.

    Args:
        data_dir: From stage 1 or 2.
        output_dir: To be made, or one that this stage made before.
        fs: Sample rate, such as ``8k``.
        audio_format: ``flac`` or ``wav``.
        channel: From 1, for stereo.
        nj: Number of shards.
        job: Make only this shard, from 1.
        merge: Only write the lists.
        allow_pipes: Run the commands of ``wav.scp``.

    Raises:
        TopDownError: E_CREATE (73) for a folder of somebody else's, E_FORMAT_SHARDS
            (65) where shards are missing; those of ``sources`` and ``audio.read``.
    """
    check_apart(data_dir, output_dir)
    rate, every = audio.parse_rate(fs), sources(data_dir)
    check_target(output_dir, "data/format.1/sources", [s.utt for s in every])
    jobs = [job] if job is not None else range(1, 1 if merge else nj + 1)
    for number in jobs:
        part = shard(every, number, nj)
        if part:
            folder = _folder(output_dir, number)
            _format_shard(part, folder, rate, audio_format, channel, allow_pipes)
        logging.info("shard %d of %d: %d utterances", number, nj, len(part))
    if job is None:
        _merge_shards(data_dir, output_dir, audio_format, every, nj)


def _folder(output_dir: Path, job: int) -> Path:
    return Path(output_dir) / "data" / f"format.{job}"


def _format_shard(
    part: Sequence[Source],
    folder: Path,
    rate: int,
    audio_format: str,
    channel: int | None,
    allow_pipes: bool,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    before = finished(folder / "sources")
    wavs, lengths = {}, {}
    with open(folder / "sources", "a", encoding="utf-8") as record:
        for source in part:
            utt, target = source.utt, folder / f"{source.utt}.{audio_format}"
            n = audio.is_ready(source, rate, audio_format)
            wavs[utt] = source.value if n else target.as_posix()
            line = source.text() + (f" channel {channel}" if channel else "")
            if not n and before.get(utt) == line:
                n = _kept(source, target, rate, audio_format)
            if not n:
                samples, rate_of_file = audio.read(source, channel, allow_pipes)
                samples = audio.resample(samples, rate_of_file, rate)
                audio.write(target, samples, rate, audio_format)
                n = len(samples)
            lengths[utt] = str(n)
            record.write(f"{utt} {line}\n")
            record.flush()
    write_pairs(folder / "utt2num_samples", lengths)
    write_pairs(folder / "wav.scp", wavs)


def finished(record: Path) -> dict[str, str]:
    """utt -> source of the files already written; the last line may be torn.

    Args:
        record: Where a shard lists them.

    Returns:
        Sources as ``Source.text`` writes them, the last of each utterance; empty if the
        shard has not begun.
    """
    if not record.exists():
        return {}
    lines = record.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return dict(line.partition(" ")[::2] for line in lines)


def _kept(source: Source, target: Path, rate: int, audio_format: str) -> int:
    """The number of samples of a file that need not be written again, else 0.

    Returns:
        Samples at the wanted rate; 0 if the file is missing, older than its source,
        damaged, or of another rate or format.
    """
    if not audio.is_current(target, source):
        return 0
    try:
        written = Source(source.utt, str(target), source.where)
        return audio.is_ready(written, rate, audio_format)
    except TopDownError:  # ours, and damaged: it is made again from its source
        return 0


def _merge_shards(
    data_dir: Path, output_dir: Path, audio_format: str, every: list[Source], nj: int
) -> None:
    """Join the shards' lists into ``output_dir``."""
    out, text = Path(output_dir), Path(data_dir) / "text"
    wavs: dict[str, str] = {}
    lengths: dict[str, str] = {}
    for job in range(1, min(nj, len(every)) + 1):
        wavs.update(read_pairs(_folder(out, job) / "wav.scp"))
        lengths.update(read_pairs(_folder(out, job) / "utt2num_samples"))
    if wavs.keys() != {source.utt for source in every}:
        what = f"{len(wavs)} of {len(every)} utterances in {out}/data/format.*"
        do = "run the shards again with this --nj, then merge"
        raise TopDownError("E_FORMAT_SHARDS", what, do, DATA)
    copy_dir(data_dir, out, leave_out=_REPLACED)
    if text.exists():
        write_pairs(out / "text", normalize_spaces(read_pairs(text), text), backup=True)
    write_pairs(out / "utt2num_samples", lengths)
    write_lines(out / "feats_type", ["raw"])
    write_lines(out / "audio_format", [audio_format])
    write_pairs(out / "wav.scp", wavs, backup=True)


def filter_dir(
    data_dir: Path,
    output_dir: Path,
    fs: str,
    min_wav_duration: float = 0.1,
    max_wav_duration: float = 20.0,
) -> None:
    """Stage 4: keep utterances that have text and a length strictly between.

    The text is written with plain spaces only; see ``normalize_spaces``.
    ``audio_format`` is copied too: later stages read it.

    Args:
        data_dir: From stage 3.
        output_dir: To be made, or one that this stage made before.
        fs: Sample rate, such as ``8k``.
        min_wav_duration: Seconds, counted in whole samples as ESPnet does.
        max_wav_duration: The same.

    Raises:
        TopDownError: E_CREATE (73) for a folder of somebody else's; E_SHAPE (65) with
            the line; E_SET_EMPTY (65) if nothing is left; those of
            ``normalize_spaces``.
    """
    source, out = Path(data_dir), Path(output_dir)
    check_apart(source, out)
    lists = read_dir(source)
    check_output(out, ("data",))  # of stage 3
    check_target(out, "utt2num_samples", lists["wav.scp"])
    samples = read_pairs(source / "utt2num_samples")
    rate, n_all = audio.parse_rate(fs), len(samples)
    low, high = int(min_wav_duration * rate), int(max_wav_duration * rate)
    for utt, n in samples.items():
        if not (n.isascii() and n.isdigit()):
            what = f"{locate(source / 'utt2num_samples', utt)}: '{n}' is not a number"
            raise TopDownError("E_SHAPE", what, "run stage 3 again", DATA)
    for utt in [u for u, n in samples.items() if not low < int(n) < high]:
        del samples[utt]
    texts = normalize_spaces(lists.get("text", {}), source / "text")
    for utt in [u for u, t in texts.items() if not t]:
        del texts[utt]
    kept = {"utt2num_samples": samples, **lists, "text": texts}
    keep_common(kept)
    if not kept["text"]:
        what = f"no utterance of {source} is longer than {min_wav_duration} s, shorter"
        what += f" than {max_wav_duration} s and has text"
        raise TopDownError("E_SET_EMPTY", what, "change the limits", DATA)
    copy_dir(source, out, leave_out=(*kept, "spk2utt"))
    write_dir(out, kept)
    logging.info("%s: %d of %d utterances kept", out, len(kept["text"]), n_all)


def filter_texts(inputs: Sequence[Path], output: Path) -> None:
    """Stage 4: one list of the lines that have text, with plain spaces only.

    Args:
        inputs: Lists ``utt words...``.
        output: The list, in the order of the inputs.

    Raises:
        TopDownError: Those of ``read_pairs`` and ``normalize_spaces``; E_CREATE (73) if
            the output is one of the inputs, or lies in a set or an experiment.
    """
    lines = []
    check_output(Path(output).parent, ("wav.scp", "config.yaml"))
    for path in inputs:
        check_apart(path, output)
        texts = normalize_spaces(read_pairs(path, as_espnet=True), path)
        lines += [f"{utt} {text}" for utt, text in texts.items() if text]
    write_lines(output, lines)
