"""A resumed training is the uninterrupted one, bit for bit: four encoders.

Every tensor of every model file and of the optimizer is compared, with no tolerance.
The controls take away one cause at a time, and the comparison must notice each.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tones import RATE
from trained_state import ENCODERS, differing, options, state

from espnet_topdown.trainer import _checks as checks
from espnet_topdown.trainer import trainer

pytestmark = pytest.mark.espnet
nightly = pytest.mark.nightly
Patch = Callable[[pytest.MonkeyPatch], Any]


def resumed(train: Callable, patch: Any = None, **conf: Any) -> tuple[dict, dict]:
    """A whole training of 3 epochs, and one in two parts; ``patch`` holds for both."""
    with pytest.MonkeyPatch.context() as context:
        if patch:
            patch(context)
        whole = state(train("whole", max_epoch=3, **conf))
    with pytest.MonkeyPatch.context() as context:
        if patch:
            patch(context)
        train("parts", max_epoch=1, **conf)
        if patch:
            patch(context)
        parts = state(train("parts", max_epoch=3, **conf))
    assert len(whole) > 20
    return whole, parts


PLATEAU = {  # as the prompts' recipe has it; here no epoch is called a better one
    "optim": "adam",
    "optim_conf": {"lr": 0.01},
    "scheduler": "warmupreducelronplateau",
    "scheduler_conf": {"warmup_steps": 3, "patience": 0, "threshold": 100.0},
    "val_scheduler_criterion": ["valid", "loss"],
}
TRAININGS = {name: options(name) for name in ENCODERS}
TRAININGS["rnn with a plateau"] = options("rnn", **PLATEAU)
DECAY = {"adadelta_eps_decay": 0.01, "val_scheduler_criterion": ["valid", "loss"]}
TRAININGS["rnn with AdaDelta's eps lowered"] = options("rnn", **DECAY)


NAMES = [pytest.param(n, marks=() if n == "rnn" else nightly) for n in TRAININGS]


@pytest.mark.parametrize("name", NAMES)
def test_identical(train, name):
    whole, parts = resumed(train, **TRAININGS[name])
    assert differing(whole, parts) == []


@pytest.fixture
def noise(tmp_path: Path) -> dict[str, Any]:
    """Random noise is added to every sound."""
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, 4 * RATE)
    soundfile.write(tmp_path / "noise.wav", sound, RATE)
    (tmp_path / "noise.scp").write_text(f"noise {tmp_path / 'noise.wav'}\n")
    more = {"noise_scp": str(tmp_path / "noise.scp"), "noise_apply_prob": 1.0}
    return options("rnn", noise_db_range="0_20", **more)


@nightly
def test_identical_with_noise(train, noise):
    whole, parts = resumed(train, **noise)
    assert differing(whole, parts) == []


def gradients_left_over(context: pytest.MonkeyPatch) -> None:
    """No zero_grad at the epoch's start, with accum_grad 2 of 3 batches."""
    from espnet2.tasks import abs_task

    class NotZeroed(torch.optim.Adadelta):
        def zero_grad(self, *args, **kwargs):
            if inspect.stack()[1].filename != trainer.__file__:
                super().zero_grad(*args, **kwargs)

    context.setitem(abs_task.optim_classes, "adadelta", NotZeroed)


def no_optimizer_state(context: pytest.MonkeyPatch) -> None:
    context.setattr(torch.optim.Adadelta, "load_state_dict", lambda self, state: None)


def no_scheduler_state(context: pytest.MonkeyPatch) -> None:
    from espnet2.schedulers.warmup_lr import WarmupLR

    context.setattr(WarmupLR, "load_state_dict", lambda self, state: None)


def no_plateau(context: pytest.MonkeyPatch) -> None:
    from espnet2.schedulers.warmup_reducelronplateau import WarmupReduceLROnPlateau

    context.setattr(WarmupReduceLROnPlateau, "load_state_dict", lambda *args: None)


def no_random_state(context: pytest.MonkeyPatch) -> None:
    """The generators are not set by the epoch's number: they go on as they are."""
    from espnet2.train import trainer as stock

    context.setattr(stock, "set_all_random_seed", lambda seed: None)


def order_by_this_run(context: pytest.MonkeyPatch) -> None:
    """Batches are shuffled by how many epochs this process has seen."""
    from espnet2.iterators.sequence_iter_factory import SequenceIterFactory as Factory

    context.undo()  # of the first part
    build, seen = Factory.build_iter, {}

    def counted(self, epoch, shuffle=None):
        seen[id(self)] = seen.get(id(self), 0) + 1
        return build(self, seen[id(self)], shuffle)

    context.setattr(Factory, "build_iter", counted)


def no_weights(context: pytest.MonkeyPatch) -> None:
    """The model begins anew, the rest is restored."""
    from espnet2.asr.espnet_model import ESPnetASRModel

    context.setattr(ESPnetASRModel, "load_state_dict", lambda *args, **more: None)


SIX = options("rnn", batch_size=1, accum_grad=1)  # batches an epoch
CONTROLS: dict[str, tuple[Patch, dict[str, Any]]] = {
    "gradients left over": (gradients_left_over, options("rnn")),
    "optimizer state not restored": (no_optimizer_state, options("rnn")),
    "scheduler state not restored": (no_scheduler_state, options("transformer")),
    "plateau not restored": (no_plateau, TRAININGS["rnn with a plateau"]),
    "random generators not set": (no_random_state, options("rnn")),
    "another order of batches": (order_by_this_run, SIX),
    "weights not restored": (no_weights, options("rnn")),
}


@nightly
@pytest.mark.parametrize("name", CONTROLS)
def test_control(train, name):
    patch, conf = CONTROLS[name]
    assert differing(*resumed(train, patch, **conf))


@nightly
def test_control_cache(train, noise):
    """A cache keeps what the first epoch after a start has drawn; we refuse it."""

    def allowed(context: pytest.MonkeyPatch) -> None:
        context.delitem(checks.CHECKS, checks._no_cached_noise, raising=False)

    with pytest.raises(Exception, match="E_CACHE_AUG"):
        train("refused", max_epoch=1, max_cache_size=1.0, **noise)
    whole, parts = resumed(train, allowed, max_cache_size=1.0, **noise)
    assert differing(whole, parts)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@nightly
def test_control_threads(train, threads):
    """A convolution's gradient is a sum in as many parts as there are threads."""
    conf = options("vgg_rnn", batch_size=6, num_workers=0)
    found = []
    for n in (1, 2):
        threads(n)
        found.append(state(train(f"threads{n}", max_epoch=2, **conf)))
    assert differing(*found)


@nightly
def test_control_another_seed(train):
    conf = options("rnn")
    one, two = (state(train(f"s{s}", max_epoch=1, seed=s, **conf)) for s in (1, 5))
    assert len(differing(one, two)) > len(one) / 3


@nightly
def test_control_one_bit(train):
    one = state(train("one", max_epoch=1, **options("rnn")))
    name = next(n for n in one if n.startswith("1epoch"))
    two = {**one, name: bytes([one[name][0] ^ 1]) + one[name][1:]}
    assert differing(one, two) == [name]
