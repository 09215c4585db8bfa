"""ESPnet's projected RNN with the same numbers and without padding between its layers.

ESPnet pads the output of every layer, projects it with its padding, and packs it again
for the next layer. On a CPU these copies, and above all their gradients, take a tenth
of a training step. Here the frames stay packed from the first layer to the last.

Shapes: B sequences, T frames, D features, N frames of the whole batch.
"""

from __future__ import annotations

import torch
from espnet2.asr.encoder import rnn_encoder
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

# Its package is another one in each ESPnet release.
RNNP = rnn_encoder.RNNP


class CPURNNP(RNNP):  # type: ignore[misc,valid-type]
    """ESPnet's ``RNNP``; on a CPU it goes another way to the same numbers."""

    def forward(self, xs_pad, ilens, prev_state=None):  # type: ignore[no-untyped-def]
        """Returns ESPnet's output of (B, T, D), its lengths and the states."""
        lengths = [torch.as_tensor(ilens).cpu()]
        steps = [int(step) for step in self.subsample[1 : self.elayers + 1]]
        for step in steps:
            lengths.append((lengths[-1] + 1) // step if step > 1 else lengths[-1])
        left = prev_state is not None or xs_pad.device.type != "cpu"
        if left or min(int(n.min()) for n in lengths) < 1:
            return super().forward(xs_pad, ilens, prev_state)
        x = pack_padded_sequence(xs_pad, lengths[0], batch_first=True)
        states = []
        for layer, step in enumerate(steps):
            rnn = getattr(self, f"{'birnn' if self.bidir else 'rnn'}{layer}")
            y, state = rnn(x)
            states.append(state)
            x, n_frames, rows = subsample(y, lengths[layer + 1], step)
            x = x._replace(data=getattr(self, f"bt{layer}")(x.data))
            if layer < self.elayers - 1:
                shape = (len(xs_pad) * n_frames, x.data.size(1))
                x = x._replace(data=torch.tanh(self._drop(x.data, shape, rows)))
        padded = x.data.new_zeros(len(xs_pad) * n_frames, x.data.size(1))
        padded = padded.index_copy(0, rows, x.data)
        return padded.view(len(xs_pad), n_frames, -1), lengths[-1], states

    def _drop(self, data, shape, rows):  # type: ignore[no-untyped-def]
        # The units that ESPnet drops, in training or not, of a padded batch.
        if not self.dropout:
            return data
        kept = torch.nn.functional.dropout(data.new_ones(shape), p=self.dropout)
        return data * kept[rows]


def subsample(
    x: PackedSequence, lengths: torch.Tensor, step: int
) -> tuple[PackedSequence, int, torch.Tensor]:
    """Every ``step``-th frame, as many of each sequence as ``lengths`` says.

    Args:
        x: sorted, longest first.
        step: 1 or more.
        lengths: (B,) of what is returned; never increasing, the last at least 1.

    Returns:
        The frames; how many a sequence takes where ESPnet pads the batch; and the row
        of each frame there, sequence by sequence.
    """
    n_frames = -(-len(x.batch_sizes) // step)
    sizes = (lengths > torch.arange(int(lengths[0]))[:, None]).sum(1)
    frame = torch.arange(len(sizes)).repeat_interleave(sizes)
    seq = torch.arange(len(frame)) - (sizes.cumsum(0) - sizes)[frame]
    if step > 1:
        start = x.batch_sizes.cumsum(0) - x.batch_sizes
        data = x.data.index_select(0, start[frame * step] + seq)
        x = x._replace(data=data, batch_sizes=sizes)
    return x, n_frames, seq * n_frames + frame
