"""ESPnet's attention decoder with the same numbers, trained fast on a CPU.

ESPnet's RNN decoder attends and runs its LSTM once for each output unit, for all
utterances, all frames and all padding, and every sum over these steps (the gradients of
the weights and of the encoder's output) is written and added up step by step. Here
frames lie in blocks with hardly any padding, an utterance whose units have ended takes
no part any more, and a sum over steps is one product at the end.

GRUs, scheduled sampling, other kinds of attention, beam search and all that is not on
a CPU are left to ESPnet.

Shapes: B utterances, T frames, U units, M units of the whole batch, step by step; V
vocabulary, E encoder features, H cells.
"""

from __future__ import annotations

import random

import torch
from espnet2.asr.decoder.rnn_decoder import RNNDecoder
from torch.autograd.function import once_differentiable

from espnet_topdown.trainer.fast._location_attention import Attention, AttLoc, Frames
from espnet_topdown.trainer.fast._lstm_steps import LSTMSteps

SCALING = 2.0  # of the energies: ESPnet's default, which its decoder does not change


class CPURNNDecoder(RNNDecoder):
    """ESPnet's ``RNNDecoder``; on a CPU it goes another way to the same numbers."""

    def forward(self, hs_pad, hlens, ys_in_pad, ys_in_lens, strm_idx=0):  # type: ignore[no-untyped-def]
        """Returns ESPnet's (B, U, V) and the lengths of (B, T, E) and (B, U)."""
        att = self.att_list[min(strm_idx, len(self.att_list) - 1)]
        if not self._is_ours(att, hs_pad):
            return super().forward(hs_pad, hlens, ys_in_pad, ys_in_lens, strm_idx)
        att.reset()
        embedded = self.dropout_emb(self.embed(ys_in_pad))
        n_steps = ys_in_pad.size(1)
        dropped = self._draw(n_steps, hs_pad)
        # the units, step by step, of those utterances that still have some
        n_units = torch.as_tensor(ys_in_lens).cpu()
        order = n_units.argsort(descending=True, stable=True)
        active = (n_units[order] > torch.arange(n_steps)[:, None]).sum(1)
        active = active[active > 0]
        step = torch.arange(len(active)).repeat_interleave(active)
        first = active.cumsum(0) - active
        seq = order[torch.arange(len(step)) - first[step]]
        if dropped is not None:
            dropped = dropped[:, step, seq]
        frames = Frames.of(torch.as_tensor(hlens).cpu()[order], order, hs_pad.size(1))
        enc = hs_pad.flatten(0, 1).index_select(0, frames.rows)
        states, contexts = _Steps.apply(
            frames,
            active.tolist(),
            torch.is_grad_enabled(),
            dropped,
            enc,
            att.mlp_enc(enc),
            att.loc_conv.weight.flatten(1),
            att.mlp_att.weight,
            att.mlp_dec.weight,
            SCALING * att.gvec.weight[0],
            att.gvec.bias,
            *self._cells(embedded[seq, step]),
        )
        if dropped is not None:
            states = states * dropped[-1]
        if self.context_residual:
            states = torch.cat([states, contexts], 1)
        y = self.output(states)
        padded = y.new_zeros(len(hs_pad) * n_steps, y.size(1))
        padded = padded.index_copy(0, seq * n_steps + step, y)
        return padded.view(len(hs_pad), n_steps, -1), ys_in_lens

    def _is_ours(self, att, hs_pad):  # type: ignore[no-untyped-def]
        return (
            self.num_encs == 1
            and self.dtype == "lstm"
            and self.sampling_probability == 0
            and type(att) is AttLoc
            and not att._forward_hooks  # somebody wants to see the attention weights
            and hs_pad.device.type == "cpu"
            and hs_pad.dtype in (torch.float32, torch.float64)
            and hs_pad.dtype == self.output.weight.dtype
            and not torch.is_autocast_cpu_enabled()
        )

    def _draw(self, n_steps, like):  # type: ignore[no-untyped-def]
        # ESPnet's random numbers in its order: the factors of dropout, or None.
        #
        # (layers + 1, U, B, H); the first are the query's, the last the output's.
        for _ in range(n_steps - 1):
            random.random()  # drawn whether or not there is sampling
        if not (self.training and self.dropout):
            return None
        ones = like.new_ones(len(like), self.dunits)
        modules = [self.dropout_dec[0], *self.dropout_dec]
        drawn = [[module(ones) for module in modules] for _ in range(n_steps)]
        return torch.stack([torch.stack(factors) for factors in zip(*drawn)])

    def _cells(self, embedded):  # type: ignore[no-untyped-def]
        # The weight and the bias of each layer, see ``LSTMSteps``.
        #
        # What the embedding adds to the gates of the first layer is known beforehand;
        # it is part of that layer's bias.
        found = []
        for i, cell in enumerate(self.decoder):
            weight, bias = cell.weight_ih, cell.bias_ih + cell.bias_hh
            if i == 0:
                width = embedded.size(1)
                known, weight = weight[:, :width], weight[:, width:]
                bias = torch.nn.functional.linear(embedded, known, bias)
            found += [torch.cat([weight, cell.weight_hh], 1), bias]
        return found


class _Steps(torch.autograd.Function):
    """All steps: the states of the top layer (M, H) and the contexts (M, E)."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx, frames, active, keep, dropped, enc, pre, taps, mix, query, score, _, *cells
    ):
        ends = torch.tensor([0, *active]).cumsum(0).tolist()
        att = Attention(frames, active, keep, enc, pre, taps, mix, query, score)
        layers = [
            LSTMSteps(weight, bias, ends[-1])
            for weight, bias in zip(cells[::2], cells[1::2])
        ]
        bottom, n_features = layers[0], enc.size(1)
        queries = enc.new_zeros(ends[-1], bottom.cells)
        steps = []  # the units of each step, and those of the same utterances before
        for t, n in enumerate(active):
            now, before = slice(ends[t], ends[t] + n), None
            if t:
                before = slice(ends[t - 1], ends[t - 1] + n)
                queries[now] = _drop(bottom.h[before], dropped, 0, now)
            bottom.x[now, :n_features] = att.step(t, queries[now])
            bottom.step(now, before)
            for i in range(1, len(layers)):
                x = _drop(layers[i - 1].h[now], dropped, i, now)
                layers[i].x[now, : layers[i].inputs] = x
                layers[i].step(now, before)
            steps.append((now, before))
        ctx.state = (att, layers, queries, dropped, steps)
        return layers[-1].h.clone(), bottom.x[:, :n_features].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, d_states, d_contexts):  # type: ignore[no-untyped-def]
        att, layers, queries, dropped, steps = ctx.state
        bottom, d_contexts = layers[0], d_contexts.clone()
        att.begin_backward()
        for layer in layers:
            layer.begin_backward(att.active[0])
        for t in reversed(range(len(steps))):
            now, before = steps[t]
            n, d_h = att.active[t], d_states[now]
            for i in reversed(range(len(layers))):
                d_x = layers[i].step_back(now, before, d_h + layers[i].d_h[:n])
                d_h = _drop(d_x, dropped, i, now) if i else d_x
            d_contexts[now] += d_x
            d_query = att.step_back(t, now, d_contexts[now])
            bottom.d_h[:n] += _drop(d_query, dropped, 0, now)
        wanted = ctx.needs_input_grad[4:]
        d_bias = d_states.new_zeros(1)  # it moves all energies alike
        found = [*att.gradients(queries, d_contexts, wanted[:6]), d_bias]
        for layer, trained in zip(layers, wanted[7::2]):
            found += [layer.d_weight() if trained else None, layer.d_bias()]
        return (None, None, None, None, *found)


def _drop(x, factors, i, now):  # type: ignore[no-untyped-def]
    return x if factors is None else x * factors[i, now]
