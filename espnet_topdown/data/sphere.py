"""NIST SPHERE files, as the LDC distributes them: read, and proved to be read right.

The header says how many samples there are and what they add up to; every file is
compared with that. Plain files and shorten with 16-bit samples are read here; for
anything else ``sph2pipe`` is run where it is on PATH.

Legend: samples are int16 arrays of shape (T, C): T samples of C channels.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_topdown.errors import DATA, MISSING, TopDownError, warn

_MAGIC = b"NIST_1A"
_MAX_HEADER = 1 << 16
_LAWS = {"mu-law": "ulaw", "a-law": "alaw"}  # other names of these codings
# Coding -> libsndfile's name of it, bytes of a sample
_PLAIN = {"pcm": ("PCM_16", 2), "ulaw": ("ULAW", 1), "alaw": ("ALAW", 1)}
_FIELD = re.compile(rb"([A-Za-z0-9_.-]+) -(i|r|s[0-9]{1,9}) (.*)")
_Value = int | float | str


@dataclass(frozen=True)
class Header:
    """The fields of a SPHERE header, and what follows from them.

    Attributes:
        path: For messages.
        size: In bytes; the samples follow.
        fields: As they stand in the file.
        coding: ``pcm``, ``ulaw``, ``alaw`` or an unknown word.
        packing: ``""``, or what the samples are compressed with.
    """

    path: Path
    size: int
    fields: dict[str, _Value]
    coding: str
    packing: str

    def count(self, name: str, default: int | None = None) -> int:
        """A field that must be a whole number above 0.

        Args:
            name: Of the field.
            default: Where it is missing.

        Returns:
            The number.

        Raises:
            TopDownError: E_SPHERE_HEADER (65).
        """
        value = self.fields.get(name, default)
        if isinstance(value, int) and value > 0:
            return value
        what = "is missing" if value is None else f"is {value!r}"
        raise _broken(self.path, f"{name} {what}")


def _broken(path: Path, what: str) -> TopDownError:
    do = "copy it again from the disc, or check that it is a SPHERE file"
    return TopDownError("E_SPHERE_HEADER", f"{path}: {what}", do, DATA)


def read_header(path: Path) -> Header:
    """Read and check a header; E_SPHERE_HEADER, E_MISSING.

    Args:
        path: A SPHERE file.

    Returns:
        What it says.

    Raises:
        TopDownError: E_SPHERE_HEADER or E_SPHERE_TRUNCATED (65), E_MISSING (66).
    """
    return _parse_header(_read_bytes(path, _MAX_HEADER), Path(path))


def _read_bytes(path: Path, most: int = -1) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read(most)
    except OSError as e:
        what = f"{path} cannot be read ({e.strerror})"
        do = "check the path and its permissions"
        raise TopDownError("E_MISSING", what, do, MISSING) from None


def _parse_header(data: bytes, path: Path) -> Header:
    """The header at the start of a file's bytes.

    Returns:
        Fields as the file has them; without ``sample_coding`` it is ``pcm``.
    """
    first, _, rest = data.partition(b"\n")
    if first.strip() != _MAGIC:
        raise _broken(path, "does not start with NIST_1A")
    number = rest.partition(b"\n")[0].strip()
    size = int(number) if number.isdigit() else 0
    if not 16 <= size <= _MAX_HEADER:
        raise _broken(path, f"header size {number[:20]!r}")
    if len(data) < size:
        what = f"{path}: {len(data)} bytes, the header alone has {size}"
        raise TopDownError("E_SPHERE_TRUNCATED", what, "copy the file again", DATA)
    fields = _fields(rest[: size - len(first) - 1].split(b"\n")[1:], path)
    coding, _, packing = str(fields.get("sample_coding", "pcm")).lower().partition(",")
    coding = _LAWS.get(coding.strip(), coding.strip())
    return Header(path, size, fields, coding, packing.strip())


def _fields(lines: list[bytes], path: Path) -> dict[str, _Value]:
    fields: dict[str, _Value] = {}
    for line in lines:
        if line.strip() == b"end_head":
            return fields
        if not line.strip() or line.lstrip().startswith(b";"):
            continue
        match = _FIELD.match(line)
        if not match:
            raise _broken(path, f"header line {line[:40]!r}")
        name, kind, text = (part.decode("latin-1") for part in match.groups())
        fields[name] = _value(name, kind, text, path)
    raise _broken(path, "the header has no end_head")


def _value(name: str, kind: str, text: str, path: Path) -> _Value:
    length = int(kind[1:]) if kind[0] == "s" else len(text.split(";")[0])
    value, rest = text[:length], text[length:].strip()
    if len(value) < length:
        raise _broken(path, f"{name} is shorter than {length} characters")
    if rest and not rest.startswith(";"):
        raise _broken(path, f"{name} is followed by '{rest[:20]}'")
    try:
        return {"i": int, "r": float, "s": str}[kind[0]](value)
    except ValueError:
        raise _broken(path, f"{name} is not a number: '{value[:20]}'") from None


def read(path: Path) -> tuple[np.ndarray, int]:
    """Samples and their rate in Hz.

    Args:
        path: A SPHERE file.

    Returns:
        int16 (T, C); samples a second.

    Raises:
        TopDownError: E_SPHERE_HEADER, E_SPHERE_TRUNCATED, E_SPHERE_STREAM (damaged),
            E_SPHERE_CHECKSUM or E_SPHERE_CODING (not one that can be read here).
    """
    path = Path(path)
    data = _read_bytes(path)
    header = _parse_header(data, path)
    rate = header.count("sample_rate")
    header.count("sample_count")
    if not header.packing and header.coding in _PLAIN:
        return _plain(header, data[header.size :]), rate
    try:
        return _packed(header, data[header.size :]), rate
    except TopDownError as e:
        if shutil.which("sph2pipe") is None:
            raise
        return _by_sph2pipe(header, e), rate


def _plain(header: Header, data: bytes) -> np.ndarray:
    import soundfile

    channels, rate = header.count("channel_count", 1), header.count("sample_rate")
    subtype, width = _PLAIN[header.coding]
    if (have := header.count("sample_n_bytes", width)) != width:
        raise _unknown(header, f"{header.coding} with {have} bytes a sample")
    byte_format = str(header.fields.get("sample_byte_format"))
    order = {"01": "LITTLE", "10": "BIG"}.get(byte_format, "" if width > 1 else "FILE")
    if not order:
        raise _broken(header.path, "sample_byte_format is neither 01 nor 10")
    count = header.count("sample_count")
    frames = len(data) // (width * channels)
    both = channels == 2 and 2 * frames == count  # some discs count both channels
    if frames < count and not both:
        raise _cut(header, f"holds {frames} of {count} samples")
    used = data[: min(frames, count) * width * channels]
    kind = {"format": "RAW", "subtype": subtype, "endian": order}
    with soundfile.SoundFile(io.BytesIO(used), "r", rate, channels, **kind) as sound:
        samples = sound.read(dtype="int16", always_2d=True)
    _compare_sum(header, samples if width > 1 else np.frombuffer(used, np.uint8))
    return samples


def _packed(header: Header, data: bytes) -> np.ndarray:
    from espnet_topdown.data import _shorten as shorten

    if header.coding != "pcm" or not header.packing.startswith("embedded-shorten-"):
        raise _unknown(header, f"sample_coding {header.fields.get('sample_coding')}")
    count = header.count("sample_count")
    try:
        samples = shorten.decode(data, count)
    except shorten.ShortenError as e:
        if e.code == "E_SPHERE_CODING":
            raise _unknown(header, str(e)) from None
        what = f"{header.path}: {e}"
        raise TopDownError(e.code, what, "copy the file again", DATA) from None
    _compare_shape(header, samples)
    _compare_sum(header, samples)
    return samples


def _unknown(header: Header, what: str) -> TopDownError:
    do = "put sph2pipe on PATH (LDC's tool, to be compiled), or convert the file to WAV"
    return TopDownError("E_SPHERE_CODING", f"{header.path}: {what}", do, DATA)


def _cut(header: Header, what: str) -> TopDownError:
    do = "copy the file again"
    return TopDownError("E_SPHERE_TRUNCATED", f"{header.path} {what}", do, DATA)


def _compare_shape(header: Header, samples: np.ndarray) -> None:
    count, channels = header.count("sample_count"), header.count("channel_count", 1)
    if samples.shape[1] != channels:
        what = f"{samples.shape[1]} channels, the header says {channels}"
        raise _broken(header.path, what)
    if len(samples) != count:
        raise _cut(header, f"holds {len(samples)} of {count} samples")


def _compare_sum(header: Header, stored: np.ndarray) -> None:
    """All values as stored, added up, modulo 65536."""
    promised = header.fields.get("sample_checksum")
    if promised is None:
        warn("W_SPHERE_CHECKSUM", f"{header.path} has no sample_checksum: not checked")
        return
    total = int(stored.sum(dtype="int64")) % 65536
    if not isinstance(promised, int) or total != promised % 65536:
        what = f"the samples add up to {total}, the header says {promised}"
        what = f"{header.path}: {what}"
        raise TopDownError("E_SPHERE_CHECKSUM", what, "copy the file again", DATA)


def _by_sph2pipe(header: Header, reason: TopDownError) -> np.ndarray:
    """What LDC's own tool reads, if that has the right length and sum.

    Returns:
        int16 (T, C). The sum is not compared for mu-law and A-law: it is over octets
        that the tool has decoded.
    """
    import soundfile

    command = ["sph2pipe", "-p", "-f", "wav", os.fspath(header.path)]
    done = subprocess.run(command, capture_output=True)
    if done.returncode != 0:
        raise reason
    try:
        sound = io.BytesIO(done.stdout)
        samples, _ = soundfile.read(sound, dtype="int16", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError):
        raise reason from None
    _compare_shape(header, samples)
    if header.coding == "pcm":
        _compare_sum(header, samples)
    return samples
