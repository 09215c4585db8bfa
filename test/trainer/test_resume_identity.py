"""A resumed training is the uninterrupted one, bit for bit: four encoders.

Every tensor of every model file and of the optimizer is compared, with no tolerance.
The negative controls show that the comparison can fail.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from espnet_topdown.trainer import trainer
from espnet_topdown.weights import read_checkpoint

pytestmark = [pytest.mark.espnet, pytest.mark.slow]
RNN = {"num_layers": 1, "hidden_size": 4, "output_size": 4}
BLOCKS = {"num_blocks": 1, "output_size": 8, "attention_heads": 2, "linear_units": 8}
ENCODERS: dict[str, dict[str, Any]] = {
    "rnn": {"encoder": "rnn", "encoder_conf": {**RNN, "dropout": 0.3}},
    "vgg_rnn": {"encoder": "vgg_rnn", "encoder_conf": RNN},
    "transformer": {
        "encoder": "transformer",
        "encoder_conf": {**BLOCKS, "dropout_rate": 0.3},
    },
    "conformer": {
        "encoder": "conformer",
        "encoder_conf": {**BLOCKS, "cnn_module_kernel": 3},
    },
}
SETTINGS: dict[str, dict[str, Any]] = {
    "rnn": {"optim": "adadelta", "accum_grad": 2},
    "vgg_rnn": {"optim": "adam", "optim_conf": {"lr": 0.01}, "num_workers": 1},
    "transformer": {
        "optim": "adam",
        "optim_conf": {"lr": 0.01},
        "scheduler": "warmuplr",
        "scheduler_conf": {"warmup_steps": 5},
    },
    "conformer": {"optim": "sgd", "optim_conf": {"lr": 0.01}, "num_iters_per_epoch": 2},
}
MASKS = {"apply_time_warp": False, "apply_time_mask": False, "freq_mask_width_range": 3}


def tensors(value: Any, name: str = "") -> dict[str, bytes]:
    """Every tensor and number of a checkpoint, by its place; times are left out."""
    if isinstance(value, torch.Tensor):
        return {name: value.numpy().tobytes()}
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, (list, tuple)):
        items = list(enumerate(value))
    else:
        return {} if "time" in name else {name: repr(value).encode()}
    found = {}
    for key, inner in items:
        found.update(tensors(inner, f"{name}/{key}"))
    return found


def state(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("*epoch.pth")):
        found.update(tensors(torch.load(path, weights_only=True), path.name))
    saved = read_checkpoint(folder / "checkpoint.pth")
    for key in ("model", "optimizers", "schedulers"):
        found.update(tensors(saved[key], key))
    return found


def differing(a: dict[str, bytes], b: dict[str, bytes]) -> list[str]:
    return sorted(n for n in a.keys() | b.keys() if a.get(n) != b.get(n))


def options(encoder: str, **more: Any) -> dict[str, Any]:
    specaug = {"specaug": "specaug", "specaug_conf": MASKS}
    return {**ENCODERS[encoder], **SETTINGS[encoder], **specaug, **more}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_identical(train, encoder):
    conf = options(encoder, allow_infeasible=True)
    whole = state(train("whole", max_epoch=3, **conf))
    train("parts", max_epoch=1, **conf)
    parts = state(train("parts", max_epoch=3, **conf))
    assert len(whole) > 20
    assert differing(whole, parts) == []


def test_control_gradients_left_over(train, monkeypatch):
    """Without zero_grad at the epoch's start, accum_grad 2 of 3 batches differs."""

    class NotZeroed(torch.optim.Adadelta):
        def zero_grad(self, *args, **kwargs):
            import inspect

            caller = inspect.stack()[1]
            if caller.filename != trainer.__file__:
                super().zero_grad(*args, **kwargs)

    from espnet2.tasks import abs_task

    monkeypatch.setitem(abs_task.optim_classes, "adadelta", NotZeroed)
    conf = options("rnn")
    whole = state(train("whole", max_epoch=3, **conf))
    train("parts", max_epoch=1, **conf)
    assert differing(whole, state(train("parts", max_epoch=3, **conf)))


def test_control_another_seed(train):
    conf = options("rnn")
    one, two = (state(train(f"s{s}", max_epoch=1, seed=s, **conf)) for s in (1, 5))
    assert len(differing(one, two)) > len(one) / 3


def test_control_one_bit(train):
    one = state(train("one", max_epoch=1, **options("rnn")))
    name = next(n for n in one if n.startswith("1epoch"))
    two = {**one, name: bytes([one[name][0] ^ 1]) + one[name][1:]}
    assert differing(one, two) == [name]
