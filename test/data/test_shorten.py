"""Streams that no encoder writes: what is wrong with each is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from shorten import BitWriter  # noqa: E402

from espnet_topdown.data.shorten import ShortenError, decode  # noqa: E402

DIFF0, QUIT, SIZE, SHIFT, LPC, ZERO = ((c, 2) for c in (0, 4, 5, 6, 7, 8))
ONE = (5, 1, 1, 0, 0, 0)  # type, channels, block, LPC, means, bytes to skip
TWO = (5, 2, 1, 0, 0, 0)
WRONG = [  # header, then numbers with their low bits; code; what is said
    ((2, *ONE[1:]), [], "CODING", "samples of type 2, not 16-bit"),
    ((5, 0, *ONE[2:]), [], "STREAM", "the shorten header is damaged"),
    ((5, 9, *ONE[2:]), [], "STREAM", "the shorten header is damaged"),
    ((5, 1, 1, 65, 0, 0), [], "STREAM", "the shorten header is damaged"),
    ((5, 1, 1, 0, 257, 0), [], "STREAM", "the shorten header is damaged"),
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
    writer = BitWriter()
    for value in header:
        writer.long(value)
    for value, low in body:
        writer.number(value, low)
    return b"ajkg\x02" + writer.bytes()


@pytest.mark.parametrize("header, body, code, says", WRONG)
def test_what_is_wrong_is_said(header, body, code, says):
    with pytest.raises(ShortenError, match=says) as e:
        decode(made(header, body), 2)
    assert e.value.code == f"E_SPHERE_{code}"


@pytest.mark.parametrize("value, sample", [(65534, 32767), (65535, -32768), (7, -4)])
def test_the_widest_samples(value, sample):
    stream = made(ONE, [DIFF0, (14, 3), (value, 15), ZERO, QUIT])
    assert decode(stream, 2).tolist() == [[sample], [0]]
