"""SPHERE files: our encoder writes them, the reader must give the samples back."""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import shorten as encoder
import soundfile

from espnet_topdown.data import sphere
from espnet_topdown.data._shorten import ShortenError, decode
from espnet_topdown.errors import TopDownError


def speech(n: int = 1500, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Coloured noise with a mean and a silent stretch, int16 (T, C)."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.normal(0, 60, (n, channels)), axis=0)
    x = (steps + rng.normal(0, 30, (n, channels)) + 300).astype(np.int16)
    x[512:768] = 0
    return x


def write(path: Path, samples: np.ndarray, coding: str, **options: object) -> Path:
    path.write_bytes(encoder.sphere(samples, coding, **options))
    return path


VERSIONS = ["v1.09", "v1.1", "v2.00"]
HOW = [["best"], ["diff0"], ["diff1"], ["diff2"], ["diff3"], [[40, -10]]]
HOW += [[[20], "diff0", [30, -5, 2, 1]]]


@pytest.mark.parametrize("how", HOW, ids=str)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("channels, means", [(1, 0), (1, 4), (2, 4)])
def test_shorten_gives_the_samples_back(how, version, channels, means):
    x = speech(channels=channels)
    stream = encoder.encode(x, version, how, means=means, lpc=8)
    assert np.array_equal(decode(stream, len(x)), x)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind, skip", [(3, b""), (5, b"abc")])
def test_shorten_with_shift_silence_and_skipped_bytes(version, kind, skip):
    x = speech(channels=2) >> 3 << 3
    e = encoder.Encoder(version, 2, kind=kind, skip=skip)
    e.set_shift(3)
    for i, start in enumerate(range(0, len(x), 256)):
        for c in (0, 1):
            how = "zero" if start == 512 else ["diff0", "diff2"][i % 2]
            e.block(c, x[start : start + 256, c], how)
    assert np.array_equal(decode(e.stream(), len(x)), x)


@pytest.mark.parametrize("packing", ["", *(f",embedded-shorten-{v}" for v in VERSIONS)])
@pytest.mark.parametrize("order", ["01", "10"])
@pytest.mark.parametrize("channels", [1, 2])
def test_plain_and_packed_files(tmp_path, packing, order, channels):
    x = speech(channels=channels)
    path = write(tmp_path / "a.wv1", x, f"pcm{packing}", sample_byte_format=order)
    samples, rate = sphere.read(path)
    assert rate == 16000 and samples.dtype == np.int16
    assert np.array_equal(samples, x)
    assert sphere.read_header(path).fields["sample_coding"] == f"pcm{packing}"


@pytest.mark.parametrize("coding, subtype", [("ulaw", "ULAW"), ("alaw", "ALAW")])
@pytest.mark.parametrize("channels, counted", [(1, 1), (2, 1), (2, 2)])
def test_laws_agree_with_libsndfile(tmp_path, coding, subtype, channels, counted):
    stored = np.arange(256, dtype=np.uint8).reshape(-1, channels)
    fields = {
        "sample_count": len(stored) * counted,  # some discs count both channels
        "sample_n_bytes": 1,
        "sample_checksum": encoder.checksum(stored),
    }
    path = write(tmp_path / "a", stored, coding, stream=stored.tobytes(), **fields)
    (tmp_path / "raw").write_bytes(stored.tobytes())
    raw = {"format": "RAW", "subtype": subtype, "samplerate": 8000, "dtype": "int16"}
    known, _ = soundfile.read(tmp_path / "raw", channels=channels, **raw)
    assert np.array_equal(sphere.read(path)[0], known.reshape(-1, channels))


def test_no_checksum_is_a_warning(tmp_path, caplog):
    x = speech()
    data = encoder.sphere(x, "pcm").replace(b"sample_checksum", b"sample_chec-sum")
    (tmp_path / "a.sph").write_bytes(data)
    assert np.array_equal(sphere.read(tmp_path / "a.sph")[0], x)
    assert "W_SPHERE_CHECKSUM" in caplog.text


PACKED = "pcm,embedded-shorten-v1.09"
REPLACED = [  # in the bytes of a file: old, new; its coding; the code
    (b"NIST", b"RIFF", "pcm", "HEADER"),
    (b"   1024", b"   many", "pcm", "HEADER"),
    (b"   1024", b"9999999", "pcm", "HEADER"),
    (b"end_head", b"end_haed", "pcm", "HEADER"),
    (b"end_head", b" " * 8, "pcm", "HEADER"),
    (b"_rate -i 16", b"_rate -i xx", "pcm", "HEADER"),
    (b"_rate -i ", b"_rate -x ", "pcm", "HEADER"),
    (b"sample_rate", b"simple_rate", "pcm", "HEADER"),
    (b"sample_count", b"simple_count", "pcm", "HEADER"),
    (b"_count -i 1\n", b"_count -i 0\n", "pcm", "HEADER"),
    (b"-s2 01", b"-s2 11", "pcm", "HEADER"),
    (b"-s2 01", b"-s9 01", "pcm", "HEADER"),
    (b"-s3 pcm\n", b"-s3 pcm ", "pcm", "HEADER"),
    (b"n_bytes -i 2", b"n_bytes -i 4", "pcm", "CODING"),
    (b"t -i 1500", b"t -i 1400", PACKED, "STREAM"),
    (b"t -i 1500", b"t -i 1501", PACKED, "TRUNCATED"),
    (b"channel_count -i 1", b"channel_count -i 2", PACKED, "HEADER"),
    (rb"(checksum -i \d*)(\d)", rb"\1X", PACKED, "HEADER"),
    (rb"(checksum -i )\d(\d\d)", rb"\1 \2", PACKED, "CHECKSUM"),
    (rb"(checksum -i )\d(\d\d)", rb"\1 \2", "pcm", "CHECKSUM"),
    (b"shorten-v1.09", b"wavpack-v1.09", PACKED, "CODING"),
    (b"-s26 pcm", b"-s27 ulaw", PACKED, "CODING"),
    (b"ajkg", b"ajkh", PACKED, "STREAM"),
    (b"ajkg.", b"ajkg\x03", PACKED, "CODING"),
]
CUT = [  # from, to: what is left of the bytes; its coding; the code
    (0, 0, "pcm", "HEADER"),
    (0, 1000, "pcm", "TRUNCATED"),
    (0, 1024, "pcm", "TRUNCATED"),
    (0, -2, "pcm", "TRUNCATED"),
    (0, 1024, PACKED, "STREAM"),
    (0, -8, PACKED, "TRUNCATED"),
    (0, 1700, PACKED, "TRUNCATED"),
]


@pytest.mark.parametrize("a, b, coding, code", [*REPLACED, *CUT])
def test_a_damaged_file_is_refused(tmp_path, monkeypatch, a, b, coding, code):
    monkeypatch.setenv("PATH", "")  # no sph2pipe
    data = encoder.sphere(speech(), coding)
    changed = data[a:b] if isinstance(a, int) else re.sub(a, b, data, count=1)
    assert changed != data
    path = tmp_path / "bad.wv1"
    path.write_bytes(changed)
    with pytest.raises(TopDownError, match=f"E_SPHERE_{code}: .*bad.wv1") as e:
        sphere.read(path)
    assert b != 1000 or "1000 bytes, the header alone has" in str(e.value)
    assert code != "CODING" or "sph2pipe" in str(e.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(TopDownError, match="E_MISSING"):
        sphere.read(tmp_path / "none.wv1")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("how", [["best"], [[15, 15, 15, 15]]], ids=str)
def test_damaged_streams_end_in_one_error(version, how):
    """Every cut and many flipped bytes: an error or samples, nothing else."""
    x = speech(600)
    stream = encoder.encode(x, version, how, lpc=4)
    for n in range(4, len(stream) - 4, 7):
        with pytest.raises(ShortenError):
            decode(stream[:n], len(x))
    rng = np.random.default_rng(version)
    for _ in range(150):
        data = bytearray(stream)
        data[rng.integers(5, len(data))] = rng.integers(256)
        try:
            assert len(decode(bytes(data), len(x))) <= len(x)
        except ShortenError:
            pass


@pytest.mark.parametrize(
    "answer, status, refusal",
    [
        ("a.wav", 0, ""),
        ("short.wav", 0, "E_SPHERE_TRUNCATED"),
        # it fails: our own reason stays
        ("none", 0, "version 3"),
        ("a.wav", 1, "version 3"),
        ("text", 0, "version 3"),
    ],
)
def test_sph2pipe_reads_what_we_do_not(tmp_path, monkeypatch, answer, status, refusal):
    x = speech()
    soundfile.write(tmp_path / "a.wav", x, 16000, "PCM_16")
    soundfile.write(tmp_path / "short.wav", x[1:], 16000, "PCM_16")
    (tmp_path / "text").write_text("licence expired\n")
    tool = tmp_path / "sph2pipe"  # it answers if it is asked as LDC's tool must be
    said = f'[ "$1 $2 $3" = "-p -f wav" ] && cat "{tmp_path}/{answer}" && exit {status}'
    tool.write_text(f"#!/bin/sh\n{said}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    path = write(tmp_path / "a.wv1", x, PACKED, stream=b"ajkg\x03")
    if refusal:
        with pytest.raises(TopDownError, match=refusal):
            sphere.read(path)
    else:
        assert np.array_equal(sphere.read(path)[0], x)


def test_genuine_files(shared, tmp_path):
    """Plain files of the AN4 corpus: their checksums hold, libsndfile agrees."""
    with tarfile.open(shared / "mini_an4_downloads.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    paths = list(tmp_path.rglob("*.sph"))
    assert paths
    for path in paths:
        samples, rate = sphere.read(path)
        known, known_rate = soundfile.read(path, dtype="int16", always_2d=True)
        assert rate == known_rate and np.array_equal(samples, known)


@pytest.mark.parametrize("label", VERSIONS)
@pytest.mark.parametrize("how", HOW, ids=str)
def test_our_encoder_writes_what_ffmpeg_reads(tmp_path, label, how):
    """Encoder and decoder could share a mistake; FFmpeg is the third opinion."""
    av = pytest.importorskip("av")
    x = speech(channels=2)
    stream = encoder.encode(x, encoder.LABELS[label], how, lpc=4)
    coding = f"pcm,embedded-shorten-{label}"
    path = write(tmp_path / "a.wv1", x, coding, stream=stream)
    with av.open(str(path)) as file:
        parts = [f.to_ndarray() for f in file.decode(audio=0)]
    planar = [p if len(p) == 2 else p.reshape(-1, 2).T for p in parts]
    assert np.array_equal(np.concatenate(planar, axis=1).T, x)


DIFF0, QUIT, SIZE, SHIFT, LPC, ZERO = ((c, 2) for c in (0, 4, 5, 6, 7, 8))
ONE = (5, 1, 1, 0, 0, 0)  # type, channels, block, LPC, means, bytes to skip
TWO = (5, 2, 1, 0, 0, 0)
STREAMS = [  # header, then numbers with their low bits; code; what is said
    ((2, *ONE[1:]), [], "CODING", "samples of type 2, not 16-bit"),
    ((5, 0, *ONE[2:]), [], "STREAM", "the shorten header is damaged"),
    ((5, 9, *ONE[2:]), [], "STREAM", "the shorten header is damaged"),
    ((5, 1, 1, 65, 0, 0), [], "STREAM", "the shorten header is damaged"),
    ((5, 1, 1, 0, 257, 0), [], "STREAM", "the shorten header is damaged"),
    ((5, 1, 0, 0, 0, 0), [], "STREAM", "a shorten block of 0 samples"),
    ((5, 1, 65537, 0, 0, 0), [], "STREAM", "a shorten block of 65537 samples"),
    (ONE, [SIZE, (0, 2), (0, 0)], "STREAM", "a shorten block of 0 samples"),
    (ONE, [SIZE, (16, 2), (65537, 16)], "STREAM", "block of 65537 samples"),
    (ONE, [DIFF0, (24, 3)], "STREAM", "codes of 25 bits"),
    (ONE, [LPC, (0, 3), (4, 2)], "STREAM", "prediction of order 4"),
    (ONE, [SHIFT, (16, 2)], "STREAM", "bit shift 16"),
    (ONE, [(9, 2)], "CODING", "shorten command 9"),
    (ONE, [DIFF0, (14, 3), (80000, 15), QUIT], "STREAM", "more than 16 bits"),
    (ONE, [DIFF0, (14, 3), (65537, 15), QUIT], "STREAM", "more than 16 bits"),
    (ONE, [ZERO, ZERO, ZERO, QUIT], "STREAM", "more than 2 samples"),
    (ONE, [QUIT], "TRUNCATED", "ends too soon"),
    (TWO, [ZERO, QUIT], "TRUNCATED", "ends too soon"),
    (TWO, [ZERO, SIZE, (1, 2), (2, 1), ZERO, QUIT], "STREAM", "differ in length"),
]


def made(header, body) -> bytes:
    writer = encoder.BitWriter()
    for value in header:
        writer.long(value)
    for value, low in body:
        writer.number(value, low)
    return b"ajkg\x02" + writer.bytes()


@pytest.mark.parametrize("header, body, code, says", STREAMS)
def test_streams_that_no_encoder_writes(header, body, code, says):
    with pytest.raises(ShortenError, match=says) as e:
        decode(made(header, body), 2)
    assert e.value.code == f"E_SPHERE_{code}"


@pytest.mark.parametrize("value, sample", [(65534, 32767), (65535, -32768), (7, -4)])
def test_the_widest_samples(value, sample):
    stream = made(ONE, [DIFF0, (14, 3), (value, 15), ZERO, QUIT])
    assert decode(stream, 2).tolist() == [[sample], [0]]
