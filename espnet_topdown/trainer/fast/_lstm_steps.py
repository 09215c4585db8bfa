"""One layer of an LSTM whose inputs come one step at a time, on a CPU.

The gates of all steps are kept, so that the gradient of the weights is one product at
the end instead of a sum that is written at every step.

Shapes: M units of the whole batch, step by step; n of B utterances at a step; H cells.
"""

from __future__ import annotations

import torch

aten = torch.ops.aten


class LSTMSteps:
    """One layer, all steps: the weights of its input and of its state side by side."""

    def __init__(self, weight, bias, n_units):  # type: ignore[no-untyped-def]
        self.weight, self.bias = weight, bias  # (4H, inputs + H), (4H,) or (M, 4H)
        self.across = weight.t().contiguous()  # half as long a product of few rows
        cells = len(weight) // 4
        self.cells, self.inputs = cells, weight.size(1) - cells
        self.x = weight.new_zeros(n_units, weight.size(1))
        self.gates = weight.new_empty(n_units, 4 * cells)  # input, forget, cell, output
        self.c, self.tanh_c, self.h = weight.new_empty(3, n_units, cells)

    def step(self, now: slice, before: slice | None) -> None:
        """Units ``now`` from the inputs in ``x`` and from the units one step before."""
        h = self.cells
        if before is not None:
            self.x[now, self.inputs :] = self.h[before]
        bias = self.bias[now] if self.bias.dim() == 2 else self.bias
        found = torch.addmm(bias, self.x[now], self.across)
        gates, c = self.gates[now], self.c[now]
        torch.sigmoid(found[:, : 2 * h], out=gates[:, : 2 * h])
        torch.tanh(found[:, 2 * h : 3 * h], out=gates[:, 2 * h : 3 * h])
        torch.sigmoid(found[:, 3 * h :], out=gates[:, 3 * h :])
        in_, forget, cell, out = gates.chunk(4, 1)
        torch.mul(in_, cell, out=c)
        if before is not None:
            c.addcmul_(forget, self.c[before])
        torch.tanh(c, out=self.tanh_c[now])
        torch.mul(out, self.tanh_c[now], out=self.h[now])

    def begin_backward(self, n_utts: int) -> None:
        """Before the last step."""
        self.d_h, self.d_c = self.weight.new_zeros(2, n_utts, self.cells)
        self.d_gates = torch.empty_like(self.gates)

    def step_back(
        self, now: slice, before: slice | None, d_h: torch.Tensor
    ) -> torch.Tensor:
        """Returns the gradient of the input; that of the state goes to ``d_h``."""
        h, n = self.cells, len(d_h)
        gates, d_gates, tanh_c = self.gates[now], self.d_gates[now], self.tanh_c[now]
        in_, forget, cell, out = gates.chunk(4, 1)
        d_c = aten.tanh_backward(d_h * out, tanh_c).add_(self.d_c[:n])
        torch.mul(d_c, cell, out=d_gates[:, :h])
        if before is not None:
            torch.mul(d_c, self.c[before], out=d_gates[:, h : 2 * h])
        else:
            d_gates[:, h : 2 * h] = 0.0
        torch.mul(d_c, forget, out=self.d_c[:n])
        torch.mul(d_h, tanh_c, out=d_gates[:, 3 * h :])
        for part in (slice(0, 2 * h), slice(3 * h, 4 * h)):
            d_part = d_gates[:, part]
            aten.sigmoid_backward(d_part, gates[:, part], grad_input=d_part)
        d_gates[:, 2 * h : 3 * h] = aten.tanh_backward(d_c * in_, cell)
        d_x = d_gates @ self.weight
        self.d_h[:n] = d_x[:, self.inputs :]
        return d_x[:, : self.inputs]

    def d_weight(self) -> torch.Tensor:
        """Returns the gradient of the weight, of all steps."""
        return self.d_gates.t() @ self.x

    def d_bias(self) -> torch.Tensor:
        """Returns the gradient of the bias; (M, 4H) where it was given so."""
        return self.d_gates if self.bias.dim() == 2 else self.d_gates.sum(0)
