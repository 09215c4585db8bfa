"""Our projected RNN gives the numbers of ESPnet's."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.espnet


def encoders(subsample, kind, dropout):
    from espnet_topdown.trainer.fast import cpu_rnnp

    torch.manual_seed(0)
    n_layers = len(subsample) - 1
    sizes = (5, n_layers, 6, 7, np.array(subsample), dropout, kind)
    stock = cpu_rnnp.RNNP(*sizes).double()
    ours = copy.deepcopy(stock)
    assert cpu_rnnp.install(ours) == 1
    return stock, ours


def run(module, lengths, prev_state=None):
    """Outputs, states, gradients, and the random numbers that come next."""
    torch.manual_seed(1)
    x = torch.randn(len(lengths), max(lengths), 5, dtype=torch.double)
    x.requires_grad_()
    module.zero_grad()
    y, n, states = module(x, torch.tensor(lengths), prev_state)
    n = torch.as_tensor(n)
    # what ESPnet has at padding is never used: its encoders fill it with zeros
    y = y.masked_fill((torch.arange(y.size(1)) >= n[:, None])[..., None], 0.0)
    y.sin().sum().backward()
    flat = [t for s in states for t in (s if isinstance(s, tuple) else (s,))]
    found = [y, n, x.grad, torch.rand(2), *flat]
    return found + [p.grad for p in module.parameters()]


@pytest.mark.parametrize("lengths", [[30, 22, 22, 9], [7], [25, 24]], ids=str)
@pytest.mark.parametrize(
    ("subsample", "kind", "dropout"),
    [
        ((1, 2, 2, 1, 1), "blstm", 0.0),
        ((1, 1, 1), "blstm", 0.5),
        ((1, 3, 1, 2), "lstm", 0.3),
        ((1, 2, 1, 2), "bgru", 0.5),
    ],
)
def test_equal(subsample, kind, dropout, lengths):
    stock, ours = encoders(subsample, kind, dropout)
    for a, b in zip(run(stock, lengths), run(ours, lengths)):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_padding_is_zero():
    _, ours = encoders((1, 2, 1), "blstm", 0.0)
    y, n, _ = ours(torch.randn(2, 9, 5).double(), torch.tensor([9, 4]))
    assert n.tolist() == [5, 2]
    assert not y[1, 2:].any()


@pytest.mark.parametrize("lengths", [[9, 8, 9], [9, 0]], ids=str)
def test_the_same_lengths_are_refused(lengths):
    x = torch.randn(len(lengths), 9, 5).double()
    for module in encoders((1, 1), "blstm", 0.0):
        with pytest.raises(RuntimeError):
            module(x, torch.tensor(lengths))


def test_too_short_to_subsample_is_espnets_error():
    for module in encoders((1, 3, 1), "blstm", 0.0):
        with pytest.raises(RuntimeError):
            module(torch.randn(2, 9, 5).double(), torch.tensor([9, 1]))


def test_states_before_are_espnets():
    stock, ours = encoders((1, 1, 1), "lstm", 0.0)
    states = [(torch.randn(1, 2, 6).double(),) * 2] * 2
    for a, b in zip(run(stock, [9, 4], states), run(ours, [9, 4], states)):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_only_the_class_changes():
    from espnet_topdown.trainer.fast import cpu_rnnp

    stock, ours = encoders((1, 2), "blstm", 0.0)
    assert list(stock.state_dict()) == list(ours.state_dict())
    assert cpu_rnnp.install(ours) == 0
