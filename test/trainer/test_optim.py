from __future__ import annotations

import argparse
import math

import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer import optim


def adadelta():
    return torch.optim.Adadelta([torch.nn.Parameter(torch.zeros(1))], eps=1.0)


@pytest.mark.parametrize(
    "values, options, exponent",
    [
        ([3, 2, 1], {}, 0),
        ([3, 4, 5], {}, 2),
        ([3, 4, 3.5, 3], {}, 2),  # worse than the best, not than the one before
        ([3, 3], {}, 0),
        ([3, math.nan], {}, 1),
        ([3, 4, 5], {"mode": "max"}, 0),
        ([3, 4, 2, 1], {"mode": "max"}, 2),
        ([3, 4, 4, 4], {"patience": 1}, 1),
    ],
    ids=str,
)
def test_decays_when_worse(values, options, exponent):
    optimizer = adadelta()
    schedule = optim.AdadeltaEpsDecay(optimizer, factor=0.5, **options)
    for value in values:
        schedule.step(value)
    assert optimizer.param_groups[0]["eps"] == 0.5**exponent


def test_resumes():
    values = [3, 4, 2, 5, 5, 1, 6]
    whole, first, second = adadelta(), adadelta(), adadelta()
    schedule = optim.AdadeltaEpsDecay(whole, patience=1)
    for v in values:
        schedule.step(v)
    schedule = optim.AdadeltaEpsDecay(first, patience=1)
    for v in values[:4]:
        schedule.step(v)
    second.load_state_dict(first.state_dict())
    again = optim.AdadeltaEpsDecay(second, patience=1)
    again.load_state_dict(schedule.state_dict())
    for v in values[4:]:
        again.step(v)
    assert whole.param_groups[0]["eps"] == second.param_groups[0]["eps"]


@pytest.mark.parametrize("options", [{"factor": 0.0}, {"factor": 2}, {"mode": "best"}])
def test_refused(options):
    with pytest.raises(TopDownError, match="E_RANGE"):
        optim.AdadeltaEpsDecay(adadelta(), **options)


def test_needs_an_eps():
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(TopDownError, match="SGD has no eps"):
        optim.AdadeltaEpsDecay(sgd)


def options(**changes):
    base = dict(optim="adadelta", scheduler=None, scheduler_conf={})
    base.update(adadelta_eps_decay=0.01, val_scheduler_criterion=("valid", "loss"))
    return argparse.Namespace(**{**base, **changes})


def test_option():
    args = options()
    optim.use_eps_decay(args)
    optim.use_eps_decay(args)
    assert args.scheduler == optim.NAME
    assert args.scheduler_conf == {"factor": 0.01, "mode": "min"}
    args = options(val_scheduler_criterion=("valid", "acc"))
    optim.use_eps_decay(args)
    assert args.scheduler_conf["mode"] == "max"
    args = options(adadelta_eps_decay=0.0)
    optim.use_eps_decay(args)
    assert args.scheduler is None


@pytest.mark.parametrize("changes", [{"optim": "adam"}, {"scheduler": "steplr"}])
def test_option_refused(changes):
    with pytest.raises(TopDownError, match="E_RANGE.*adadelta"):
        optim.use_eps_decay(options(**changes))


@pytest.mark.espnet
def test_in_a_training(train):
    changes = dict(adadelta_eps_decay=0.1, val_scheduler_criterion=["train", "loss"])
    changes.update(optim_conf={"lr": 1.0, "eps": 1e-2})
    folder = train(max_epoch=3, **changes)
    state = torch.load(folder / "checkpoint.pth", weights_only=False)
    assert set(state["schedulers"][0]) == {"best", "bad"}
    train(max_epoch=4, **changes)
