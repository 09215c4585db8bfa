"""``td_rnn`` and ``td_vgg_rnn``: dropout in training only, ESPnet's names otherwise."""

from __future__ import annotations

import pytest
import torch
from espnet2.tasks.asr import encoder_choices

from espnet_topdown.trainer import task  # noqa: F401 registers ours

pytestmark = pytest.mark.espnet
SIZES = dict(input_size=12, num_layers=3, hidden_size=6, output_size=5, dropout=0.5)


def build(name):
    torch.manual_seed(0)
    return encoder_choices.get_class(name)(**SIZES)


def run(encoder, seed=1):
    torch.manual_seed(seed)
    x = torch.ones(2, 40, 12) * torch.linspace(-1, 1, 12)
    return encoder(x, torch.tensor([40, 31]))[0]


@pytest.mark.parametrize("name", ["rnn", "vgg_rnn"])
def test_only_in_training(name):
    stock, ours = build(name), build(f"td_{name}")
    ours.load_state_dict(stock.state_dict())
    assert not torch.equal(run(stock.eval(), 1), run(stock, 2))  # what is wrong there
    assert torch.equal(run(ours.eval(), 1), run(ours, 2))
    for _ in range(2):  # there and back
        assert torch.equal(run(stock.train()), run(ours.train()))
        ours.eval()
        still = run(ours)
        stock.enc[-1].dropout = 0.0
        assert torch.equal(run(stock), still)
        stock.enc[-1].dropout = 0.5


def test_a_frozen_part_in_eval_mode():
    ours = build("td_rnn").train()
    ours.enc[0].eval()
    assert torch.equal(run(ours, 1), run(ours, 2))
