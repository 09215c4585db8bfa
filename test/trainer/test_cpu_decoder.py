"""Our decoder gives the numbers of ESPnet's in training and leaves the rest to it."""

from __future__ import annotations

import copy
import gc
import pickle
import random

import pytest
import torch

from espnet_topdown.trainer.fast import cpu_decoder

pytestmark = pytest.mark.espnet

# frames and units of each utterance
BATCHES = {
    "one frame": ([1], [3]),
    "one unit": ([100, 80], [1, 1]),
    "units not sorted": ([40, 17, 16, 3], [2, 9, 4, 9]),
    "units alike": ([20, 20, 20], [6, 6, 6]),
}
OPTIONS = {
    "paper": {},
    "two layers": {"num_layers": 2, "context_residual": True},
    "dropout": {"num_layers": 3, "dropout": 0.4},
    "dropout, residual": {"dropout": 0.3, "context_residual": True},
    "GRU": {"rnn_type": "gru"},
    "sampling": {"sampling_probability": 0.5},
    "dot": {"att_conf": {"atype": "dot", "adim": 5}},
}


def decoder(frozen=(), taps=4, **options):
    from espnet2.asr.decoder.rnn_decoder import RNNDecoder

    torch.manual_seed(0)
    att = {"atype": "location", "adim": 5, "aconv_chans": 3, "aconv_filts": taps}
    sizes = dict(vocab_size=9, encoder_output_size=6, hidden_size=7, att_conf=att)
    stock = RNNDecoder(**{**sizes, **options}).double()
    for name, p in stock.named_parameters():
        p.data.mul_(3)  # attention that is not nearly uniform
        p.requires_grad = not any(name.startswith(f) for f in frozen)
    ours = copy.deepcopy(stock)
    assert cpu_decoder.install(ours) == 1
    return stock, ours


def run(module, n_frames, n_units, enc_grad=True, n_padded=0):
    """All outputs, all gradients, and the random numbers that come next."""
    torch.manual_seed(1)
    random.seed(1)
    enc = torch.randn(len(n_frames), max(n_frames), 6, dtype=torch.double)
    enc.requires_grad_(enc_grad)
    ids = torch.randint(0, 9, (len(n_frames), max(n_units) + n_padded))
    module.zero_grad()
    y, n = module(enc, torch.tensor(n_frames), ids, torch.tensor(n_units))
    y.sin().sum().backward()
    after = torch.rand(2), torch.tensor(random.random())
    return [y, n, enc.grad, *after, *(p.grad for p in module.parameters())]


def assert_same(a, b):
    assert len(a) == len(b)
    for u, v in zip(a, b):
        if u is None or v is None:
            assert u is v
        else:
            torch.testing.assert_close(u, v, rtol=0, atol=1e-10)


@pytest.mark.parametrize("taps", [0, 4, 16, 100])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("options", OPTIONS)
def test_equal(options, batch, taps):
    stock, ours = decoder(taps=taps, **OPTIONS[options])
    for _ in range(2):  # the second batch begins afresh
        assert_same(run(stock, *BATCHES[batch]), run(ours, *BATCHES[batch]))


@pytest.mark.parametrize("options", ["paper", "two layers", "dropout"])
def test_validation_is_equal(options):
    stock, ours = (m.eval() for m in decoder(**OPTIONS[options]))
    enc, units = torch.randn(2, 30, 6).double(), torch.tensor([4, 3])
    batch = (enc, torch.tensor([30, 9]), torch.randint(0, 9, (2, 4)), units)
    with torch.no_grad():
        torch.testing.assert_close(ours(*batch)[0], stock(*batch)[0])


def test_more_columns_than_units():
    stock, ours = decoder()
    a, b = (run(m, [9, 4], [3, 2], n_padded=2) for m in (stock, ours))
    assert_same(a, b)


@pytest.mark.parametrize(
    "frozen",
    [["att_list"], ["att_list.0.gvec"], ["embed", "decoder"], ["output"]],
    ids=str,
)
@pytest.mark.parametrize("enc_grad", [True, False])
def test_frozen_parts(frozen, enc_grad):
    stock, ours = decoder(frozen)
    a, b = (run(m, [9, 4], [3, 5], enc_grad=enc_grad) for m in (stock, ours))
    assert_same(a, b)


def test_beam_search_is_espnets():
    stock, ours = decoder()
    with torch.no_grad():
        x = torch.randn(11, 6, dtype=torch.double)
        states = [m.eval().init_state(x) for m in (stock, ours)]
        ids = torch.tensor([8])
        for _ in range(3):
            (a, s), (b, t) = (
                m.score(ids, state, x) for m, state in zip((stock, ours), states)
            )
            assert torch.equal(a, b)
            states = [s, t]


def test_attention_weights_can_be_seen():
    """ESPnet draws them with a hook on the attention."""
    _, ours = decoder()
    seen = []
    ours.att_list[0].register_forward_hook(lambda m, i, output: seen.append(output[1]))
    run(ours, [9, 4], [3, 2])
    assert [w.shape for w in seen] == [(2, 9)] * 3


def test_half_precision_is_espnets():
    stock, ours = (m.bfloat16() for m in decoder())
    enc, units = torch.randn(2, 9, 6).bfloat16(), torch.tensor([3, 2])
    batch = (enc, torch.tensor([9, 4]), torch.randint(0, 9, (2, 3)), units)
    assert torch.equal(stock(*batch)[0], ours(*batch)[0])


def test_a_batch_is_let_go():
    from espnet_topdown.trainer.fast.location_attention import Attention

    _, ours = decoder()
    gc.collect()
    gc.disable()
    try:
        run(ours, [9, 4], [3, 2])
        assert not [x for x in gc.get_objects() if isinstance(x, Attention)]
    finally:
        gc.enable()


def test_only_the_class_changes():
    stock, ours = decoder()
    assert list(stock.state_dict()) == list(ours.state_dict())
    again = pickle.loads(pickle.dumps(ours))
    assert_same(run(again, [3, 2], [2, 2]), run(stock, [3, 2], [2, 2]))
    assert cpu_decoder.install(ours) == 0
