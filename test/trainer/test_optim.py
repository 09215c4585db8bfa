"""AdaDelta's eps, SGD that averages, and when each schedule acts; both resume."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from espnet_topdown.trainer._optim import NTASGD, AdadeltaEpsDecay, NonMonotone

pytestmark = pytest.mark.espnet


def parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.arange(3.0))


def follow(kind, optimizer, values, **options) -> None:
    """Give a schedule its values; it is made anew and restored before each."""
    state = None
    for value in values:
        schedule = kind(optimizer, **options)
        if state is not None:
            schedule.load_state_dict(copy.deepcopy(state))
        schedule.step(value)
        state = schedule.state_dict()


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
    ],
    ids=str,
)
def test_eps_decays_when_the_value_gets_worse(values, options, exponent):
    optimizer = torch.optim.Adadelta([parameter()], eps=1.0)
    follow(AdadeltaEpsDecay, optimizer, values, factor=0.5, **options)
    assert optimizer.param_groups[0]["eps"] == 0.5**exponent


@pytest.mark.parametrize(
    "n, values, at",
    [
        (1, [5, 4, 3, 2], None),
        (1, [5, 4, 4.5], None),  # the last n are left out of the best
        (1, [5, 4, 4.5, 4.2], 4),
        (2, [5, 4, 4.5, 4.2, 4.1], 5),
        (5, [9, 8, 7, 6, 5, 10], None),
        (5, [9, 8, 7, 6, 5, 4, 10], 7),
        (5, [9, 8, 7, 6, 5], None),
        (1, [5, math.nan, math.nan], 3),
    ],
)
def test_when_averaging_begins(n, values, at):
    for end in range(1, len(values) + 1):
        optimizer = NTASGD([parameter()], lr=0.1)
        follow(NonMonotone, optimizer, values[:end], n=n)
        assert optimizer.param_groups[0]["average"] is (at is not None and end >= at)


@pytest.mark.parametrize("key, mode", [("loss", "min"), ("acc", "max")])
def test_the_option_becomes_a_schedule_which_is_resumed(train, key, mode):
    changes = dict(adadelta_eps_decay=0.1, val_scheduler_criterion=["train", key])
    if key == "acc":  # the mode is known before the training begins
        changes.update(decoder="rnn", model_conf={"ctc_weight": 0.5})
    changes.update(optim_conf={"lr": 1.0, "eps": 1e-2})
    for max_epoch in (2, 3):
        folder = train(max_epoch=max_epoch, **changes)
    state = torch.load(folder / "checkpoint.pth", weights_only=False)
    assert set(state["schedulers"][0]) == {"best"}
    config = (folder / "config.yaml").read_text()
    assert f"scheduler_conf:\n    factor: 0.1\n    mode: {mode}\n" in config


def steps(optimizer, p, values) -> list[torch.Tensor]:
    """One update for each gradient; returns the iterates."""
    found = []
    for value in values:
        p.grad = torch.full_like(p, value)
        optimizer.step()
        found.append(p.detach().clone())
    return found


def test_the_mean_is_of_all_iterates_since_the_start():
    """How it is resumed is in test_lm_task.py."""
    p, frozen = parameter(), parameter().requires_grad_(False)
    optimizer = NTASGD([p, frozen], lr=0.1)
    steps(optimizer, p, [1.0])
    optimizer.show_average()  # nothing to show yet
    optimizer.start_average()
    later = steps(optimizer, p, [1.0, 2.0])
    for _ in range(2):  # twice is once
        optimizer.show_average()
    assert torch.allclose(p, torch.stack(later).mean(0))
    assert not optimizer.state.get(frozen) and torch.equal(frozen, torch.arange(3.0))
    optimizer.show_iterate()
    assert torch.equal(p, later[-1])
