"""Two parts at the same time: values, gradients, threads, errors."""

from __future__ import annotations

import threading

import pytest
import torch

from espnet_topdown.trainer.fast.side_by_side import side_by_side


@pytest.fixture(autouse=True)
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def sine(x, w):
    return x.sin() * w, w * 2


def product(x, w):
    return x @ x.t(), w.exp()


@pytest.mark.parametrize("x_grad", [True, False])
@pytest.mark.parametrize("w_grad", [True, False])
@pytest.mark.parametrize("used", [(0, 1, 2, 3), (0,), (3,), (1, 2)], ids=str)
def test_gradients_are_those_of_one_after_the_other(x_grad, w_grad, used):
    torch.manual_seed(0)
    inputs = torch.randn(3, 3).double(), torch.randn(3).double()
    results = []
    for together in (False, True):
        x = inputs[0].clone().requires_grad_(x_grad)
        w = inputs[1].clone().requires_grad_(w_grad)
        parts, given = (sine, product), [(x, w), (x, w)]
        if together:
            found = side_by_side(parts, given)
        else:
            found = [part(*tensors) for part, tensors in zip(parts, given)]
        flat = [t for tensors in found for t in tensors]
        total = sum(flat[i].sum() for i in used)
        if total.requires_grad:
            total.backward()
        results.append([*flat, x.grad, w.grad])
    for a, b in zip(*results):
        assert (a is None or not a.any()) == (b is None or not b.any())
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


def test_at_the_same_time_with_half_of_the_threads_each():
    meet, seen = threading.Barrier(2, timeout=30), []

    def part(x):
        meet.wait()  # fails if the other part does not run now
        seen.append(torch.get_num_threads())
        return (x * 2,)

    with torch.no_grad():
        side_by_side([part, part], [(torch.ones(1),), (torch.ones(1),)])
    assert seen == [2, 2]
    assert torch.get_num_threads() == 4
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [4]


def test_no_grad_reaches_the_parts():
    x = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        found = side_by_side([sine, sine], [(x, x), (x, x)])
    assert not any(t.requires_grad for tensors in found for t in tensors)


def test_an_error_of_a_part_is_raised():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        side_by_side([product, lambda x, w: (x @ x, w)], [(torch.ones(2, 3),) * 2] * 2)


def test_changed_inputs_are_noticed():
    x = torch.ones(2, requires_grad=True)
    w = x * 1
    found = side_by_side([sine, sine], [(x, w), (x, w)])
    w.detach().add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found[0][0].sum().backward()


def test_the_threads_outlive_the_main_one():
    # one that ends while Python ends aborts the process: it lets go of Python objects
    side_by_side([sine, product], [(torch.ones(2, 2), torch.ones(2))] * 2)
    found = [t for t in threading.enumerate() if t.name.startswith("side_")]
    assert len(found) >= 2
    assert all(t.daemon for t in found)
