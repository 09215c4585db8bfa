"""Our attention gives the numbers of ESPnet's in training and leaves the rest to it."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from espnet_topdown.trainer import cpu_attention

pytestmark = pytest.mark.espnet


def decoder(frozen=(), **options):
    from espnet2.asr.decoder.rnn_decoder import RNNDecoder

    torch.manual_seed(0)
    att = {"atype": "location", "adim": 5, "aconv_chans": 3, "aconv_filts": 4}
    sizes = dict(vocab_size=9, encoder_output_size=6, hidden_size=7, att_conf=att)
    stock = RNNDecoder(**sizes, **options).double()
    for name, p in stock.named_parameters():
        p.data.mul_(3)  # attention that is not nearly uniform
        p.requires_grad = not any(name.startswith(f) for f in frozen)
    ours = copy.deepcopy(stock)
    assert cpu_attention.install(ours) == 1
    return stock, ours


def run(module, lengths, units=6, enc_grad=True):
    torch.manual_seed(1)
    enc = torch.randn(len(lengths), max(lengths), 6, dtype=torch.double)
    enc.requires_grad_(enc_grad)
    ids = torch.randint(0, 9, (len(lengths), units))
    n_ids = torch.full((len(lengths),), units)
    module.zero_grad()
    y, _ = module(enc, torch.tensor(lengths), ids, n_ids)
    y.sin().sum().backward()
    return [y, enc.grad, *(p.grad for p in module.parameters())]


def assert_same(a, b):
    assert len(a) == len(b)
    for u, v in zip(a, b):
        if u is None or v is None:
            assert u is v
        else:
            torch.testing.assert_close(u, v, rtol=0, atol=1e-10)


@pytest.mark.parametrize("lengths", [[1], [8], [20, 13, 2], [5, 5]], ids=str)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "context_residual": True}])
def test_equal(lengths, options):
    stock, ours = decoder(**options)
    for _ in range(2):  # the second batch begins afresh
        assert_same(run(stock, lengths), run(ours, lengths))


@pytest.mark.parametrize(
    "frozen", [["att_list"], ["att_list.0.gvec"], ["embed", "decoder"]], ids=str
)
@pytest.mark.parametrize("enc_grad", [True, False])
def test_frozen_parts(frozen, enc_grad):
    stock, ours = decoder(frozen)
    a, b = (run(m, [9, 4], enc_grad=enc_grad) for m in (stock, ours))
    assert_same(a, b)


def test_inference_is_espnets():
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


def test_training_after_inference():
    stock, ours = decoder()
    with torch.no_grad():
        ours(torch.randn(1, 4, 6).double(), [4], torch.zeros(1, 2).long(), [2])
    assert_same(run(stock, [9, 4]), run(ours, [9, 4]))


def test_only_the_class_changes():
    stock, ours = decoder()
    assert list(stock.state_dict()) == list(ours.state_dict())
    again = pickle.loads(pickle.dumps(ours))
    assert_same(run(again, [3, 2]), run(stock, [3, 2]))
    assert cpu_attention.install(ours) == 0
