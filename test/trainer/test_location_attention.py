"""Frames in blocks, and the convolution over attention weights on them."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.espnet


def frames_of(lengths, order, width):
    from espnet_topdown.trainer.fast.location_attention import Frames

    return Frames.of(torch.tensor(lengths), torch.tensor(order), width)


def test_frames_lie_in_blocks():
    frames = frames_of([3, 17], [1, 0], 20)
    assert frames.n_blocks == [1, 2]
    rows = frames.rows.view(3, 16)
    assert rows[0].tolist() == [20, 21, 22] + [22] * 13  # the second of the batch
    assert rows[1].tolist() == list(range(16))
    assert rows[2].tolist() == [16] * 16
    held = frames.floor == 0
    assert held.view(3, 16).sum(1).tolist() == [3, 16, 1]
    assert torch.isneginf(frames.floor[~held]).all()
    assert frames.start[held].tolist() == [1 / 3] * 3 + [1 / 17] * 17
    assert not frames.start[~held].any()


@pytest.mark.parametrize("half", [0, 1, 15, 16, 17, 100])
@pytest.mark.parametrize("n_blocks", [[1], [3, 1, 2]], ids=str)
def test_convolution(half, n_blocks):
    """One utterance after the other by PyTorch's own convolution."""
    from espnet_topdown.trainer.fast.location_attention import BLOCK, Convolution

    torch.manual_seed(half)
    taps = torch.randn(2, 2 * half + 1, dtype=torch.double, requires_grad=True)
    x = torch.randn(sum(n_blocks), BLOCK, dtype=torch.double, requires_grad=True)
    expected = [
        torch.nn.functional.conv1d(part.view(1, 1, -1), taps[:, None], padding=half)
        for part in x.split(n_blocks)
    ]
    expected = torch.cat([y[0].t() for y in expected]).reshape(len(x), -1)
    d_y = torch.randn_like(expected)
    d_taps, d_x = torch.autograd.grad(expected, (taps, x), d_y)

    conv = Convolution(taps.detach(), n_blocks)
    for n in (len(x), n_blocks[0]):  # all blocks; those of the first utterance
        windows = x.new_empty(n, conv.width * BLOCK)
        conv.windows(torch.cat([x.detach(), x.new_zeros(1, BLOCK)]), windows)
        torch.testing.assert_close(windows @ conv.matrix, expected[:n].detach())
        torch.testing.assert_close(conv.d_weights(d_y[:n]), d_x[:n])
    windows = x.new_empty(len(x), conv.width * BLOCK)
    conv.windows(torch.cat([x.detach(), x.new_zeros(1, BLOCK)]), windows)
    torch.testing.assert_close(conv.d_taps(windows, d_y), d_taps)
