from __future__ import annotations

import types

import numpy as np
import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring.ctc_greedy import (
    batches,
    collapse,
    greedy_ctc,
    pads_exactly,
)


@pytest.mark.parametrize(
    "ids, silent, want",
    [
        ([], [0], []),
        ([0, 0, 0], [0], []),
        ([3, 3, 3], [0], [3]),
        ([3, 0, 3], [0], [3, 3]),
        ([0, 1, 1, 2, 0, 2, 2], [0], [1, 2, 2]),
        ([1, 9, 1, 2], [0, 9], [1, 1, 2]),
    ],
)
def test_collapse(ids: list, silent: list, want: list) -> None:
    assert collapse(np.array(ids, dtype=np.int64), silent) == want


def sounds(*lengths: int):  # type: ignore[no-untyped-def]
    return [(f"u{i}", np.zeros(n)) for i, n in enumerate(lengths)]


@pytest.mark.parametrize(
    "lengths, most, want",
    [
        ([], 10, []),
        ([3], 10, [[3]]),
        ([20], 10, [[20]]),  # longer than a batch: a batch of its own
        ([3, 9, 4, 5], 10, [[9], [5, 4], [3]]),
        ([2, 2, 2, 2, 2, 2], 10, [[2] * 5, [2]]),
        ([3, 2], 0, [[3], [2]]),
    ],
)
def test_batches(lengths: list, most: float, want: list) -> None:
    got = [[len(x) for _, x in batch] for batch in batches(sounds(*lengths), most)]
    assert got == want


def test_batches_hold_a_bounded_part_of_a_long_stream() -> None:
    taken = []

    def stream():  # type: ignore[no-untyped-def]
        for sound in sounds(*[5] * 10_000):
            taken.append(sound)
            yield sound

    next(iter(batches(stream(), 10)))
    assert len(taken) < 100


def test_every_utterance_comes_out_once() -> None:
    rng = np.random.default_rng(0)
    some = sounds(*rng.integers(1, 50, size=3000).tolist())
    utts = [utt for batch in batches(iter(some), 60) for utt, _ in batch]
    assert sorted(utts) == sorted(utt for utt, _ in some)


def model(encoder: torch.nn.Module | None, **parts: object) -> types.SimpleNamespace:
    parts = {"preencoder": None, "postencoder": None, **parts}
    modules = encoder.modules if encoder is not None else list
    return types.SimpleNamespace(encoder=encoder, modules=modules, **parts)


class VGG2L(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 1, 3)


@pytest.mark.parametrize(
    "modules, exact",
    [
        ([torch.nn.LSTM(2, 2), torch.nn.Linear(2, 2)], True),
        ([torch.nn.GRU(2, 2), torch.nn.Dropout(), torch.nn.Tanh()], True),
        ([VGG2L(), torch.nn.LSTM(2, 2)], True),
        ([torch.nn.Conv1d(2, 2, 3), torch.nn.LSTM(2, 2)], False),
        ([torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)], False),
    ],
)
def test_only_layers_that_padding_leaves_alone_are_batched(modules, exact) -> None:
    encoder = torch.nn.Sequential(*modules)
    assert pads_exactly(model(encoder)) is exact
    assert not pads_exactly(model(encoder, postencoder=encoder))
    assert not pads_exactly(model(None))


def test_an_encoder_that_finds_a_sound_too_short() -> None:
    """Some name no utterance: it is the shortest of the batch."""

    class TooShortUttError(Exception):
        pass

    class Model(torch.nn.Module):
        error: type[Exception] = TooShortUttError
        normalize = frontend = preencoder = postencoder = encoder = None

        def __init__(self) -> None:
            super().__init__()
            self.ctc = torch.nn.Linear(1, 2)

        def _extract_feats(self, speech, length):  # type: ignore[no-untyped-def]
            return speech[..., None], length

        def encode(self, feats, lengths):  # type: ignore[no-untyped-def]
            raise self.error("too short")

    made = Model().eval()
    with pytest.raises(TopDownError, match="E_WAV_SHORT: utt u0: 3 samples"):
        list(greedy_ctc(made, sounds(3, 5)))
    made.error = ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        list(greedy_ctc(made, sounds(3, 5)))


def test_a_model_without_ctc_says_so() -> None:
    with pytest.raises(TopDownError, match="E_NO_CTC.*ctc_weight above 0"):
        list(greedy_ctc(types.SimpleNamespace(ctc=None), sounds(3)))
