"""Controls: trainings that show where a gain does not come from.

They begin with the seed of the first retraining and take as many epochs as it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_topdown.files import read_yaml
from espnet_topdown.jobs.prepare import extend, prepare
from espnet_topdown.jobs.spec import RetrainSpec
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.layers import is_statistic
from espnet_topdown.records import DONE
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.request import Search
from espnet_topdown.search.strategies import STRATEGIES, Errors

if TYPE_CHECKING:
    from espnet_topdown.models.weights import Weights

# Of ESPnet's schedulers (202511, 202611): options that are a length in steps or epochs.
# Those of a warm-up stay, and so does a plateau's patience.
_LENGTHS = (
    "T_max",  # CosineAnnealingLR
    "T_0",  # CosineAnnealingWarmRestarts
    "epochs",  # OneCycleLR
    "first_cycle_steps",  # CosineAnnealingWarmupRestarts
    "max_steps",  # TristageLR
    "milestones",  # MultiStepLR
    "step_size",  # StepLR, WarmupStepLR
    "total_steps",  # ExponentialDecayWarmup, OneCycleLR
)


def control_spec(search: Search, name: str, epochs: int = 0) -> RetrainSpec:
    """The training of one control.

    Args:
        search: Whose gain is looked into.
        name: One of ``strategies.CONTROLS``; of bottom_up ``bottom_up1`` and on.
        epochs: Of control joint.

    Returns:
        What is trained.
    """
    names, first = search.stack.names, Composition((1, search.stack.n - 1))
    spec = dataclasses.replace(
        search.candidate(first), name=f"control.{name}", control=name
    )
    if name.startswith("bottom_up"):
        return _bottom_up(search, spec, int(name[len("bottom_up") :]))
    change: dict[str, Any] = {"frozen_from": None, "frozen": ()}  # joint, long, restart
    change |= {"reinit": "full", "start_from": None}
    if name == "warm":
        change = {"trainable": True}
    elif name == "random":
        change = {"frozen_from": _write_random(search, names[0], spec.seed)}
    elif name == "lowest":
        change = {"frozen": names[-1:], "any_order": True}
    elif name == "restart":
        change.update(reinit="keep", start_from=spec.frozen_from)
    elif name in ("joint", "long"):
        longer = {**spec.overrides, "max_epoch": epochs, "patience": None}
        if name == "long":
            longer["max_epoch"] = 2 * int(search.base.config["max_epoch"])
            longer["scheduler_conf"] = _stretched(search.base.config, 2)
        change["overrides"] = longer
    else:
        raise ValueError(f"control {name} has no training here")
    return dataclasses.replace(spec, **change)


def _stretched(config: Mapping[str, Any], times: int) -> dict[str, Any]:
    """The options of a training's scheduler, for that many times as many epochs.

    >>> conf = {"max_steps": 900, "warmup_ratio": 0.1}
    >>> _stretched({"scheduler": "tristagelr", "scheduler_conf": conf}, 2)
    {'max_steps': 1800, 'warmup_ratio': 0.1}

    Returns:
        The options.
    """
    conf = dict(config.get("scheduler_conf") or {})
    for key in _LENGTHS:
        if isinstance(conf.get(key), list):
            conf[key] = [times * length for length in conf[key]]
        elif conf.get(key) is not None:
            conf[key] *= times
    if config.get("scheduler") == "exponentiallr":  # one factor an epoch
        conf["gamma"] **= 1 / times
    return conf


# Algorithm 1 upside down: the ``frozen`` lowest layers of the step before.
def _bottom_up(search: Search, spec: RetrainSpec, frozen: int) -> RetrainSpec:
    source = search.base.model_file()
    if frozen > 1:
        before = search.folder(f"control.bottom_up{frozen - 1}")
        source = Experiment(before).model_file()
    return dataclasses.replace(
        spec,
        **search.start(source),
        frozen_from=source,
        frozen=search.stack.names[-frozen:],
        any_order=True,
        seed=search.seed(Composition((1,) * frozen + (search.stack.n - frozen,))),
    )


def next_bottom_up(errors: Mapping[str, float], root: float, most: int) -> str:
    """The next model of the chain, "" at its end.

    >>> next_bottom_up({}, 9, 3), next_bottom_up({"bottom_up1": 8}, 9, 3)
    ('bottom_up1', 'bottom_up2')
    >>> next_bottom_up({"bottom_up1": 9}, 9, 3), next_bottom_up({"bottom_up1": 8}, 9, 1)
    ('bottom_up2', '')
    >>> next_bottom_up({"bottom_up1": 10}, 9, 3)
    ''

    Returns:
        Its name, such as ``bottom_up2``.
    """
    last = root
    for k in range(1, most + 1):
        name = f"bottom_up{k}"
        if name not in errors:
            return name
        if errors[name] > last:
            return ""
        last = errors[name]
    return ""


def _write_random(search: Search, layer: str, seed: int) -> Path:
    """A file with random values for one layer, written once; returns its path.

    Weights and biases are uniform in plus or minus 1 / sqrt(inputs), which is how
    PyTorch begins a linear layer.

    Returns:
        The file.
    """
    from espnet_topdown.models.weights import save_weights

    path = search.folder("control.random") / "random.pth"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        names = search.stack.named((layer,))[0].params
        base = search.base.weights()
        save_weights(_random_values({n: base[n] for n in names}, seed), path)
    return path


# Random tensors of the same shapes and types; integers and statistics are copied.
def _random_values(like: Weights, seed: int) -> Weights:
    import torch

    draw = torch.Generator().manual_seed(seed)
    matrices = {n: t for n, t in like.items() if t.dim() > 1}
    inputs = {n.rpartition(".")[0]: t.shape[1:].numel() for n, t in matrices.items()}
    values = dict(like)
    for name, value in like.items():
        if is_statistic(name) or not value.is_floating_point():
            continue
        fan = inputs.get(name.rpartition(".")[0]) or max(1, value.numel())
        bound = 1 / math.sqrt(fan)
        uniform = torch.rand(value.shape, generator=draw) * 2 * bound - bound
        values[name] = uniform.to(value.dtype)
    return values


def least_epochs(search: Search, errors: Errors) -> int:
    """Epochs that the path will have at least: the base's and one retraining's.

    Returns:
        Epochs, from the start of joint training.
    """
    base, space = search.base, search.space
    first = STRATEGIES[search.request.strategy](space, {space.root: 0})
    if first and errors.keys() >= {*first}:  # the path begins with one of them
        more = min(Experiment(search.folder(str(c))).last_epoch for c in first)
    else:
        more = search.max_epoch
        patience = base.config.get("patience")
        if patience is not None:  # it cannot stop earlier
            more = min(more, int(patience) + 2)
    return base.last_epoch + more


def path_epochs(search: Search, best: Composition) -> int:
    """Epochs of all trainings from the base to the best model.

    Returns:
        Epochs, from the start of joint training.
    """
    path = [c for c in best.ancestry if c.parent]
    if not path:  # nothing was gained: as much as the rejected retraining had
        path = search.space.children(search.space.root)[:1]
    trained = [Experiment(search.folder(str(c))).last_epoch for c in path]
    return search.base.last_epoch + sum(trained)


def joint_epochs(search: Search) -> int:
    """Epochs that control joint was asked for so far; 0 before the first time.

    Returns:
        Its max_epoch.
    """
    path = search.folder("control.joint") / "train.yaml"
    return int(read_yaml(path)["max_epoch"]) if path.is_file() else 0


def prepare_joint(search: Search, epochs: int) -> None:
    """Prepare control joint, or let it train on to more epochs."""
    folder = search.folder("control.joint")
    prepare(control_spec(search, "joint", epochs), folder)
    if epochs > joint_epochs(search):
        (folder / DONE).unlink(missing_ok=True)  # of a narrower request's path
        extend(folder, epochs)
