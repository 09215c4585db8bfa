"""Stage 3: real audio files of one rate and format, as ESPnet's recipes lay them out.

``dump/raw/org/<set>`` gets ``wav.scp``, ``utt2num_samples``, ``feats_type`` and
``audio_format`` beside the copied lists; the audio is in ``data/format.N`` below it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.data import audio
from espnet_topdown.data.audio import Source
from espnet_topdown.data.characters import mend_texts
from espnet_topdown.data.kaldi_dir import (
    c_sorted,
    check_target,
    copy_dir,
    intersect,
    place,
    places,
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
REPLACED = (
    "text",
    "wav.scp",
    "segments",
    "utt2num_samples",
    "feats_type",
    "audio_format",
)


@dataclass(frozen=True)
class FormatRequest:
    """What stage 3 is asked for. ``rate`` in Hz; ``channel`` from 1 for stereo."""

    data_dir: Path
    output_dir: Path
    rate: int
    audio_format: str = "flac"
    channel: int | None = None
    allow_pipes: bool = False


def sources(data_dir: Path) -> list[Source]:
    """What to read for each utterance, sorted; with ``segments``, cuts in seconds."""
    lists = read_dir(data_dir)
    wavs = lists["wav.scp"]
    name = "segments" if "segments" in lists else "wav.scp"
    lines = places(Path(data_dir) / name)
    found = []
    for utt in c_sorted(lists[name]):
        where, value = f"utt {utt} ({lines[utt]})", lists[name][utt]
        if name == "segments":
            found.append(_cut(utt, value, wavs, where))
        else:
            found.append(Source(utt, value, where))
    return found


def _cut(utt: str, value: str, wavs: Mapping[str, str], where: str) -> Source:
    found = _SEGMENT.fullmatch(value)
    recording, start, end, channel = found.groups() if found else ("", 0, 0, None)
    start, end, channel = float(start), float(end), int(channel or -1)
    if not found or not (end > start or end == -1):
        what = f"{where}: '{value[:200]}'"
        do = "write '<utt> <recording> <start> <end>' in seconds; a fifth column is the"
        do += " channel from 0, or -1"
        raise TopDownError("E_SEGMENT", what, do, DATA)
    if recording not in wavs:
        what = f"{where}: recording {recording} is not in wav.scp"
        raise TopDownError("E_UTT_SETS", what, "add it, or drop the line", DATA)
    number = channel + 1 or None  # from 1, as --channel
    return Source(utt, wavs[recording], where, start, end, number)


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
    """One shard (``job``), the lists (``merge``), or all shards and then the lists."""
    check_apart(data_dir, output_dir)
    utts = [source.utt for source in sources(data_dir)]
    check_target(output_dir, "data/format.1/sources", utts)
    rate = audio.parse_rate(fs)
    request = FormatRequest(
        data_dir, output_dir, rate, audio_format, channel, allow_pipes
    )
    if job is not None:
        format_shard(request, job, nj)
        return
    for number in range(1, 1 if merge else nj + 1):
        format_shard(request, number, nj)
    merge_shards(request, nj)


def format_shard(request: FormatRequest, job: int, nj: int) -> int:
    """Shard ``job`` of ``nj`` (from 1) into ``data/format.<job>``.

    A finished file is kept when its source is the same and not newer, so a run
    that was cut off continues. Shards beyond the number of utterances do nothing.
    """
    part = shard(sources(request.data_dir), job, nj)
    folder = _folder(request, job)
    if not part:
        logging.info("shard %d of %d: nothing to do", job, nj)
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    before = _finished(folder / "sources")
    wavs, samples = {}, {}
    with open(folder / "sources", "a", encoding="utf-8") as record:
        for source in part:
            path, n = _format_one(request, source, folder, before)
            wavs[source.utt], samples[source.utt] = path, str(n)
            record.write(f"{source.utt} {source.text()}\n")
            record.flush()
    write_pairs(folder / "utt2num_samples", samples)
    write_pairs(folder / "wav.scp", wavs)
    logging.info("shard %d of %d: %d utterances", job, nj, len(part))
    return len(part)


def _folder(request: FormatRequest, job: int) -> Path:
    return Path(request.output_dir) / "data" / f"format.{job}"


def _finished(record: Path) -> dict[str, str]:
    """utt -> source of the files already written; the last line may be torn."""
    if not record.exists():
        return {}
    lines = record.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return dict(line.partition(" ")[::2] for line in lines)


def _format_one(
    request: FormatRequest, source: Source, folder: Path, before: Mapping[str, str]
) -> tuple[str, int]:
    """(path for wav.scp, number of samples) of one utterance."""
    n = audio.is_ready(source, request.rate, request.audio_format)
    if n:
        return source.value, n
    target = folder / f"{source.utt}.{request.audio_format}"
    if before.get(source.utt) == source.text():
        n = _kept(request, source, target)
        if n:
            return target.as_posix(), n
    samples, rate = audio.read(source, request.channel, request.allow_pipes)
    samples = audio.resample(samples, rate, request.rate)
    audio.write(target, samples, request.rate, request.audio_format)
    return target.as_posix(), len(samples)


def _kept(request: FormatRequest, source: Source, target: Path) -> int:
    if source.is_pipe or not target.exists():
        return 0
    original = Path(source.value)
    if not original.exists() or original.stat().st_mtime > target.stat().st_mtime:
        return 0
    written = Source(source.utt, str(target), source.where)
    try:
        return audio.is_ready(written, request.rate, request.audio_format)
    except TopDownError:  # ours, and damaged: it is made again from its source
        return 0


def merge_shards(request: FormatRequest, nj: int) -> int:
    """Join the shards' lists into ``output_dir``; the number of utterances."""
    out = Path(request.output_dir)
    known = [s.utt for s in sources(request.data_dir)]
    wavs: dict[str, str] = {}
    samples: dict[str, str] = {}
    for job in range(1, min(nj, len(known)) + 1):
        wavs.update(read_pairs(_folder(request, job) / "wav.scp"))
        samples.update(read_pairs(_folder(request, job) / "utt2num_samples"))
    if set(wavs) != set(known):
        what = f"{len(wavs)} of {len(known)} utterances in {out}/data/format.*"
        do = "run the shards again with this --nj, then merge"
        raise TopDownError("E_FORMAT_SHARDS", what, do, DATA)
    copy_dir(request.data_dir, out, leave_out=(*REPLACED, "reco2file_and_channel"))
    text = Path(request.data_dir) / "text"
    if text.exists():
        write_pairs(out / "text", mend_texts(read_pairs(text), text))
    write_pairs(out / "utt2num_samples", samples)
    write_lines(out / "feats_type", ["raw"])
    write_lines(out / "audio_format", [request.audio_format])
    write_pairs(out / "wav.scp", wavs)
    return len(wavs)


def filter_dir(
    data_dir: Path,
    output_dir: Path,
    fs: str,
    min_wav_duration: float = 0.1,
    max_wav_duration: float = 20.0,
) -> tuple[int, int]:
    """Stage 4: keep utterances that have text and a length strictly between.

    The text is written with plain spaces only; see ``mend_texts``.

    The limits are in seconds, counted in whole samples as ESPnet does.
    ``audio_format`` is copied too: later stages read it.

    Returns:
        (utterances before, utterances kept).
    """
    source, out = Path(data_dir), Path(output_dir)
    check_apart(source, out)
    lists = read_dir(source)
    check_output(out, ("data",))  # of stage 3
    check_target(out, "utt2num_samples", lists["wav.scp"])
    samples = read_pairs(source / "utt2num_samples")
    rate = audio.parse_rate(fs)
    low, high = int(min_wav_duration * rate), int(max_wav_duration * rate)
    for utt, n in samples.items():
        if not (n.isascii() and n.isdigit()):
            what = f"{place(source / 'utt2num_samples', utt)}: '{n}' is not a number"
            raise TopDownError("E_SHAPE", what, "run stage 3 again", DATA)
    right = {u: n for u, n in samples.items() if low < int(n) < high}
    texts = mend_texts(lists.get("text", {}), source / "text")
    lists["text"] = {u: t for u, t in texts.items() if t}
    kept = intersect({**lists, "utt2num_samples": right})
    if not kept["text"]:
        what = f"no utterance of {source} is longer than {min_wav_duration} s, shorter"
        what += f" than {max_wav_duration} s and has text"
        raise TopDownError("E_SET_EMPTY", what, "change the limits", DATA)
    copy_dir(source, out, leave_out=(*kept, "spk2utt"))
    write_dir(out, kept)
    logging.info("%s: %d of %d utterances kept", out, len(kept["text"]), len(samples))
    return len(samples), len(kept["text"])


def filter_texts(inputs: Sequence[Path], output: Path) -> None:
    """Stage 4: one list of the lines that have text, with plain spaces only.

    Raises:
        TopDownError: Those of ``read_pairs`` and ``mend_texts``; E_CREATE (73) if
            the output is one of the inputs.
    """
    lines = []
    for path in inputs:
        check_apart(path, output)
        texts = mend_texts(read_pairs(path, as_espnet=True), path)
        lines += [f"{utt} {text}" for utt, text in texts.items() if text]
    write_lines(output, lines)
