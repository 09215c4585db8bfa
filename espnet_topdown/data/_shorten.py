"""Decoder of shorten streams with 16-bit samples, as SPHERE files embed them.

A stream is a row of variable-length codes, most significant bit first. ``U(k)`` is a
run of zeros, a one and ``k`` low bits; ``S(k)`` is a signed number in ``U(k + 1)``.
Only the search for the next one bit is a Python loop; the rest is done block by block
with NumPy, some hundred times faster than real time.

Legend: T samples of one channel, C channels.
"""

from __future__ import annotations

import numpy as np

_MAGIC = b"ajkg"
_BIG_ENDIAN, _LITTLE_ENDIAN = 3, 5  # file types: 16-bit signed samples
_QUIT, _BLOCK_SIZE, _BIT_SHIFT, _LPC, _ZERO = 4, 5, 6, 7, 8  # 0 to 3: differences
_MAX_BLOCK, _MAX_LOW, _MAX_CHANNELS, _MAX_MEANS, _MAX_LPC = 1 << 16, 24, 8, 256, 64
_LPC_SCALE = 5
_MAX_VALUE = 1 << 40  # before anything overflows


class ShortenError(ValueError):
    """What is wrong with a stream; ``code`` is the one a user will see."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


class _Bits:
    """A place in a row of bits, and the codes that start there."""

    def __init__(self, data: bytes) -> None:
        octets = np.frombuffer(data + bytes(4), np.uint8)
        self.total = 8 * len(data)
        self.ones = np.unpackbits(octets[: len(data)]).tobytes()
        wide = octets.astype(np.uint32)
        self.words = wide[:-3] << 24 | wide[1:-2] << 16 | wide[2:-1] << 8 | wide[3:]
        self.place = 0

    def unsigned(self, low: int) -> int:
        """``U(low)``."""
        return int(self.many(1, low)[0])

    def signed(self, low: int) -> int:
        """``S(low)``."""
        return int(_signed(self.many(1, low + 1))[0])

    def long(self) -> int:
        """A number that brings its own number of low bits."""
        low = self.unsigned(2)
        return self.unsigned(low)

    def many(self, n: int, low: int) -> np.ndarray:
        """``n`` codes ``U(low)``, as int64."""
        if low > _MAX_LOW:
            raise ShortenError("E_SPHERE_STREAM", f"codes of {low} bits")
        ends = []
        find, place, step = self.ones.index, self.place, low + 1
        try:
            for _ in range(n):
                place = find(1, place) + step
                ends.append(place)
        except ValueError:
            place = self.total + 1
        if place > self.total:
            raise ShortenError("E_SPHERE_TRUNCATED", "the shorten stream is cut off")
        after = np.array(ends, np.int64)
        start = after - low
        zeros = start - 1 - np.concatenate(([self.place], after[:-1]))
        self.place = place
        if low == 0:
            return zeros
        window = self.words[start >> 3] << (start & 7).astype(np.uint32)
        return zeros << low | (window >> np.uint32(32 - low)).astype(np.int64)


def _signed(codes: np.ndarray) -> np.ndarray:
    """0, 1, 2, 3, ... stand for 0, -1, 1, -2, ..."""
    return (codes >> 1) ^ -(codes & 1)


def _quotient(a: int, b: int) -> int:
    """Division that rounds towards zero."""
    return a // b if a >= 0 else -(-a // b)


class _Channel:
    """What the next block of a channel depends on: last samples, last means."""

    def __init__(self, version: int, n_means: int, n_last: int) -> None:
        self.rounded = version >= 2
        self.last = np.zeros(n_last, np.int64)
        self.means = [0] * n_means

    def mean(self, shift: int) -> int:
        """The running mean, at the scale of the samples before their bit shift."""
        n = len(self.means)
        if n == 0:
            return 0
        if not self.rounded:
            return _quotient(sum(self.means), n)
        return _quotient(sum(self.means) + n // 2, n) >> shift

    def take(self, block: np.ndarray, shift: int) -> None:
        """Remember a finished block."""
        n, total = len(block), int(block.sum())
        if self.means:
            mean = _quotient(total, n)
            if self.rounded:
                mean = _quotient(total + n // 2, n) << shift
            self.means = [*self.means[1:], mean]
        self.last = np.concatenate((self.last, block))[-len(self.last) :]


def _differences(order: int, residuals: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Undo ``order`` differences; ``last`` are the samples before."""
    for depth in range(order - 1, -1, -1):
        residuals = np.cumsum(residuals) + np.diff(last, depth)[-1]
    return residuals


def _predicted(
    weights: list[int], residuals: np.ndarray, last: np.ndarray, add: int
) -> np.ndarray:
    """Undo linear prediction: weights count back from the sample before."""
    n = len(weights)
    out = last[len(last) - n :].tolist()
    backwards = weights[::-1]
    for i, residual in enumerate(residuals.tolist()):
        total = sum(w * x for w, x in zip(backwards, out[i:]))
        out.append(residual + ((total + add) >> _LPC_SCALE))
        if not -_MAX_VALUE < out[-1] < _MAX_VALUE:
            raise ShortenError("E_SPHERE_STREAM", "samples of more than 16 bits")
    return np.array(out[n:], np.int64)


class _Stream:
    """The header and the state of a stream."""

    def __init__(self, data: bytes) -> None:
        if data[:4] != _MAGIC or len(data) < 5:
            raise ShortenError("E_SPHERE_STREAM", "no shorten stream after the header")
        version = data[4]
        if version not in (1, 2):
            what = f"shorten stream of version {version}"
            raise ShortenError("E_SPHERE_CODING", what)
        self.bits = bits = _Bits(data[5:])
        kind, channels, self.size = bits.long(), bits.long(), bits.long()
        lpc, means, skipped = bits.long(), bits.long(), bits.long()
        if kind not in (_BIG_ENDIAN, _LITTLE_ENDIAN):
            what = f"shorten samples of type {kind}, not 16-bit"
            raise ShortenError("E_SPHERE_CODING", what)
        if not 1 <= channels <= _MAX_CHANNELS or lpc > _MAX_LPC or means > _MAX_MEANS:
            raise ShortenError("E_SPHERE_STREAM", "the shorten header is damaged")
        self._check_size()
        for _ in range(skipped):
            bits.unsigned(8)
        self.version, self.shift = version, 0
        self.channels = [_Channel(version, means, max(3, lpc)) for _ in range(channels)]

    def _check_size(self) -> None:
        if not 1 <= self.size <= _MAX_BLOCK:
            what = f"a shorten block of {self.size} samples"
            raise ShortenError("E_SPHERE_STREAM", what)

    def block(self, command: int, channel: _Channel) -> np.ndarray:
        """The samples of one block, before their bit shift."""
        if command == _ZERO:
            return np.zeros(self.size, np.int64)
        low = self.bits.unsigned(3)
        weights: list[int] = []
        if command == _LPC:
            order = self.bits.unsigned(2)
            if order > len(channel.last):
                raise ShortenError("E_SPHERE_STREAM", f"prediction of order {order}")
            weights = [self.bits.signed(_LPC_SCALE) for _ in range(order)]
        residuals = _signed(self.bits.many(self.size, low + 1))
        if 1 <= command <= 3:
            return _differences(command, residuals, channel.last)
        mean = channel.mean(self.shift)
        if command == _LPC:
            add = 1 << _LPC_SCALE if self.version >= 2 else 0
            residuals = _predicted(weights, residuals, channel.last - mean, add)
        return residuals + mean

    def settings(self, command: int) -> bool:
        """Obey a command that holds no samples; whether it was one."""
        if command == _BLOCK_SIZE:
            self.size = self.bits.long()
            self._check_size()
        elif command == _BIT_SHIFT:
            self.shift = self.bits.unsigned(2)
            if self.shift > 15:
                raise ShortenError("E_SPHERE_STREAM", f"bit shift {self.shift}")
        elif command > _ZERO:
            raise ShortenError("E_SPHERE_CODING", f"shorten command {command}")
        else:
            return False
        return True


def decode(data: bytes, most: int) -> np.ndarray:
    """Decode a whole stream to int16, shape (T, C).

    Args:
        data: From the magic word to the end of the file.
        most: Samples a channel that are expected; with more, decoding ends.

    Raises:
        ShortenError: the stream is cut off, damaged, or of another kind.
    """
    stream = _Stream(data)
    done: list[list[np.ndarray]] = [[] for _ in stream.channels]
    at, samples = 0, 0
    while True:
        command = stream.bits.unsigned(2)
        if command == _QUIT:
            break
        if stream.settings(command):
            continue
        channel = stream.channels[at]
        block = stream.block(command, channel)
        channel.take(block, stream.shift)
        shifted = block << stream.shift
        if shifted.max() > 32767 or shifted.min() < -32768:
            raise ShortenError("E_SPHERE_STREAM", "samples of more than 16 bits")
        done[at].append(shifted.astype(np.int16))
        samples += len(block) if at == 0 else 0
        at = (at + 1) % len(done)
        if samples > most:
            raise ShortenError("E_SPHERE_STREAM", f"more than {most} samples")
    if at != 0 or not done[0]:
        raise ShortenError("E_SPHERE_TRUNCATED", "the shorten stream ends too soon")
    try:
        return np.stack([np.concatenate(blocks) for blocks in done], axis=1)
    except ValueError:
        raise ShortenError("E_SPHERE_STREAM", "channels differ in length") from None
