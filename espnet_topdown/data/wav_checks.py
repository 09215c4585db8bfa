"""Checks of single audio files: the header, then if wanted every sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.data.wav_io import Source, audio_path
from espnet_topdown.errors import DATA, TopDownError

CLIPPED = 0.2  # share of samples at full scale
BLOCK = 1 << 20


def header(source: Source, root: Path = Path(".")) -> Any:
    """``soundfile.info`` of a whole, mono file that has samples."""
    import soundfile

    path = audio_path(source, root)
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError):
        what = f"{source.where}: {source.value} is not a WAV/FLAC/SPH file"
        do = "make it again; it may be empty or cut off"
        raise TopDownError("E_WAV_FORMAT", what, do, DATA) from None
    missing = _missing_bytes(path)
    if missing:
        what = f"{source.where}: {missing} bytes fewer than its header says"
        raise TopDownError("E_WAV_LENGTH", what, "copy the file again", DATA)
    if info.frames == 0:
        what = f"{source.where} has no samples"
        raise TopDownError("E_WAV_EMPTY", what, "leave the utterance out", DATA)
    if info.channels != 1:
        what = f"{source.where}: {info.channels} channels"
        do = "run stage 3 with --channel 1"
        raise TopDownError("E_WAV_CHANNELS", what, do, DATA)
    return info


def _missing_bytes(path: Path) -> int:
    """How much a RIFF file lacks; writers of streams leave the size open (0, -1)."""
    with open(path, "rb") as f:
        start = f.read(8)
    size = int.from_bytes(start[4:8], "little")
    if start[:4] != b"RIFF" or size in (0, 0xFFFFFFFF, 0x7FFFFFFF):
        return 0
    return max(0, size + 8 - path.stat().st_size)


def same_rate(rates: Sequence[tuple[Source, int]], fs: int) -> None:
    """E_WAV_RATE for some files, E_WAV_RATE_ALL when the set has one other rate."""
    counts = Counter(rate for _, rate in rates)
    if set(counts) == {fs}:
        return
    do = "run stage 3, or set --fs"
    if len(counts) == 1:
        what = f"files {rates[0][1]} Hz, config fs {fs}"
        raise TopDownError("E_WAV_RATE_ALL", what, do, DATA)
    usual = fs if fs in counts else counts.most_common(1)[0][0]
    source, rate = next((s, r) for s, r in rates if r != usual)
    what = f"{source.where} {rate} Hz, others {usual}"
    raise TopDownError("E_WAV_RATE", what, do, DATA)


def read_all(source: Source, root: Path, frames: int) -> str:
    """Read every sample: "silent", "clipped" or "" (E_WAV_NONFINITE, E_WAV_LENGTH)."""
    import numpy as np
    import soundfile

    seen = high = 0
    sounding = False
    path = audio_path(source, root)
    try:
        with soundfile.SoundFile(str(path)) as f:
            full_scale = 1.0 - 2.0**-15
            for block in f.blocks(BLOCK, dtype="float32"):
                finite = np.isfinite(block)
                if not finite.all():
                    at = seen + int(np.argmin(finite))
                    what = f"{source.where} sample {at}"
                    do = "make the file again"
                    raise TopDownError("E_WAV_NONFINITE", what, do, DATA)
                seen += len(block)
                sounding = sounding or bool(block.any())
                high += int(np.count_nonzero(np.abs(block) >= full_scale))
    except (soundfile.LibsndfileError, RuntimeError):
        seen = min(seen, frames - 1)  # a damaged FLAC stops in the middle
    if seen != frames:
        what = f"{source.where}: {seen} of {frames} samples can be read"
        raise TopDownError("E_WAV_LENGTH", what, "make the file again", DATA)
    if not sounding:
        return "silent"
    return "clipped" if high > CLIPPED * frames else ""
