"""Sound files: read what ``wav.scp`` names, check it, resample, write 16-bit audio.

Legend: samples are float32 or int16 arrays of shape (T,), or (T, C) for all channels.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import re
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from espnet_topdown.data.kaldi_dir import c_sorted, numbered_ids, shard
from espnet_topdown.errors import DATA, MISSING, USAGE, TopDownError, warn
from espnet_topdown.files import write_bytes

_FORMATS = {"flac": "FLAC", "wav": "WAV"}
_CLIPPED = 0.2  # share of samples at or beyond full scale
_LOUDEST = 16.0  # decoders of MP3 and the like go a little beyond 1
_RATES = 1000, 1_000_000  # Hz; others are a damaged header
_BLOCK = 1 << 20
_LATE = 0.5  # seconds that a segment may end after its recording, as in Kaldi
_UNKNOWN = 1 << 60  # more samples than a file has: FLAC that was written into a pipe
_OPEN_END = 0x7FFF0000  # a size that a writer into a pipe leaves in the header
_LEAVE_OUT = "leave the utterance out"
_SEVERAL = "it holds several streams, of which only the first would be read"


def parse_rate(text: str) -> int:
    """A sample rate in Hz, written as ESPnet writes it.

    Args:
        text: A number, perhaps with ``k`` for thousands.

    Returns:
        Hz.

    Raises:
        TopDownError: E_USAGE (64).

    >>> parse_rate("8k"), parse_rate("22050"), parse_rate("44.1k")
    (8000, 22050, 44100)
    """
    number, scale = (text[:-1], 1000) if text.lower().endswith("k") else (text, 1)
    decimal = re.fullmatch(r"[0-9]+(\.[0-9]+)?", number)
    rate = round(float(number) * scale) if decimal else 0
    if rate <= 0:
        what = f"'{text}' is not a sample rate"
        raise TopDownError("E_USAGE", what, "write 8000 or 8k", USAGE)
    return rate


@dataclass(frozen=True)
class Source:
    """One line of ``wav.scp``, perhaps cut by a line of ``segments``.

    Attributes:
        utt: The utterance.
        value: A file, or a command that ends or begins with ``|``.
        where: The utterance, the list and its line, for messages.
        start: Seconds; None is the whole recording.
        end: Seconds; -1 is the recording's end.
        channel: From 1, where the segment names one.
    """

    utt: str
    value: str
    where: str
    start: float | None = None
    end: float | None = None
    channel: int | None = None

    @property
    def is_pipe(self) -> bool:
        """Whether reading it would run a command."""
        return self.value.endswith("|") or self.value.startswith("|")

    def text(self) -> str:
        """Write it as the line that stage 3 keeps, to see that the source changed.

        Returns:
            The value, the seconds of the cut with four decimals, and the channel; the
            last two only where there are any.
        """
        cut = "" if self.start is None else f" {self.start:.4f} {self.end:.4f}"
        return f"{self.value}{cut}" + (f" {self.channel}" if self.channel else "")


def sources_of(wav_scp: Path, wavs: Mapping[str, str]) -> Iterator[Source]:
    """One source a line of a list, made when it is asked for.

    Args:
        wav_scp: The list, or a folder of its parts.
        wavs: What ``read_pairs`` gives of it.

    Yields:
        Sources, in the order of the list.
    """
    for (utt, value), (_, part, number) in zip(wavs.items(), numbered_ids(wav_scp)):
        yield Source(utt, value, f"utt {utt} ({part} line {number})")


def audio_path(source: Source) -> Path:
    """The audio file of a source.

    Args:
        source: A line of ``wav.scp``.

    Returns:
        A file that is there.

    Raises:
        TopDownError: E_WAV_MISSING (66); E_PIPE (65) for a command: a data directory
            must not run any unless the user says so.
    """
    if source.is_pipe:
        what = f"{source.where} would run '{source.value.strip('| ')[:200]}'"
        do = "make it an audio file, or let format_wav do so if you trust it: "
        do += "espnet-topdown format_wav --allow_pipes (in a recipe: --allow_pipes)"
        raise TopDownError("E_PIPE", what, do, DATA)
    path = Path(source.value)
    if not path.is_file():
        what = f"{source.where}: {source.value}"
        here = "" if path.is_absolute() else ", or start in the recipe's folder"
        raise TopDownError("E_WAV_MISSING", what, f"correct the path{here}", MISSING)
    return path


def _run(source: Source) -> io.BytesIO:
    command = source.value.strip("| ")
    logging.info("running: %s", command)
    run = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE)
    if run.returncode != 0:
        what = f"'{command[:200]}' ended with {run.returncode}"
        raise _refused("E_PIPE", source, what, "run that command by hand")
    return io.BytesIO(run.stdout)


@contextlib.contextmanager
def _open_sound(
    source: Source, allow_pipes: bool = False
) -> Iterator[tuple[Any, BinaryIO]]:
    """Open a sound file that is as long as it says.

    Yields:
        A ``soundfile.SoundFile``, and the file that it reads.

    Raises:
        TopDownError: E_WAV_FORMAT (65) for what is no sound file, or of a kind of which
            nothing here sees whether it is whole; E_WAV_LENGTH (65) for a file that was
            cut off; those of ``audio_path``.
    """
    import soundfile

    piped = source.is_pipe and allow_pipes
    with _run(source) if piped else audio_path(source).open("rb") as file:
        try:
            sound = soundfile.SoundFile(file)
        except (soundfile.LibsndfileError, RuntimeError) as e:
            shown = str(e).strip().replace(str(file), source.value)[:200]
            what = f"{source.value[:200]} is not a WAV/FLAC/SPH file ({shown})"
            do = "make it again (WAV or FLAC); it may be empty or cut off"
            raise _refused("E_WAV_FORMAT", source, what, do) from None
        with sound:
            low, high = _RATES
            if not low <= sound.samplerate <= high:
                what = f"{source.value[:200]} has {sound.samplerate} samples a second"
                raise _refused("E_WAV_FORMAT", source, f"{what} by its header")
            if sound.format not in _LACKS:
                what = f"{source.value[:200]} is {sound.format}: nothing here sees"
                what += " whether all of it is there"
                do = "convert it to FLAC or WAV, e.g. 'sox FILE NEW.flac'"
                raise _refused("E_WAV_FORMAT", source, what, do)
            place = file.tell()
            lacking = _LACKS[sound.format](sound, file)
            file.seek(place)
            if lacking:
                raise _damaged(source, lacking)
            yield sound, file


def _refused(
    code: str, source: Source, what: str, do: str = "copy or make the file again"
) -> TopDownError:
    return TopDownError(code, f"{source.where}: {what}", do, DATA)


def _damaged(source: Source, lacking: str) -> TopDownError:
    what = f"{source.value[:200]} is cut off or damaged: {lacking}"
    return _refused("E_WAV_LENGTH", source, what)


# What a file has less, or more, than its header says: the end of the sentence "is cut
# off or damaged: ..."; "" if nothing, or where the header leaves the number open.
def _wav_lacks(sound: Any, file: BinaryIO) -> str:
    length, at, seen = file.seek(0, os.SEEK_END), 12, False
    order = ">4sI" if sound.endian == "BIG" else "<4sI"
    while at + 8 <= length:
        file.seek(at)
        name, size = struct.unpack(order, file.read(8))
        end = at + 8 + size
        if seen and name in (b"data", b"RIFF", b"RIFX"):
            return _SEVERAL
        if name == b"data":
            if size == 0 or size >= _OPEN_END:
                return ""  # written into a pipe: the samples go on to its end
            if end > length:
                return f"{end - length} bytes fewer than its header says"
            seen = True
        elif seen and (end > length or not name.decode("latin-1").isprintable()):
            break
        file.seek(end)  # some chunks of odd size are not padded
        at = end + size % 2 * (file.read(1) == b"\0")
    more = length - at
    return f"{more} bytes more than its header says" if seen and more > 1 else ""


def _flac_lacks(sound: Any, file: BinaryIO) -> str:
    if sound.frames >= _UNKNOWN:  # libsndfile, and so ESPnet, cannot read it to its end
        return "its header has no number of samples (it was written into a pipe)"
    return ""  # decoding shows the rest


def _nist_lacks(sound: Any, file: BinaryIO) -> str:
    file.seek(0)
    count = re.search(rb"(?m)^sample_count -i (\d+)", file.read(1024))
    total = int(count[1]) if count else sound.frames
    if total <= sound.frames <= total + 512:  # some pad the end
        return ""
    return f"{sound.frames} samples, {total} by its header"


_MPEG_RATES = (44100, 48000, 32000)
_MPEG_KBITS = {  # MPEG 1 or not -> kbit/s of layer III by index
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _mp3_frame(head: bytes) -> int:
    """Bytes of the MP3 frame that begins with these four (ISO 11172-3), or 0.

    Returns:
        Its whole length, with the four; 0 if no frame of layer III begins there, or
        one of free bit rate, whose length the header does not say.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer != 3 or bits in (0, 15) or rate == 3:
        return 0
    hertz = _MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 144_000 if version == 3 else 72_000
    return samples * _MPEG_KBITS[version == 3][bits] // hertz + (head[2] >> 1 & 1)


# The rest of a frame, or frames that LAME's tag counts. Without a tag nothing says how
# many there were.
def _mp3_lacks(sound: Any, file: BinaryIO) -> str:
    file.seek(0)
    data = file.read()
    at = total = frames = 0
    if data[:3] == b"ID3" and len(data) > 10:
        at = 10 + sum((b & 127) << 7 * (3 - i) for i, b in enumerate(data[6:10]))
    while size := _mp3_frame(data[at : at + 4]):
        if at + size > len(data):
            return "its last frame is not whole"
        tag = data.find(b"Xing", at, at + 48), data.find(b"Info", at, at + 48)
        if frames == 0 and max(tag) > 0 and data[max(tag) + 7] & 1:
            total = int.from_bytes(data[max(tag) + 8 : max(tag) + 12], "big") + 1
        at, frames = at + size, frames + 1
    if not frames:
        return "it begins with no frame of MPEG layer III"
    if not total or frames == total or (frames < total and at < len(data)):
        return ""
    return f"{frames} frames, {total} by its tag"


# libsndfile's name of a format -> what sees whether a file is whole
_LACKS: dict[str, Callable[[Any, BinaryIO], str]] = {
    **dict.fromkeys(("WAV", "WAVEX"), _wav_lacks),
    **dict.fromkeys(("MP3", "MPEG"), _mp3_lacks),
    "FLAC": _flac_lacks,
    "NIST": _nist_lacks,
}


def header(source: Source) -> tuple[int, int]:
    """Samples and rate in Hz of a whole, mono file that has samples.

    Args:
        source: A file, not cut.

    Returns:
        Number of samples, and samples a second.

    Raises:
        TopDownError: E_WAV_EMPTY, E_WAV_CHANNELS, E_WAV_FORMAT or E_WAV_LENGTH (65),
            and those of ``audio_path``.
    """
    with _open_sound(source) as (sound, file):
        if sound.frames == 0:
            raise _refused("E_WAV_EMPTY", source, "no samples", _LEAVE_OUT)
        if sound.channels != 1:
            what, do = f"{sound.channels} channels", "let stage 3 write one of them"
            raise _refused("E_WAV_CHANNELS", source, what, do)
        for _ in _decoded(source, sound, file, sound.frames - 1, 1, "int16"):
            pass  # a FLAC file may be cut off before its last sample
        return sound.frames, sound.samplerate


def is_current(target: Path, source: Source) -> bool:
    """Whether a file that was made of a source is there and not older.

    Args:
        target: What was made.
        source: What it was made of.

    Returns:
        False for what a command makes: nobody knows when it changes.

    Raises:
        TopDownError: Those of ``audio_path``.
    """
    if source.is_pipe or not target.exists():
        return False
    return target.stat().st_mtime >= audio_path(source).stat().st_mtime


def is_ready(source: Source, rate: int, audio_format: str) -> int:
    """The number of samples if the file can be used as it is, else 0.

    That is: mono, 16 bit, with the wanted rate and format. Nothing reads it again
    before training, so it is decoded here.

    Args:
        source: A line of ``wav.scp``.
        rate: Hz.
        audio_format: ``flac`` or ``wav``.

    Returns:
        The number of samples, or 0.

    Raises:
        TopDownError: E_WAV_FORMAT or E_WAV_LENGTH (65), and those of ``audio_path``.
    """
    if source.is_pipe or source.start is not None:
        return 0
    with _open_sound(source) as (sound, file):
        wanted = (rate, 1, _FORMATS[audio_format], "PCM_16")
        have = (sound.samplerate, sound.channels, sound.format, sound.subtype)
        if have != wanted:
            return 0
        for _ in _decoded(source, sound, file, 0, sound.frames, "int16"):
            pass
        return sound.frames


def read(
    source: Source,
    channel: int | None = None,
    allow_pipes: bool = False,
    every: bool = False,
) -> tuple[np.ndarray, int]:
    """Samples and their rate.

    16-bit files come back as int16, so that nothing is lost on the way through.

    Args:
        source: What to read; the channel of its segment is stronger than ``channel``.
        channel: From 1; needed for stereo.
        allow_pipes: Run the commands of ``wav.scp``.
        every: All channels, shape (T, C).

    Returns:
        int16 or float32 from -1 to 1, shape (T,) or (T, C); samples a second.

    Raises:
        TopDownError: E_SEGMENT (65) for a segment that begins or ends after its
            recording; E_WAV_NONFINITE, E_WAV_CLIPPED and those of ``header``.
    """
    with _open_sound(source, allow_pipes) as (sound, file):
        rate, channels = sound.samplerate, sound.channels
        is_int = sound.subtype in ("PCM_16", "ULAW", "ALAW")
        first, frames = _span(source, rate, sound.frames)
        column = None if every else _column(source, channels, channel)
        dtype = "int16" if is_int else "float32"
        blocks = list(_decoded(source, sound, file, first, frames, dtype))
    if not blocks:
        raise _refused("E_WAV_EMPTY", source, "no samples", _LEAVE_OUT)
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    if column is not None:
        samples = samples[:, column]
    if not is_int:
        _check_values(source, samples, first)
    return samples, rate


def _decoded(
    source: Source, sound: Any, file: BinaryIO, first: int, frames: int, dtype: str
) -> Iterator[np.ndarray]:
    """Samples (T, C) by and by; E_WAV_LENGTH where fewer or others can be read."""
    import soundfile

    left, bits = frames, {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}.get(sound.subtype, 0)
    is_whole = sound.format == "FLAC" and bits and frames == sound.frames
    digest = hashlib.md5(usedforsecurity=False)
    promised = _flac_digest(source, file) if is_whole else b""
    try:
        sound.seek(first)
        while left > 0 and len(block := sound.read(min(left, _BLOCK), dtype, True)):
            left -= len(block)
            if any(promised):
                scaled = block if dtype == "int16" else block * 2.0 ** (bits - 1)
                octets = scaled.astype("<i4").view("u1").reshape(-1, 4)
                digest.update(octets[:, : bits // 8].tobytes())
            yield block
    except (soundfile.LibsndfileError, RuntimeError):
        pass  # a damaged FLAC stops in the middle
    if left:
        raise _damaged(source, f"not all of {sound.frames} samples can be read")
    if any(promised) and digest.digest() != promised:
        raise _damaged(source, "its samples are not those of its MD5 sum")


def _flac_digest(source: Source, file: BinaryIO) -> bytes:
    """MD5 of all samples as a FLAC file has it (RFC 9639); zeros if it has none.

    Returns:
        16 bytes; the sum is over samples of all channels in turn, little endian. 16
        zeros also for what is no FLAC file.
    """
    place = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(place)
    if re.compile(rb"fLaC[\x00\x80]\x00\x00\x22").search(data, 4):
        raise _damaged(source, _SEVERAL)
    return data[26:42] if data[:4] == b"fLaC" else bytes(16)


def _span(source: Source, rate: int, frames: int) -> tuple[int, int]:
    """(first sample, number of samples) of a segment, or of the whole recording.

    Returns:
        Both in samples a channel, the first from 0; the number is 0 where both
        ends round to the same sample.
    """
    if source.start is None or source.end is None:
        return 0, frames
    first = round(source.start * rate)
    end = frames if source.end < 0 else round(source.end * rate)
    length = f"the recording has {frames / rate:.3f} s"
    if first >= frames or end - frames > _LATE * rate:
        what = f"{source.start:g} to {source.end:g} s, but {length}"
        do = "correct the line, or get the whole recording"
        raise _refused("E_SEGMENT", source, what, do)
    if end > frames:
        what = f"{source.where} ends at {source.end:g} s, but {length}: shortened"
        warn("W_SEGMENT", what)
    return first, max(min(end, frames) - first, 0)


def _column(source: Source, channels: int, channel: int | None) -> int:
    channel = source.channel or channel
    if channel is None and channels == 1:
        return 0
    if channel is None or not 1 <= channel <= channels:
        what = f"{channels} channels" + (f", not number {channel}" if channel else "")
        do = "choose one: espnet-topdown format_wav --channel 1"
        do += " (in a recipe: --channel)"
        if source.channel:  # it is stronger than the option
            do = "correct the fifth column of that line: the channel from 0, or -1"
        raise _refused("E_WAV_CHANNELS", source, what, do)
    return channel - 1


def _check_values(source: Source, samples: np.ndarray, first: int = 0) -> None:
    """E_WAV_NONFINITE, and E_WAV_CLIPPED for what 16 bits would cut off."""
    finite = np.isfinite(samples)
    if not finite.all():
        bad = np.unique(np.argwhere(~finite)[:, 0])
        what = f"{len(bad)} samples are NaN or infinite, the first is sample "
        raise _refused("E_WAV_NONFINITE", source, f"{what}{first + bad[0]}")
    loudness = np.abs(samples)
    beyond, largest = float(np.mean(loudness > 1.0)), float(loudness.max())
    if beyond > _CLIPPED or largest > _LOUDEST:
        what = f"{100 * beyond:.2g} % of samples are beyond full scale (the largest is"
        do = "make the file again, with values from -1 to 1"
        raise _refused("E_WAV_CLIPPED", source, f"{what} {largest:g})", do)


def check_samples(source: Source) -> str:
    """Read every sample: "silent", "clipped" or "" (E_WAV_NONFINITE, E_WAV_LENGTH).

    Args:
        source: A file, not cut.

    Returns:
        ``silent``, ``clipped`` or an empty text.

    Raises:
        TopDownError: E_WAV_NONFINITE, and those of ``header``.
    """
    seen = high = 0
    sounding = False
    with _open_sound(source) as (sound, file):
        for block in _decoded(source, sound, file, 0, sound.frames, "float32"):
            if not np.abs(block).max() <= _LOUDEST:  # NaN, too
                _check_values(source, block, seen)
            seen += len(block)
            sounding = sounding or bool(block.any())
            high += int(np.count_nonzero(np.abs(block) >= 1.0 - 2.0**-15))
    if not sounding:
        return "silent"
    return "clipped" if high > _CLIPPED * seen else ""


def resample(samples: np.ndarray, rate: float, target: float) -> np.ndarray:
    """Change the sample rate (soxr, very high quality); int16 stays int16 if equal.

    Args:
        samples: Shape (T,) or (T, C).
        rate: Hz that they have.
        target: Hz to come.

    Returns:
        float32, or the same array where nothing changes.
    """
    if rate == target:
        return samples
    import soxr

    if samples.dtype == np.int16:
        samples = samples.astype(np.float32) / 32768
    return soxr.resample(samples, rate, target, quality="VHQ")


def write(path: Path, samples: np.ndarray, rate: int, audio_format: str) -> None:
    """Write 16-bit audio under its final name only when it is complete.

    Args:
        path: Its folder is made as needed.
        samples: int16, or floats from -1 to 1; what is beyond is clipped. Shape (T,).
        rate: Hz.
        audio_format: ``flac`` or ``wav``.

    Raises:
        TopDownError: E_DISK (74) or E_CREATE (73); what was there before stays.
    """
    import soundfile

    if samples.dtype != np.int16:
        samples = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    coded = io.BytesIO()  # libsndfile's own writing hides why a write failed
    soundfile.write(coded, samples, rate, "PCM_16", format=_FORMATS[audio_format])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, coded.getvalue(), sync=False)


def convert_files(
    sources: Mapping[str, str],
    convert: Callable[[str, Path], bool],
    code: str,
    nj: int = 1,
    job: int | None = None,
) -> int:
    """Convert the files of a corpus, a shard of them or all.

    A file that cannot be read is logged with its reason, the others are converted, and
    then all bad ones are one error.

    Args:
        sources: Name -> file.
        convert: What makes the audio of one; False where it is there already.
        code: Of the error.
        nj: Number of shards.
        job: The shard, from 1; None for all files.

    Returns:
        The number of files converted now.

    Raises:
        TopDownError: ``code`` (65).
    """
    names = c_sorted(sources)
    part = names if job is None else shard(names, job, nj)
    reasons: list[TopDownError] = []
    done = 0
    for n, name in enumerate(part, 1):
        try:
            done += convert(name, Path(sources[name]))
        except TopDownError as e:
            logging.error("%s: %s", name, e)
            reasons.append(e)
        if n % 1000 == 0 or n == len(part):
            logging.info("%d of %d files, %d converted now", n, len(part), done)
    if reasons:
        what = f"{len(reasons)} of {len(part)} files cannot be converted, e.g. "
        what += f"{reasons[0].code}: {reasons[0].what}"
        do = f"{reasons[0].remedy} (the log names each file), then run this again"
        raise TopDownError(code, what, do, DATA)
    return done
