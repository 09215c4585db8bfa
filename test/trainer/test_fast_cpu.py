"""Every part of a model that has a faster way takes it, once."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.espnet


def test_install():
    import torch
    from espnet2.asr.decoder.rnn_decoder import RNNDecoder
    from espnet2.asr.encoder.rnn_encoder import RNNEncoder

    from espnet_topdown.trainer.fast import fast_cpu

    decoder = RNNDecoder(9, 6, hidden_size=7)
    encoder = RNNEncoder(5, num_layers=2, hidden_size=6, output_size=6, subsample=None)
    model = torch.nn.ModuleList([encoder, decoder])
    names = list(model.state_dict())
    assert fast_cpu.install(model) == 4  # two LSTMs, what holds them, the decoder
    assert fast_cpu.install(model) == 0
    assert list(model.state_dict()) == names
