"""Sound files: read what ``wav.scp`` names, check it, resample, write 16-bit audio.

Legend: samples are float32 or int16 arrays of shape (T,), or (T, C) for all channels.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from espnet_topdown.errors import (
    DATA,
    MISSING,
    USAGE,
    TopDownError,
    disk_error,
    warn,
)

if TYPE_CHECKING:
    import numpy as np

FORMATS = {"flac": "FLAC", "wav": "WAV"}
CLIPPED = 0.2  # share of samples at or beyond full scale
BLOCK = 1 << 20
LATE = 0.5  # seconds that a segment may end after its recording, as in Kaldi
UNKNOWN = 1 << 60  # more samples than a file has: FLAC that was written into a pipe
OPEN_END = 0x7FFF0000  # a size that a writer into a pipe leaves in the header
# What libsndfile says of a file that ends before its header says so.
_SHORTER = re.compile(
    r"(?m)^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)"
    r"|(truncated file)"
)


def parse_rate(text: str) -> int:
    """A sample rate in Hz, written as ESPnet writes it.

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
        """One line that changes when the source does."""
        cut = "" if self.start is None else f" {self.start:.4f} {self.end:.4f}"
        return f"{self.value}{cut}" + (f" {self.channel}" if self.channel else "")


def refuse_pipe(source: Source) -> None:
    """E_PIPE: a data directory must not run commands unless the user says so."""
    raise TopDownError(
        "E_PIPE",
        f"{source.where} would run '{source.value.strip('| ')[:200]}'",
        "make it an audio file, or let format_wav do so if you trust it: "
        "espnet-topdown format_wav --allow_pipes (in a recipe: --allow_pipes true)",
        DATA,
    )


def audio_path(source: Source, root: Path = Path(".")) -> Path:
    """The audio file; E_WAV_MISSING if there is none, E_PIPE if it is a command."""
    if source.is_pipe:
        refuse_pipe(source)
    path = root / source.value
    if not path.is_file():
        what = f"{source.where}: {source.value}"
        raise TopDownError("E_WAV_MISSING", what, "correct the path", MISSING)
    return path


def _run(source: Source) -> io.BytesIO:
    command = source.value.strip("| ")
    logging.info("running: %s", command)
    run = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE)
    if run.returncode != 0:
        what = f"{source.where}: '{command[:200]}' ended with {run.returncode}"
        raise TopDownError("E_PIPE", what, "run that command by hand", DATA)
    return io.BytesIO(run.stdout)


@contextlib.contextmanager
def open_sound(
    source: Source, root: Path = Path("."), allow_pipes: bool = False
) -> Iterator[Any]:
    """Open a sound file (``soundfile.SoundFile``) that is as long as it says.

    Raises:
        TopDownError: E_WAV_FORMAT (65) for what is no sound file, E_WAV_LENGTH (65)
            for a file that was cut off, and those of ``audio_path``.
    """
    import soundfile

    piped = source.is_pipe and allow_pipes
    with _run(source) if piped else audio_path(source, root).open("rb") as file:
        try:
            sound = soundfile.SoundFile(file)
        except (soundfile.LibsndfileError, RuntimeError) as e:
            shown = str(e).strip()[-80:].replace(str(file), source.value)
            what = f"{source.where}: {source.value[:200]} is not a WAV/FLAC/SPH file"
            do = "make it again (WAV or FLAC); it may be empty or cut off"
            raise TopDownError("E_WAV_FORMAT", f"{what} ({shown})", do, DATA) from None
        with sound:
            lacking = _lacking(sound, file)
            if lacking:
                raise _cut_off(source, lacking)
            yield sound


def _cut_off(source: Source, lacking: str) -> TopDownError:
    what = f"{source.where}: {source.value[:200]} was cut off: {lacking}"
    return TopDownError("E_WAV_LENGTH", what, "copy or make the file again", DATA)


def _lacking(sound: Any, file: BinaryIO) -> str:
    """What a file has less than its header says; "" if nothing."""
    if sound.frames >= UNKNOWN:  # libsndfile, and so ESPnet, cannot read it to its end
        return "its header has no number of samples (it was written into a pipe)"
    for declared, actual, truncated in _SHORTER.findall(sound.extra_info):
        if truncated:
            return "it ends within a block"
        missing = int(declared) - int(actual)
        if missing > 0 and int(declared) < OPEN_END:
            return f"{missing} bytes fewer than its header says"
    lacking, place = "", file.tell()
    if sound.format == "NIST":
        file.seek(0)
        count = re.search(rb"(?m)^sample_count -i (\d+)", file.read(1024))
        if count and int(count[1]) > sound.frames:
            lacking = f"{sound.frames} of {int(count[1])} samples"
    elif sound.format in ("MPEG", "MP3"):
        file.seek(0)
        lacking = _mpeg_lacks(file.read())
    elif sound.format == "OGG":
        file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 17)))
        lacking = _ogg_lacks(file.read())
    file.seek(place)
    return lacking


def _ogg_lacks(data: bytes) -> str:
    """What the last page of an Ogg stream lacks (RFC 3533): its rest, or its mark."""
    page = data[max(data.rfind(b"OggS"), 0) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return "its last page is not whole"
    size = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return "its last page is not there" if size > len(page) or not page[5] & 4 else ""


_MPEG_RATES = (44100, 48000, 32000)
_MPEG_KBITS = {  # (MPEG 1, layer) -> kbit/s by index
    (True, 1): (0, *range(32, 449, 32)),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _mpeg_frame(head: bytes) -> int:
    """Bytes of the MPEG audio frame that begins with these four (ISO 11172-3), or 0."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return 0
    kbits = _MPEG_KBITS[version == 3, layer][bits]
    hertz = _MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    padding = head[2] >> 1 & 1
    if layer == 1:
        return (12_000 * kbits // hertz + padding) * 4
    samples = 72 if layer == 3 and version != 3 else 144
    return samples * 1000 * kbits // hertz + padding


def _mpeg_lacks(data: bytes) -> str:
    """What an MP3 file lacks: the rest of a frame, or frames that LAME's tag counts."""
    at = total = frames = 0
    if data[:3] == b"ID3" and len(data) > 10:
        at = 10 + sum((b & 127) << 7 * (3 - i) for i, b in enumerate(data[6:10]))
    while size := _mpeg_frame(data[at : at + 4]):
        if at + size > len(data):
            return "its last frame is not whole"
        tag = data.find(b"Xing", at, at + 48), data.find(b"Info", at, at + 48)
        if frames == 0 and max(tag) > 0 and data[max(tag) + 7] & 1:
            total = int.from_bytes(data[max(tag) + 8 : max(tag) + 12], "big") + 1
        at, frames = at + size, frames + 1
    ended = at == len(data) and frames < total
    return f"{frames} of {total} frames" if ended else ""


def last_is_there(sound: Any) -> bool:
    """Whether the last sample can be read; a FLAC file may be cut off before it."""
    import soundfile

    if sound.frames <= 0 or not sound.seekable():
        return True
    try:
        sound.seek(sound.frames - 1)
        return len(sound.read(1)) == 1
    except (soundfile.LibsndfileError, RuntimeError):
        return False


def header(source: Source, root: Path = Path(".")) -> Any:
    """A whole, mono file that has samples: its ``frames`` and ``samplerate``.

    Raises:
        TopDownError: E_WAV_EMPTY, E_WAV_CHANNELS, and those of ``open_sound``.
    """
    with open_sound(source, root) as sound:
        if sound.frames == 0:
            what = f"{source.where}: no samples"
            raise TopDownError("E_WAV_EMPTY", what, "leave the utterance out", DATA)
        if sound.channels != 1:
            what = f"{source.where}: {sound.channels} channels"
            do = "let stage 3 write one channel of it"
            raise TopDownError("E_WAV_CHANNELS", what, do, DATA)
        if not last_is_there(sound):
            raise _cut_off(source, f"not all of {sound.frames} samples can be read")
        return sound


def is_ready(source: Source, rate: int, audio_format: str) -> int:
    """The number of samples if the file can be used as it is, else 0.

    That is: a whole file, mono, 16 bit, with the wanted rate and format.
    """
    if source.is_pipe or source.start is not None:
        return 0
    with open_sound(source) as sound:
        wanted = (rate, 1, FORMATS[audio_format], "PCM_16")
        have = (sound.samplerate, sound.channels, sound.format, sound.subtype)
        if have != wanted:
            return 0
        if not last_is_there(sound):
            raise _cut_off(source, f"not all of {sound.frames} samples can be read")
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

    Raises:
        TopDownError: E_SEGMENT (65) for a segment that begins or ends after its
            recording; E_WAV_NONFINITE, E_WAV_CLIPPED, E_WAV_CHANNELS, E_WAV_EMPTY,
            and those of ``open_sound``.
    """
    with open_sound(source, allow_pipes=allow_pipes) as sound:
        rate, channels = sound.samplerate, sound.channels
        is_int = sound.subtype in ("PCM_16", "ULAW", "ALAW")
        first, frames = _span(source, rate, sound.frames)
        column = None if every else _column(source, channels, channel)
        samples = _samples(sound, first, frames, "int16" if is_int else "float32")
        if len(samples) != frames:
            raise _cut_off(source, f"{len(samples)} of {frames} samples can be read")
    if len(samples) == 0:
        what = f"{source.where}: no samples"
        raise TopDownError("E_WAV_EMPTY", what, "leave the utterance out", DATA)
    if column is not None:
        samples = samples[:, column]
    if not is_int:
        _check_values(source, samples, first)
    return samples, rate


def _blocks(sound: Any, frames: int, dtype: str) -> Iterator[np.ndarray]:
    """Samples (T, C) by and by, as many as can be read."""
    import soundfile

    while frames > 0:
        try:
            block = sound.read(min(frames, BLOCK), dtype, always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError):
            return  # a damaged FLAC stops in the middle
        if not len(block):
            return
        frames -= len(block)
        yield block


def _samples(sound: Any, first: int, frames: int, dtype: str) -> np.ndarray:
    import numpy as np
    import soundfile

    try:
        sound.seek(first)
        blocks = list(_blocks(sound, frames, dtype))
    except (soundfile.LibsndfileError, RuntimeError):
        blocks = []  # the file ends before that place
    if not blocks:
        return np.zeros((0, sound.channels), dtype)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _span(source: Source, rate: int, frames: int) -> tuple[int, int]:
    """(first sample, number of samples) of a segment, or of the whole recording."""
    if source.start is None or source.end is None:
        return 0, frames
    first = round(source.start * rate)
    end = frames if source.end < 0 else round(source.end * rate)
    length = f"the recording has {frames / rate:.3f} s"
    if first >= frames or end - frames > LATE * rate:
        what = f"{source.where}: {source.start:g} to {source.end:g} s, but {length}"
        do = "correct the line, or get the whole recording"
        raise TopDownError("E_SEGMENT", what, do, DATA)
    if end > frames:
        what = f"{source.where} ends at {source.end:g} s, but {length}: shortened"
        warn("W_SEGMENT", what)
    return first, max(min(end, frames) - first, 0)


def _column(source: Source, channels: int, channel: int | None) -> int:
    channel = source.channel or channel
    if channel is None and channels == 1:
        return 0
    if channel is None or not 1 <= channel <= channels:
        what = f"{source.where}: {channels} channels"
        if channel is not None:
            what += f", not number {channel}"
        do = (
            "choose one: espnet-topdown format_wav --channel 1 (in a recipe: --channel)"
        )
        if source.channel:  # it is stronger than the option
            do = "correct the fifth column of that line: the channel from 0, or -1"
        raise TopDownError("E_WAV_CHANNELS", what, do, DATA)
    return channel - 1


def _check_values(source: Source, samples: np.ndarray, first: int = 0) -> None:
    """E_WAV_NONFINITE, and E_WAV_CLIPPED for what 16 bits would cut off."""
    import numpy as np

    finite = np.isfinite(samples)
    if not finite.all():
        bad = np.unique(np.argwhere(~finite)[:, 0])
        what = f"{source.where}: {len(bad)} samples are NaN or infinite, the first is"
        what += f" sample {first + bad[0]}"
        raise TopDownError("E_WAV_NONFINITE", what, "make the file again", DATA)
    beyond = float(np.mean(np.abs(samples) > 1.0))
    if beyond > CLIPPED:
        what = f"{source.where}: {100 * beyond:.0f} % of samples are beyond full scale"
        what += f" (the largest is {float(np.abs(samples).max()):g})"
        do = "make the file again, with values from -1 to 1"
        raise TopDownError("E_WAV_CLIPPED", what, do, DATA)


def read_all(source: Source, root: Path, frames: int) -> str:
    """Read every sample: "silent", "clipped" or "" (E_WAV_NONFINITE, E_WAV_LENGTH)."""
    import numpy as np

    seen = high = 0
    sounding = False
    with open_sound(source, root) as sound:
        for block in _blocks(sound, frames, "float32"):
            if not np.isfinite(block).all():
                _check_values(source, block, seen)
            seen += len(block)
            sounding = sounding or bool(block.any())
            high += int(np.count_nonzero(np.abs(block) >= 1.0 - 2.0**-15))
    if seen != frames:
        raise _cut_off(source, f"{seen} of {frames} samples can be read")
    if not sounding:
        return "silent"
    return "clipped" if high > CLIPPED * frames else ""


def resample(samples: np.ndarray, rate: float, target: float) -> np.ndarray:
    """Change the sample rate (soxr, very high quality); int16 stays int16 if equal."""
    if rate == target:
        return samples
    import numpy as np
    import soxr

    if samples.dtype == np.int16:
        samples = samples.astype(np.float32) / 32768
    return soxr.resample(samples, rate, target, quality="VHQ")


def write(path: Path, samples: np.ndarray, rate: int, audio_format: str) -> None:
    """Write 16-bit audio under its final name only when it is complete.

    Raises:
        TopDownError: E_DISK (74) or E_CREATE (73); what was there before stays.
    """
    import numpy as np
    import soundfile

    if samples.dtype != np.int16:
        samples = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    coded = io.BytesIO()  # libsndfile's own writing hides why a write failed
    soundfile.write(coded, samples, rate, "PCM_16", format=FORMATS[audio_format])
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        tmp.write_bytes(coded.getvalue())
        os.replace(tmp, path)
    except OSError as e:
        raise disk_error(path, len(coded.getvalue()), e) from None
    finally:
        tmp.unlink(missing_ok=True)
