"""Steps of one layer against ``torch.nn.LSTMCell``; fewer and fewer utterances."""

from __future__ import annotations

import pytest
import torch

from espnet_topdown.trainer.fast.lstm_steps import LSTMSteps

ACTIVE = [4, 4, 2, 1]


@pytest.mark.parametrize("known", [False, True])
def test_steps(known):
    """known: the bias is another one for each unit."""
    torch.manual_seed(0)
    cell = torch.nn.LSTMCell(3, 5).double()
    n_units = sum(ACTIVE)
    x = torch.randn(n_units, 3, dtype=torch.double, requires_grad=True)
    d_h = torch.randn(n_units, 5, dtype=torch.double)
    bias = (cell.bias_ih + cell.bias_hh).detach()
    layer = LSTMSteps(
        torch.cat([cell.weight_ih, cell.weight_hh], 1).detach(),
        bias.repeat(n_units, 1) if known else bias,
        n_units,
    )
    layer.x[:, :3] = x.detach()
    state, steps, states = None, [], []
    before, start = None, 0
    for n in ACTIVE:
        now = slice(start, start + n)
        if before is not None:
            before = slice(before.start, before.start + n)
            state = tuple(s[:n] for s in state)
        state = cell(x[now], state)
        states.append(state[0])
        layer.step(now, before)
        steps.append((now, before))
        start, before = start + n, now
    expected = torch.cat(states)
    torch.testing.assert_close(layer.h, expected.detach())

    expected.backward(d_h)
    layer.begin_backward(ACTIVE[0])
    d_x = torch.empty_like(x)
    for (now, before), n in zip(reversed(steps), reversed(ACTIVE)):
        d_x[now] = layer.step_back(now, before, d_h[now] + layer.d_h[:n])
    torch.testing.assert_close(d_x, x.grad)
    d_weight = torch.cat([cell.weight_ih.grad, cell.weight_hh.grad], 1)
    torch.testing.assert_close(layer.d_weight(), d_weight)
    d_bias = layer.d_bias()
    assert d_bias.shape == ((n_units, 20) if known else (20,))
    total = d_bias.sum(0) if known else d_bias
    torch.testing.assert_close(total, cell.bias_ih.grad)
