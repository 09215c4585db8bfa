"""Sound files: read what ``wav.scp`` names, resample, write 16-bit audio.

Legend: samples are float32 or int16 arrays of shape (T,).
"""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_topdown.errors import DATA, MISSING, USAGE, TopDownError, disk_error

if TYPE_CHECKING:
    import numpy as np

FORMATS = {"flac": "FLAC", "wav": "WAV"}


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

    ``where`` is for messages: the utterance, the list and its line.
    """

    utt: str
    value: str
    where: str
    start: float | None = None
    end: float | None = None

    @property
    def is_pipe(self) -> bool:
        """Whether reading it would run a command."""
        return self.value.endswith("|") or self.value.startswith("|")

    def text(self) -> str:
        """One line that changes when the source does."""
        cut = "" if self.start is None else f" {self.start:.4f} {self.end:.4f}"
        return f"{self.value}{cut}"


def refuse_pipe(source: Source) -> None:
    """E_PIPE: a data directory must not run commands unless the user says so."""
    raise TopDownError(
        "E_PIPE",
        f"{source.where} would run '{source.value.strip('| ')[:200]}'",
        "make it an audio file, or give --allow_pipes true if you trust it",
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


def is_ready(source: Source, rate: int, audio_format: str) -> int:
    """The number of samples if the file can be used as it is, else 0.

    That is: a whole file, mono, 16 bit, with the wanted rate and format.
    """
    import soundfile

    if source.is_pipe or source.start is not None:
        return 0
    try:
        info = soundfile.info(str(audio_path(source)))
    except soundfile.LibsndfileError:
        return 0  # read() says what is wrong
    wanted = (rate, 1, FORMATS[audio_format], "PCM_16")
    have = (info.samplerate, info.channels, info.format, info.subtype)
    return info.frames if have == wanted else 0


def read(
    source: Source, channel: int | None = None, allow_pipes: bool = False
) -> tuple[np.ndarray, int]:
    """Samples and their rate; ``channel`` counts from 1 and is needed for stereo.

    16-bit files come back as int16, so that nothing is lost on the way through.
    """
    import soundfile

    file = _run(source) if source.is_pipe and allow_pipes else audio_path(source)
    try:
        with soundfile.SoundFile(file) as f:
            dtype = "int16" if f.subtype in ("PCM_16", "ULAW", "ALAW") else "float32"
            if source.start is not None:
                f.seek(min(round(source.start * f.samplerate), f.frames))
            samples = f.read(_frames(source, f.samplerate), dtype, always_2d=True)
            rate = f.samplerate
    except (soundfile.LibsndfileError, RuntimeError) as e:
        what = f"{source.where}: not a WAV/FLAC/SPH file ({str(e).strip()[-80:]})"
        do = "convert it to WAV or FLAC"
        raise TopDownError("E_WAV_FORMAT", what, do, DATA) from None
    if len(samples) == 0:
        what = f"{source.where} has no samples"
        raise TopDownError("E_WAV_EMPTY", what, "leave the utterance out", DATA)
    return samples[:, _column(source, samples.shape[1], channel)], rate


def _frames(source: Source, rate: int) -> int:
    if source.start is None or source.end is None or source.end < 0:
        return -1
    return max(round(source.end * rate) - round(source.start * rate), 0)


def _column(source: Source, channels: int, channel: int | None) -> int:
    if channel is None and channels == 1:
        return 0
    if channel is None or not 1 <= channel <= channels:
        what = f"{source.where}: {channels} channels"
        raise TopDownError("E_WAV_CHANNELS", what, "give --channel 1", DATA)
    return channel - 1


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
    """Write mono 16-bit audio under its final name only when it is complete.

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
        tmp.write_bytes(coded.getbuffer())
        os.replace(tmp, path)
    except OSError as e:
        raise disk_error(path, coded.getbuffer().nbytes, e) from None
    finally:
        tmp.unlink(missing_ok=True)
