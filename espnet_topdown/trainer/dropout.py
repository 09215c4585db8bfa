"""RNN encoders whose dropout is off outside training.

The projected RNNs (``use_projection: true``) behind ESPnet's ``rnn`` and ``vgg_rnn``
encoders call dropout without saying whether they are being trained (releases 202511
and 202611), so validation and decoding are random when ``dropout`` is above 0. A model
trained that way has learned with it, so it is not switched off behind a user's back:
``encoder: td_rnn`` and ``encoder: td_vgg_rnn`` are encoders of their own, with the
same parameter names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from espnet2.asr.encoder.rnn_encoder import RNNEncoder
from espnet2.asr.encoder.vgg_rnn_encoder import VGGRNNEncoder
from espnet2.tasks.asr import encoder_choices


class _FollowsMode(torch.nn.Module):
    """Sets the rate of each projected RNN to that of its mode."""

    enc: torch.nn.ModuleList

    def forward(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        for part in self.enc:
            if not hasattr(part, "bt0"):  # a VGG block, or an RNN without projections
                continue
            if not hasattr(part, "dropout_in_training"):
                part.dropout_in_training = part.dropout
            part.dropout = part.dropout_in_training if part.training else 0.0
        return super().forward(*args, **kwargs)


class TopDownRNNEncoder(_FollowsMode, RNNEncoder):
    """ESPnet's ``rnn`` encoder; dropout only in training mode."""


class TopDownVGGRNNEncoder(_FollowsMode, VGGRNNEncoder):
    """ESPnet's ``vgg_rnn`` encoder; dropout only in training mode."""


encoder_choices.classes["td_rnn"] = TopDownRNNEncoder
encoder_choices.classes["td_vgg_rnn"] = TopDownVGGRNNEncoder


def decode_by_espnet(cmd: Sequence[str] | None = None) -> None:
    """Be ``espnet2.bin.asr_inference``, with both known.

    Args:
        cmd: its options; None: those of the process.
    """
    from espnet2.bin import asr_inference

    asr_inference.main(cmd)
