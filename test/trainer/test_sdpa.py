"""Fused attention: the same numbers, in training only, and where ESPnet has it."""

from __future__ import annotations

import pytest
import torch

from espnet_topdown.models.weights import load_weights
from espnet_topdown.trainer.fast import sdpa

pytestmark = pytest.mark.espnet
TRANSFORMER = {
    "output_size": 8,
    "attention_heads": 2,
    "linear_units": 8,
    "num_blocks": 2,
    "input_layer": "conv2d1",
    "attention_dropout_rate": 0.0,
    "dropout_rate": 0.0,
    "positional_dropout_rate": 0.0,
}
DECODER = {
    "attention_heads": 2,
    "linear_units": 8,
    "num_blocks": 1,
    "dropout_rate": 0.0,
    "positional_dropout_rate": 0.0,
}
OPTIONS = {
    "encoder": "transformer",
    "encoder_conf": TRANSFORMER,
    "decoder": "transformer",
    "decoder_conf": DECODER,
    "model_conf": {"ctc_weight": 0.3},
    "max_epoch": 1,
}


def module() -> torch.nn.Module:
    torch.manual_seed(0)
    return sdpa.Attention(2, 8, 0.0)


def test_the_fused_path_has_the_same_numbers_and_gradients():
    """With padding, as encoders mask it, and as decoders do."""
    for shape in ((3, 1, 5), (3, 5, 5)):
        mask = torch.ones(shape, dtype=torch.bool).tril()
        mask[..., 0] = True
        ours, stock = module(), module()
        assert sdpa.install(ours) == 1
        x = torch.randn(3, 5, 8, requires_grad=True)
        outs = [m.train()(x, x, x, mask) for m in (ours, stock)]
        assert ours.use_sdpa and ours.attn is None and stock.attn is not None
        torch.testing.assert_close(outs[0], outs[1], rtol=1e-5, atol=1e-6)
        grads = [torch.autograd.grad(o.square().sum(), x)[0] for o in outs]
        torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-5)


def test_validation_and_plots_are_espnets_own():
    ours, stock = module(), module()
    sdpa.install(ours)
    x = torch.randn(2, 4, 8)
    a, b = (m.eval()(x, x, x, None) for m in (ours, stock))
    assert torch.equal(a, b) and ours.attn is not None and not ours.use_sdpa


def test_a_training_by_both(train):
    fused = load_weights(train("fused", sdpa=True, **OPTIONS) / "1epoch.pth")
    stock = load_weights(train("stock", **OPTIONS) / "1epoch.pth")
    assert fused.keys() == stock.keys()
    for name, value in stock.items():
        torch.testing.assert_close(fused[name], value, rtol=1e-3, atol=1e-4)


CONFORMER = {
    "output_size": 8,
    "attention_heads": 2,
    "linear_units": 8,
    "num_blocks": 3,
    "cnn_module_kernel": 3,
    "input_layer": "conv2d1",
    "rel_pos_type": "latest",
    "pos_enc_layer_type": "rel_pos",
    "selfattention_layer_type": "rel_selfattn",
}
FROZEN = "softmax,dec0,enc2,enc1"


def test_a_conformers_frozen_norms_after_a_retraining(train, tmp_path):
    """Planned, trained, verified; statistics of frozen blocks bit for bit the same."""
    from espnet_topdown.jobs.prepare import prepare
    from espnet_topdown.jobs.run import run_job
    from espnet_topdown.jobs.spec import spec_by_hand
    from espnet_topdown.models.weights import differing

    options = {**OPTIONS, "encoder": "conformer", "encoder_conf": CONFORMER}
    base = train("base", sdpa=True, **options)
    folder = tmp_path / "again"
    prepare(spec_by_hand(base, FROZEN), folder)
    run_job(folder, train_only=True)
    before, after = (load_weights(f / "1epoch.pth") for f in (base, folder))
    norms = [n for n in before if "conv_module.norm" in n]
    frozen = [n for n in norms if ".encoders.0." not in n]
    assert len(frozen) == 2 * 5 and differing(after, before, frozen) == []
    moved = differing(after, before, [n for n in norms if n not in frozen])
    assert any(n.endswith("running_mean") for n in moved)
