from __future__ import annotations

import torch

from espnet_topdown.trainer.initializers import uniform


def test_uniform():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.LSTM(9, 8), torch.nn.LayerNorm(8))
    model.append(torch.nn.Linear(8, 50))
    norm = model[1].weight.clone()
    assert uniform(model, 0.1) == 6
    values = torch.cat([p.flatten() for p in [*model[0].parameters()]])
    assert values.abs().max() <= 0.1
    assert 0.095 < values.abs().max() and abs(values.mean()) < 0.01
    assert torch.equal(model[1].weight, norm)
    assert model[2].bias.abs().max() > 0.05


def test_a_seed_gives_the_same_values():
    models = []
    for _ in range(2):
        torch.manual_seed(7)
        models.append(torch.nn.Linear(3, 3))
        uniform(models[-1], 0.5)
    assert torch.equal(models[0].weight, models[1].weight)
