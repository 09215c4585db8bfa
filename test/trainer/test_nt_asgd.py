"""SGD with a second mode, and when it begins."""

from __future__ import annotations

import copy

import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer.nt_asgd import NTASGD, NonMonotone

pytestmark = pytest.mark.espnet


def steps(optimizer, p, values) -> list:
    """One update for each gradient; returns the iterates."""
    found = []
    for value in values:
        p.grad = torch.full_like(p, value)
        optimizer.step()
        found.append(p.detach().clone())
    return found


def parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.arange(3.0))


def test_first_mode_is_sgd() -> None:
    a, b = parameter(), parameter()
    ours = NTASGD([a], lr=0.5, weight_decay=0.1)
    theirs = torch.optim.SGD([b], lr=0.5, weight_decay=0.1)
    assert torch.equal(steps(ours, a, [1.0, -2.0])[1], steps(theirs, b, [1.0, -2.0])[1])


def test_scale_is_of_the_learning_rate_only() -> None:
    a, b = parameter(), parameter()
    ours, half = NTASGD([a], lr=0.5), NTASGD([b], lr=0.25)
    ours.scale = 0.5
    assert torch.equal(steps(ours, a, [1.0])[0], steps(half, b, [1.0])[0])


def test_mean_is_of_all_iterates_since_the_start() -> None:
    p = parameter()
    optimizer = NTASGD([p], lr=0.1)
    steps(optimizer, p, [1.0])
    optimizer.show_average()  # nothing to show yet
    optimizer.start_average()
    later = steps(optimizer, p, [1.0, 2.0, 3.0])
    optimizer.show_average()
    optimizer.show_average()  # twice is once
    assert torch.allclose(p, torch.stack(later).mean(0))
    optimizer.show_iterate()
    assert torch.equal(p, later[-1])


def test_frozen_parameters_have_no_state() -> None:
    p, frozen = parameter(), parameter().requires_grad_(False)
    optimizer = NTASGD([p, frozen], lr=0.1)
    optimizer.start_average()
    steps(optimizer, p, [1.0])
    optimizer.show_average()
    assert frozen not in optimizer.state or not optimizer.state[frozen]
    assert torch.equal(frozen, torch.arange(3.0))


def test_state_goes_through_a_file(tmp_path) -> None:
    p = parameter()
    optimizer = NTASGD([p], lr=0.1)
    optimizer.start_average()
    steps(optimizer, p, [1.0, 2.0])
    optimizer.show_average()
    saved = {"p": p.detach().clone(), "o": optimizer.state_dict()}
    torch.save(saved, tmp_path / "c.pth")
    state = torch.load(tmp_path / "c.pth", weights_only=True)
    q = torch.nn.Parameter(state["p"])
    other = NTASGD([q], lr=0.1)
    other.load_state_dict(state["o"])
    for o in (optimizer, other):
        o.show_iterate()
    assert other.averages
    assert torch.equal(steps(optimizer, p, [3.0])[0], steps(other, q, [3.0])[0])
    optimizer.show_average(), other.show_average()
    assert torch.equal(p, q)


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
        (1, [5, float("nan"), float("nan")], 3),
    ],
)
def test_when_averaging_begins(n, values, at) -> None:
    optimizer = NTASGD([parameter()], lr=0.1)
    schedule, begun = NonMonotone(optimizer, n), None
    for i, value in enumerate(values, 1):
        schedule = copy.copy(schedule)  # as after a resume
        fresh = NonMonotone(optimizer, n)
        fresh.load_state_dict(schedule.state_dict())
        schedule = fresh
        schedule.step(value)
        begun = begun or (i if optimizer.averages else None)
    assert begun == at


def test_bad_settings() -> None:
    with pytest.raises(TopDownError, match="E_RANGE"):
        NonMonotone(NTASGD([parameter()], lr=0.1), 0)
    with pytest.raises(TopDownError, match="use optim: nt_asgd"):
        NonMonotone(torch.optim.SGD([parameter()], lr=0.1))
    with pytest.raises(TopDownError, match="E_RANGE"):
        NTASGD([parameter()], lr=0.0)
