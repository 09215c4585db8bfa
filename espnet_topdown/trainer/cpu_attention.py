"""Location-aware attention with ESPnet's numbers and fewer passes over memory.

ESPnet's RNN decoder attends once for each output unit. Every gradient that is a sum
over these steps (of the encoder's output and of the attention's weights) is written
and added up step by step. Here the steps only note their part, and one product over
all steps gives the sum. Inference and everything but training on a CPU is left to
ESPnet's own module.

Shapes: B utterances, T frames, E encoder features, A attention features, C channels
and K taps of the convolution over the attention weights before.
"""

from __future__ import annotations

import sys

import torch
from espnet2.asr.decoder import rnn_decoder
from torch.autograd.function import once_differentiable

# Its package is another one in each ESPnet release.
AttLoc = sys.modules[rnn_decoder.initial_att.__module__].AttLoc


class _Memory:
    """What all steps of one batch share, and what each of them notes."""

    def __init__(self, att, enc, pre, mask):  # type: ignore[no-untyped-def]
        self.enc, self.pre, self.mask = enc.detach(), pre.detach(), mask
        self.taps = att.loc_conv.weight.detach().flatten(1)  # (C, K)
        self.mix = att.mlp_att.weight.detach()  # (A, C)
        self.score = att.gvec.weight.detach()[0]  # (A,)
        self.bias = att.gvec.bias.detach()
        self.clear()

    def clear(self) -> None:
        self.d_pre = torch.zeros_like(self.pre)
        self.d_mix = torch.zeros_like(self.mix)
        self.d_score = torch.zeros_like(self.score)
        self.d_bias = torch.zeros_like(self.bias)
        self.weights: list[torch.Tensor] = []  # (B, T) of each step
        self.d_context: list[torch.Tensor] = []  # (B, E)
        self.before: list[torch.Tensor] = []  # (B, T) attention weights before
        self.d_located: list[torch.Tensor] = []  # (B, T, C)

    def windows(self, before: torch.Tensor) -> torch.Tensor:
        """The K weights around each frame: (n, T) -> (n, T, K)."""
        half = self.taps.size(1) // 2
        return torch.nn.functional.pad(before, (half, half)).unfold(1, 2 * half + 1, 1)


class _Shared(torch.autograd.Function):
    """The inputs that all steps share -> a token that makes them wait for the steps."""

    @staticmethod
    def forward(ctx, memory, enc, pre, taps, mix, score, bias):  # type: ignore[no-untyped-def]
        ctx.memory, ctx.taps_shape = memory, taps.shape
        return enc.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        m = ctx.memory
        if not m.weights:
            return (None,) * 7
        weights = torch.stack(m.weights, 2)  # (B, T, n)
        d_enc = weights @ torch.stack(m.d_context, 1)
        d_taps = torch.zeros_like(m.taps)
        for before, d_located in zip(m.before, m.d_located):
            flat = d_located.flatten(0, 1)
            d_taps.addmm_(flat.t(), m.windows(before).flatten(0, 1))
        found = (d_enc, m.d_pre, d_taps.view(ctx.taps_shape), m.d_mix)
        found += (m.d_score[None], m.d_bias)
        m.clear()
        return (None, *found)


class _Step(torch.autograd.Function):
    """Attend once: query (B, A), weights before (B, T) -> context (B, E), weights."""

    @staticmethod
    def forward(ctx, memory, token, query, before, scaling):  # type: ignore[no-untyped-def]
        m = memory
        located = m.windows(before) @ m.taps.t()  # (B, T, C)
        ones = located.new_ones(*located.shape[:2], 1)
        located = torch.cat([located, ones], 2)
        mix = torch.cat([m.mix.t().expand(len(query), -1, -1), query[:, None]], 1)
        hidden = torch.baddbmm(m.pre, located, mix).tanh_()  # (B, T, A)
        energy = (hidden @ m.score).add_(m.bias)
        energy.masked_fill_(m.mask, -float("inf"))
        weights = torch.softmax(energy.mul_(scaling), 1)
        context = torch.bmm(weights[:, None], m.enc)[:, 0]
        ctx.memory, ctx.scaling = memory, scaling
        ctx.save_for_backward(before, located, hidden, weights)
        return context, weights

    @staticmethod
    @once_differentiable
    def backward(ctx, d_context, d_weights):  # type: ignore[no-untyped-def]
        m = ctx.memory
        before, located, hidden, weights = ctx.saved_tensors
        d_weights = d_weights + torch.bmm(m.enc, d_context[:, :, None])[:, :, 0]
        mean = (weights * d_weights).sum(1, keepdim=True)
        d_energy = (d_weights - mean).mul_(weights).mul_(ctx.scaling)
        m.d_score.addmv_(hidden.flatten(0, 1).t(), d_energy.flatten())
        m.d_bias.add_(d_energy.sum())
        d_hidden = d_energy[:, :, None] * m.score
        d_hidden = torch.ops.aten.tanh_backward(d_hidden, hidden)
        m.d_pre.add_(d_hidden)
        d_mix = torch.bmm(located.transpose(1, 2), d_hidden)  # (B, C + 1, A)
        m.d_mix.add_(d_mix[:, :-1].sum(0).t())
        d_located = d_hidden @ m.mix  # (B, T, C)
        m.weights.append(weights)
        m.d_context.append(d_context)
        m.before.append(before)
        m.d_located.append(d_located)
        d_before = None
        if ctx.needs_input_grad[3]:
            d_before = torch.nn.functional.conv_transpose1d(
                d_located.transpose(1, 2),
                m.taps[:, None],
                padding=m.taps.size(1) // 2,
            )[:, 0]
        return None, d_context.new_zeros(()), d_mix[:, -1], d_before, None


class CPUAttLoc(AttLoc):
    """ESPnet's ``AttLoc``; training on a CPU goes another way to the same numbers."""

    def forward(self, enc_hs_pad, enc_hs_len, dec_z, att_prev, scaling=2.0, **others):  # type: ignore[no-untyped-def]
        if self.han_mode or others or not _trained_on_cpu(enc_hs_pad):
            return super().forward(
                enc_hs_pad, enc_hs_len, dec_z, att_prev, scaling, **others
            )
        if self.pre_compute_enc_h is None:
            self._begin(enc_hs_pad, enc_hs_len)
        if dec_z is None:
            dec_z = enc_hs_pad.new_zeros(len(enc_hs_pad), self.dunits)
        if att_prev is None:
            att_prev = (~self.mask).to(enc_hs_pad.dtype)
            att_prev = att_prev / att_prev.sum(1, keepdim=True)
        query = self.mlp_dec(dec_z.view(len(enc_hs_pad), self.dunits))
        return _Step.apply(self.memory, self.token, query, att_prev, scaling)

    def _begin(self, enc_hs_pad, enc_hs_len):  # type: ignore[no-untyped-def]
        """The first step of a batch; the names are those that ESPnet's class resets."""
        self.enc_h, self.h_length = enc_hs_pad, enc_hs_pad.size(1)
        self.pre_compute_enc_h = self.mlp_enc(enc_hs_pad)
        lengths = torch.as_tensor(enc_hs_len)
        self.mask = torch.arange(self.h_length)[None] >= lengths[:, None]
        self.memory = _Memory(self, self.enc_h, self.pre_compute_enc_h, self.mask)
        self.token = _Shared.apply(
            self.memory,
            self.enc_h,
            self.pre_compute_enc_h,
            self.loc_conv.weight,
            self.mlp_att.weight,
            self.gvec.weight,
            self.gvec.bias,
        )

    def reset(self):  # type: ignore[no-untyped-def]
        """Forget the batch."""
        super().reset()
        self.memory = self.token = None


def _trained_on_cpu(x: torch.Tensor) -> bool:
    return (
        torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_cpu_enabled()
    )


def install(model: torch.nn.Module) -> int:
    """Let every plain ``AttLoc`` in ``model`` take the fast way; returns how many."""
    found = [m for m in model.modules() if type(m) is AttLoc]
    for module in found:
        module.__class__ = CPUAttLoc
        module.reset()
    return len(found)
