"""An LSTM with the numbers of ``torch.nn.LSTM`` that trains fast on a CPU.

ESPnet's RNN encoders hand packed sequences to ``torch.nn.LSTM``. On a CPU PyTorch runs
packed input step by step, and its backward pass is slow. On a padded batch, in one
direction and one layer at a time, PyTorch calls oneDNN instead. So each direction is
run here as such a call, the backward direction on sequences turned round one by one.
With two threads or more both directions run at the same time.

Shapes: N frames of the whole batch, R rows of the padded batch, B sequences, D features
in, H cells.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import PackedSequence

from espnet_topdown.trainer.fast._side_by_side import side_by_side

# sigmoid(+-SATURATED) is 1 and 0 in float32 and float64, and its slope is 0.
SATURATED = 1e4


# Where lengths differ much, frames are run in blocks of fewer and fewer sequences.
FILL = 0.8  # one block, if this part of its rows are frames
FEWER = 0.75  # the next block begins where so many of the sequences are left,
FRAMES = 32  # but no block is shorter than this

Block = tuple[int, int]  # frames, sequences


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where each frame of a packed batch lies in the padded rows of its blocks.

    Attributes:
        blocks: one after the other in the padded rows, frame by frame.
        to_padded: for each padded row its packed row (any valid one at padding).
        to_packed: for each packed row its padded row.
        padding: the padded rows that hold no frame.
        last: the padded row of the last step of each sequence.
    """

    blocks: list[Block]
    to_padded: torch.Tensor
    to_packed: torch.Tensor
    padding: torch.Tensor
    last: torch.Tensor


def blocks(batch_sizes: Sequence[int]) -> list[Block]:
    """Cut a batch so that little of it is padding; see ``FILL``.

    Args:
        batch_sizes: how many sequences reach each frame; never increasing.

    Returns:
        Blocks that follow each other.
    """
    n_frames, width = len(batch_sizes), batch_sizes[0]
    if sum(batch_sizes) >= FILL * n_frames * width:
        return [(n_frames, width)]
    found, start = [], 0
    for frame, n_seqs in enumerate(batch_sizes[: n_frames - FRAMES + 1]):
        if n_seqs <= FEWER * width and frame - start >= FRAMES:
            found.append((frame - start, width))
            start, width = frame, n_seqs
    return [*found, (n_frames - start, width)]


def layouts(batch_sizes: torch.Tensor) -> tuple[Layout, Layout]:
    """The layouts that read the sequences forwards and backwards.

    Args:
        batch_sizes: of a ``PackedSequence``: how many sequences reach each frame.

    Returns:
        One for each direction.
    """
    cut = blocks(batch_sizes.tolist())
    width = torch.cat([torch.full((frames,), n) for frames, n in cut])
    first = width.cumsum(0) - width  # the padded row of each frame's first sequence
    time = torch.arange(len(width)).repeat_interleave(width)
    seq = torch.arange(len(time)) - first[time]
    seqs = torch.arange(int(batch_sizes[0]))
    lengths = (batch_sizes[:, None] > seqs).sum(0)
    valid = time < lengths[seq]
    padding, rows = (~valid).nonzero()[:, 0], valid.nonzero()[:, 0]
    offset = batch_sizes.cumsum(0) - batch_sizes
    found = []
    for source in (time, lengths[seq] - 1 - time):
        packed = (offset[source.clamp(min=0)] + seq).masked_fill(~valid, 0)
        to_packed = torch.empty_like(rows)
        to_packed[packed[rows]] = rows
        last = first[lengths - 1] + seqs
        found.append(Layout(cut, packed, to_packed, padding, last))
    return found[0], found[1]


class _Pad(torch.autograd.Function):
    """Packed (N, D) -> padded (R, D), zeros at padding."""

    @staticmethod
    def forward(ctx, x, layout):  # type: ignore[no-untyped-def]
        ctx.layout = layout
        padded = x.index_select(0, layout.to_padded)
        return padded.index_fill_(0, layout.padding, 0.0)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return grad.index_select(0, ctx.layout.to_packed), None


class _Pack(torch.autograd.Function):
    """Padded (R, D) -> packed (N, D)."""

    @staticmethod
    def forward(ctx, x, layout):  # type: ignore[no-untyped-def]
        ctx.layout = layout
        return x.index_select(0, layout.to_packed)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        padded = grad.index_select(0, ctx.layout.to_padded)
        return padded.index_fill_(0, ctx.layout.padding, 0.0), None


class CPULSTM(torch.nn.LSTM):
    """``torch.nn.LSTM`` with another way through packed sequences on a CPU.

    Everything else (other devices, padded tensors) is left to
    ``torch.nn.LSTM``. Parameter names, states and the random numbers that dropout
    draws between layers are the same.
    """

    def forward(self, input, hx=None):  # type: ignore[no-untyped-def]
        """Returns what ``torch.nn.LSTM`` does."""
        if not self._is_ours(input):
            return super().forward(input, hx)
        shape = (self.num_layers * self._directions, int(input.batch_sizes[0]))
        if hx is None:
            zeros = input.data.new_zeros(*shape, self.hidden_size)
            hx = (zeros, zeros)
        else:
            hx = self.permute_hidden(hx, input.sorted_indices)
        both = layouts(input.batch_sizes)
        x, h_n, c_n = input.data, [], []
        for layer in range(self.num_layers):
            ks = range(layer * self._directions, (layer + 1) * self._directions)
            parts = [functools.partial(self._run, layout) for layout in both]
            inputs = [
                (x, hx[0][k : k + 1], hx[1][k : k + 1], *self.all_weights[k])
                for k in ks
            ]
            if len(ks) == 2 and torch.get_num_threads() > 1:
                found = side_by_side(parts, inputs)
            else:
                found = [part(*tensors) for part, tensors in zip(parts, inputs)]
            outs = [y for y, _, _ in found]
            h_n += [h for _, h, _ in found]
            c_n += [c for _, _, c in found]
            x = torch.cat(outs, 1) if len(outs) > 1 else outs[0]
            if self.dropout and layer < self.num_layers - 1:
                x = torch.dropout(x, self.dropout, self.training)
        output = input._replace(data=x)
        hidden = (torch.stack(h_n), torch.stack(c_n))
        return output, self.permute_hidden(hidden, input.unsorted_indices)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _is_ours(self, input: object) -> bool:
        return (
            isinstance(input, PackedSequence)
            and input.data.device.type == "cpu"
            and input.data.dtype in (torch.float32, torch.float64)
            and input.data.dtype == self.weight_ih_l0.dtype
            and not torch.is_autocast_cpu_enabled()
        )

    def _run(self, layout, x, h, c, *weights):  # type: ignore[no-untyped-def]
        # One layer in one direction: packed (N, D) -> (N, H), (B, H), (B, H).
        weights = list(weights)
        padded = _Pad.apply(x, layout)
        if len(layout.padding):
            padded, weights[0] = _hold_at_padding(padded, weights[0], layout.padding)
        ys, cs = [], []
        parts = padded.split([frames * n_seqs for frames, n_seqs in layout.blocks])
        for (frames, n_seqs), part in zip(layout.blocks, parts):
            cs.append(c[:, n_seqs:])  # of those that ended before this block
            y, h, c = torch.lstm(
                part.view(frames, n_seqs, -1),
                (h[:, :n_seqs], c[:, :n_seqs]),
                weights,
                self.bias,
                1,
                0.0,
                self.training,
                False,
                False,
            )
            ys.append(y.reshape(-1, self.hidden_size))
        y = torch.cat(ys) if len(ys) > 1 else ys[0]
        c = torch.cat([c, *reversed(cs)], 1)
        return _Pack.apply(y, layout), y[layout.last], c[0]


def _hold_at_padding(padded, weight, rows):  # type: ignore[no-untyped-def]
    # Keep the cell at padding, so that its last value is that of the last frame.
    #
    # One more input feature, 1 at padding, closes the input gate and opens the forget
    # gate. PyTorch's order of gates is input, forget, cell, output.
    flag = padded.new_zeros(len(padded), 1).index_fill_(0, rows, 1.0)
    gates = weight.new_tensor([-SATURATED, SATURATED, 0.0, 0.0])
    column = gates.repeat_interleave(len(weight) // 4)[:, None]
    return torch.cat([padded, flag], 1), torch.cat([weight, column], 1)
