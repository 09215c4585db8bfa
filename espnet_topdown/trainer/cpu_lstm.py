"""An LSTM with the numbers of ``torch.nn.LSTM`` that trains fast on a CPU.

ESPnet's RNN encoders hand packed sequences to ``torch.nn.LSTM``. On a CPU PyTorch runs
packed input step by step, and its backward pass is slow. On a padded batch, in one
direction and one layer at a time, PyTorch calls oneDNN instead. So each direction is
run here as such a call, the backward direction on sequences turned round one by one.
With two threads or more both directions run at the same time.

Shapes: N frames of the whole batch, T frames of the longest sequence, B sequences,
D features in, H cells.
"""

from __future__ import annotations

import dataclasses
import functools

import torch
from torch.nn.utils.rnn import PackedSequence

from espnet_topdown.trainer.side_by_side import side_by_side

# sigmoid(+-SATURATED) is 1 and 0 in float32 and float64, and its slope is 0.
SATURATED = 1e4


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where each frame of a packed batch lies in the padded batch of (T * B) rows.

    Attributes:
        to_padded: for each padded row its packed row (any valid one at padding).
        to_packed: for each packed row its padded row.
        padding: the padded rows that hold no frame.
        last: the packed row of the last frame of each sequence, as it was run.
    """

    to_padded: torch.Tensor
    to_packed: torch.Tensor
    padding: torch.Tensor
    last: torch.Tensor


def layouts(batch_sizes: torch.Tensor) -> tuple[Layout, Layout]:
    """The layouts that read the sequences forwards and backwards.

    Args:
        batch_sizes: of a ``PackedSequence``: how many sequences reach each frame.
    """
    n_frames, n_seqs = len(batch_sizes), int(batch_sizes[0])
    offset = batch_sizes.cumsum(0) - batch_sizes
    time = torch.arange(n_frames)[:, None].expand(n_frames, n_seqs)
    seq = torch.arange(n_seqs)[None, :].expand(n_frames, n_seqs)
    length = (batch_sizes[:, None] > seq).sum(0)
    valid = time < length
    padding = (~valid).reshape(-1).nonzero()[:, 0]
    found = []
    for source in (time, length - 1 - time):
        packed = (offset[source.clamp(min=0)] + seq).masked_fill(~valid, 0).reshape(-1)
        rows = valid.reshape(-1).nonzero()[:, 0]
        to_packed = torch.empty_like(rows)
        to_packed[packed[rows]] = rows
        final = packed.view(n_frames, n_seqs)[length - 1, torch.arange(n_seqs)]
        found.append(Layout(packed, to_packed, padding, final))
    return found[0], found[1]


class _Pad(torch.autograd.Function):
    """Packed (N, D) -> padded (T * B, D), zeros at padding."""

    @staticmethod
    def forward(ctx, x, layout):  # type: ignore[no-untyped-def]
        ctx.layout = layout
        padded = x.index_select(0, layout.to_padded)
        return padded.index_fill_(0, layout.padding, 0.0)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return grad.index_select(0, ctx.layout.to_packed), None


class _Pack(torch.autograd.Function):
    """Padded (T * B, D) -> packed (N, D)."""

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

    Everything else (other devices, padded tensors, projections) is left to
    ``torch.nn.LSTM``. Parameter names, states and the random numbers that dropout
    draws between layers are the same.
    """

    def forward(self, input, hx=None):  # type: ignore[no-untyped-def]
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
            and self.proj_size == 0
            and not torch.is_autocast_cpu_enabled()
        )

    def _run(self, layout, x, h, c, *weights):  # type: ignore[no-untyped-def]
        """One layer in one direction: packed (N, D) -> (N, H), (B, H), (B, H)."""
        weights, n_seqs = list(weights), h.size(1)
        padded = _Pad.apply(x, layout)
        if len(layout.padding):
            padded, weights[0] = _hold_at_padding(padded, weights[0], layout.padding)
        y, _, c = torch.lstm(
            padded.view(-1, n_seqs, padded.size(1)),
            (h, c),
            weights,
            self.bias,
            1,
            0.0,
            self.training,
            False,
            False,
        )
        packed = _Pack.apply(y.reshape(-1, self.hidden_size), layout)
        h = y.reshape(-1, self.hidden_size)[layout.to_packed[layout.last]]
        return packed, h, c[0]


def _hold_at_padding(padded, weight, rows):  # type: ignore[no-untyped-def]
    """Keep the cell at padding, so that its last value is that of the last frame.

    One more input feature, 1 at padding, closes the input gate and opens the forget
    gate. PyTorch's order of gates is input, forget, cell, output.
    """
    flag = padded.new_zeros(len(padded), 1).index_fill_(0, rows, 1.0)
    gates = weight.new_tensor([-SATURATED, SATURATED, 0.0, 0.0])
    column = gates.repeat_interleave(len(weight) // 4)[:, None]
    return torch.cat([padded, flag], 1), torch.cat([weight, column], 1)


def install(model: torch.nn.Module) -> int:
    """Let every plain ``torch.nn.LSTM`` in ``model`` take the fast way.

    Returns:
        How many modules changed. Names and values of parameters do not.
    """
    found = [m for m in model.modules() if type(m) is torch.nn.LSTM]
    found = [m for m in found if m.proj_size == 0]
    for module in found:
        module.__class__ = CPULSTM
    return len(found)
