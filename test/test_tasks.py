"""Kinds of models are data; everything they name exists."""

from __future__ import annotations

import importlib.util

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.models.layers import load_stack, shipped
from espnet_topdown.models.tasks import find_task, read_tasks


@pytest.mark.parametrize("name", sorted(read_tasks()))
def test_modules_exist(name: str) -> None:
    task = find_task(name)
    for where in (task.trainer, task.task, task.check, task.score):
        assert importlib.util.find_spec(where.partition(":")[0]), where
    assert task.counted in ("errors", "nats")


def test_every_stack_has_a_task() -> None:
    found = {name: load_stack(name).task for name in shipped()}
    assert set(found.values()) <= set(read_tasks())
    assert found["lm_awd_lstm"] == "lm" and found["asr_rnn"] == "asr"


def test_unknown_task() -> None:
    with pytest.raises(TopDownError, match="E_STACK.*nearest: asr"):
        find_task("asrr")
