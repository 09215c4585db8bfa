from __future__ import annotations

import types

import numpy as np
import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring._encode import batches, pads_exactly
from espnet_topdown.scoring.greedy import greedy


def sounds(*lengths: int):  # type: ignore[no-untyped-def]
    return [(f"u{i}", np.zeros(n)) for i, n in enumerate(lengths)]


@pytest.mark.parametrize(
    "lengths, most, want",
    [
        ([], 10, []),
        ([3], 10, [[3]]),
        ([20], 10, [[20]]),  # longer than a batch: a batch of its own
        ([9, 5, 4, 3], 10, [[9], [5, 4], [3]]),
        ([2, 2, 2, 2, 2, 2], 10, [[2] * 5, [2]]),
        ([3, 2], 0, [[3], [2]]),
        ([2, 3, 9], 10, [[3, 2], [9]]),
    ],
)
def test_batches(lengths: list, most: float, want: list) -> None:
    got = [[len(x) for _, x in batch] for batch in batches(sounds(*lengths), most)]
    assert got == want


def test_of_a_long_stream_one_batch_is_held() -> None:
    stream = iter(sounds(*[5] * 100))
    assert len(next(batches(stream, 10))) == 2
    assert len(list(stream)) == 97


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
    parts = {"encoder": encoder, "preencoder": None, "postencoder": None}
    model = types.SimpleNamespace(modules=encoder.modules, **parts)
    assert pads_exactly(model) is exact
    model.postencoder = encoder
    assert not pads_exactly(model)
    model.postencoder = model.encoder = None
    assert not pads_exactly(model)


@pytest.mark.parametrize("parts", [{}, {"decoder": 1, "use_transducer_decoder": True}])
def test_a_model_that_is_not_decoded_here_says_so(parts) -> None:
    with pytest.raises(TopDownError, match="E_NO_CTC.*ctc_weight above 0"):
        list(greedy(types.SimpleNamespace(ctc=None, **parts), sounds(3)))
