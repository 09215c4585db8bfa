"""The steps of an LSTM decoder with location-aware attention, on a CPU.

Attention of Chorowski et al., "Attention-based models for speech recognition" (2015),
as ESPnet's ``AttLoc`` has it: the energy of a frame depends on the encoder's output
there, on the decoder's state, and on a convolution over the attention weights of the
step before.

Shapes: R rows of frames (blocks of ``BLOCK`` of one utterance after the other), n of B
utterances still have units at a step, M units of the whole batch, E encoder features,
A attention features, C channels and K taps of the convolution, H cells.
"""

from __future__ import annotations

import dataclasses
import sys

import torch
from espnet2.asr.decoder import rnn_decoder

# Its package is another one in each ESPnet release.
AttLoc = sys.modules[rnn_decoder.initial_att.__module__].AttLoc

BLOCK = 16  # frames; the last block of an utterance is filled up
aten = torch.ops.aten


@dataclasses.dataclass(frozen=True)
class Frames:
    """Where the frames of each utterance lie in the rows.

    Attributes:
        n_blocks: of each utterance, in the order in which the rows have them.
        rows: (R,) for each row its row in the padded batch, taken utterance by
            utterance; any valid one where the row holds no frame.
        floor: (R,) 0, and minus infinity where the row holds no frame.
        start: (R,) the attention weights before the first step: even.
    """

    n_blocks: list[int]
    rows: torch.Tensor
    floor: torch.Tensor
    start: torch.Tensor

    @classmethod
    def of(cls, lengths: torch.Tensor, order: torch.Tensor, width: int) -> Frames:
        """Lay out utterances, longest transcript first.

        Args:
            lengths: (B,) frames of each.
            order: (B,) the place of each in the padded batch.
            width: frames that the batch is padded to.

        Returns:
            Their layout.
        """
        n_blocks = -(-lengths // BLOCK)
        n_rows = n_blocks * BLOCK
        utt = torch.arange(len(lengths)).repeat_interleave(n_rows)
        frame = torch.arange(len(utt)) - (n_rows.cumsum(0) - n_rows)[utt]
        held = frame < lengths[utt]
        rows = order[utt] * width + torch.minimum(frame, lengths[utt] - 1)
        floor = torch.zeros(len(utt)).masked_fill_(~held, -float("inf"))
        start = held.double() / lengths[utt]
        return cls(n_blocks.tolist(), rows, floor, start)


class Convolution:
    """The taps (C, K) as one product of windows of blocks, forwards and backwards."""

    def __init__(self, taps: torch.Tensor, n_blocks: list[int]) -> None:
        n_taps = taps.size(1)
        reach = -(-(n_taps // 2) // BLOCK)  # blocks on either side
        width = self.width = 2 * reach + 1
        # The tap between a frame of the window and one of the block; n_taps: none.
        tap = torch.arange(width * BLOCK)[:, None] - torch.arange(BLOCK)
        tap = tap + (n_taps // 2 - reach * BLOCK)
        self.tap = tap.masked_fill_((tap < 0) | (tap >= n_taps), n_taps)
        self.n_taps = n_taps
        none = taps.new_zeros(1, len(taps))
        self.matrix = torch.cat([taps.t(), none])[self.tap].flatten(1)

        total = sum(n_blocks)
        utt = torch.arange(len(n_blocks)).repeat_interleave(torch.tensor(n_blocks))
        near = torch.arange(total)[:, None] + torch.arange(width) - reach
        outside = (near < 0) | (near >= total)
        outside |= utt[near.clamp(0, total - 1)] != utt[:, None]
        self.near = near.masked_fill_(outside, total)  # that block is all zeros
        # A block is at place width - 1 - p in the window of the block that is at place
        # p in its own window.
        place = torch.arange(width).flip(0)
        back = (self.near * width + place).masked_fill_(outside, total * width)
        self.back = back.flatten()
        self.d_windows = taps.new_zeros(total * width + 1, BLOCK)

    def windows(self, weights, out):  # type: ignore[no-untyped-def]
        """The blocks (all + 1, BLOCK) -> ``out`` (n, width * BLOCK) of the first n."""
        near = self.near[: len(out)].flatten()
        torch.index_select(weights, 0, near, out=out.view(-1, BLOCK))

    def d_weights(self, d_located):  # type: ignore[no-untyped-def]
        """Returns that of the first n: (n, BLOCK * C) -> (n, BLOCK)."""
        n = len(d_located)
        d_windows = self.d_windows[: n * self.width].view(n, -1)
        torch.mm(d_located, self.matrix.t(), out=d_windows)
        back = self.back[: n * self.width]
        return self.d_windows.index_select(0, back).view(n, -1, BLOCK).sum(1)

    def d_taps(self, windows, d_located):  # type: ignore[no-untyped-def]
        """Returns that of all steps: (N, width * BLOCK), (N, BLOCK * C) -> (C, K)."""
        d_matrix = (windows.t() @ d_located).view(self.tap.numel(), -1)
        d_taps = d_matrix.new_zeros(self.n_taps + 1, d_matrix.size(1))
        return d_taps.index_add_(0, self.tap.flatten(), d_matrix)[:-1].t()


class Attention:
    """All steps of one batch.

    Args:
        frames: the layout of the rows, utterances with more units first.
        active: of each step, how many utterances still have units.
        keep: for a backward pass.
        enc: (R, E).
        pre: (R, A) what ``enc`` adds to the hidden units of the energy.
        taps: (C, K) of the convolution; ``mix`` (A, C) leads on to the hidden units.
        query: (A, H) leads there from the decoder's state.
        score: (A,) leads from there to the energy.
    """

    def __init__(  # type: ignore[no-untyped-def]
        self, frames, active, keep, enc, pre, taps, mix, query, score
    ):
        self.frames, self.active, self.keep = frames, active, keep
        self.floor = frames.floor.to(enc)
        self.enc, self.pre = enc, pre  # (R, E), (R, A)
        self.mix, self.query, self.score = mix, query, score  # (A, C), (A, H), (A,)
        self.conv = Convolution(taps, frames.n_blocks)
        total = sum(frames.n_blocks)
        self.n_blocks = [sum(frames.n_blocks[:n]) for n in active]
        ends = torch.tensor([0, *self.n_blocks]).cumsum(0).tolist()
        self.blocks = [slice(*pair) for pair in zip(ends, ends[1:])]
        # The last block stands for none.
        self.weights = enc.new_zeros(len(active) + 1, total + 1, BLOCK)
        self.weights[0, :total] = frames.start.view(-1, BLOCK)
        self.energy = enc.new_full((total + 1, BLOCK), -float("inf"))
        self.windows = enc.new_empty(ends[-1], self.conv.width * BLOCK)
        counts = torch.tensor(frames.n_blocks)
        utt = torch.arange(len(counts)).repeat_interleave(counts)
        place = torch.arange(total) - (counts.cumsum(0) - counts)[utt]
        self.longest = int(counts.max())
        self.padded = torch.full((len(counts), self.longest), total)
        self.padded[utt, place] = torch.arange(total)
        self.place = utt * self.longest + place
        utt = utt.repeat_interleave(BLOCK)
        self.utts = (utt == torch.arange(len(counts))[:, None]).to(enc)  # (B, R)
        self.hidden, self.located = [], []  # (r, A), (r, C + n) of each step

    def step(self, t: int, state: torch.Tensor) -> torch.Tensor:
        """Returns the context (n, E) of a step's units for their state (n, H)."""
        n, blocks = len(state), self.n_blocks[t]
        rows = blocks * BLOCK
        windows = self.windows[self.blocks[t]]
        self.conv.windows(self.weights[t], windows)
        located = self.enc.new_empty(rows, self.mix.size(1) + n)
        located[:, :-n] = (windows @ self.conv.matrix).view(rows, -1)
        located[:, -n:] = self.utts[:n, :rows].t()
        mix = torch.cat([self.mix.t(), state @ self.query.t()])
        hidden = torch.addmm(self.pre[:rows], located, mix).tanh_()
        energy = self.energy[:blocks].view(-1)
        torch.addmv(self.floor[:rows], hidden, self.score, out=energy)
        padded = self.energy.index_select(0, self.padded[:n].flatten())
        weights = torch.softmax(padded.view(n, -1), 1).view(-1, BLOCK)
        found = self.weights[t + 1, :blocks]
        torch.index_select(weights, 0, self.place[:blocks], out=found)
        if self.keep:
            self.hidden.append(hidden)
            self.located.append(located)
        return (self.utts[:n, :rows] * found.view(-1)) @ self.enc[:rows]

    def begin_backward(self) -> None:
        """Before the last step."""
        self.d_weights = torch.zeros_like(self.weights[0])
        self.d_pre = torch.zeros_like(self.pre)
        self.d_hidden = torch.empty_like(self.pre)
        self.d_score = torch.zeros_like(self.score)
        self.d_mix = torch.zeros_like(self.mix).t()
        self.d_query = self.pre.new_empty(sum(self.active), self.pre.size(1))
        shape = (len(self.windows), BLOCK * self.mix.size(1))
        self.d_located = self.pre.new_empty(shape)
        # d_hidden leaves the factor score out; what is made of it has it.
        self.scored_mix = self.mix * self.score[:, None]
        self.scored_query = self.query * self.score[:, None]

    def step_back(self, t: int, now: slice, d_context: torch.Tensor) -> torch.Tensor:
        """Returns the gradient of the state (n, H) for that of the context (n, E)."""
        n, blocks = len(d_context), self.n_blocks[t]
        rows = blocks * BLOCK
        hidden, located, utts = self.hidden[t], self.located[t], self.utts[:n, :rows]
        weights = self.weights[t + 1, :blocks].view(-1)
        d_weights = (d_context @ self.enc[:rows].t()).mul_(utts).sum(0)
        d_weights += self.d_weights[:blocks].view(-1)
        d_weights *= weights
        d_energy = d_weights.addcmul_(weights, (utts @ d_weights) @ utts, value=-1)
        self.d_score.addmv_(hidden.t(), d_energy)
        d_hidden = self.d_hidden[:rows]
        aten.tanh_backward(
            d_energy[:, None].expand_as(hidden), hidden, grad_input=d_hidden
        )
        self.d_pre[:rows] += d_hidden
        d_mix = located.t() @ d_hidden  # (C + n, A)
        self.d_mix += d_mix[:-n]
        self.d_query[now] = d_mix[-n:]
        d_located = self.d_located[self.blocks[t]]
        torch.mm(d_hidden, self.scored_mix, out=d_located.view(rows, -1))
        self.d_weights[:blocks] = self.conv.d_weights(d_located)
        return d_mix[-n:] @ self.scored_query

    def gradients(self, states, d_contexts, wanted):  # type: ignore[no-untyped-def]
        """Returns those of all that the steps share, for states (M, H), d_contexts.

        They are enc, pre, taps, mix, query, score; ``wanted`` says of each whether it
        is trained or leads to what is. None stands where that spares a product.
        """
        first = torch.tensor([0, *self.active]).cumsum(0)
        utts = torch.arange(len(self.frames.n_blocks))
        steps = torch.tensor(self.active) > utts[:, None]
        ends = torch.tensor([0, *self.frames.n_blocks]).cumsum(0).tolist()
        d_enc = []
        for utt, n_steps in enumerate(steps.sum(1).tolist()):
            weights = self.weights[1 : n_steps + 1, ends[utt] : ends[utt + 1]]
            d_context = d_contexts.index_select(0, first[:n_steps] + utt)
            d_enc.append(weights.flatten(1).t() @ d_context)
        d_query = self.d_query * self.score
        return (
            torch.cat(d_enc),
            self.d_pre * self.score,
            self.conv.d_taps(self.windows, self.d_located) if wanted[2] else None,
            (self.d_mix * self.score).t(),
            d_query.t() @ states if wanted[4] else None,
            self.d_score,
        )
