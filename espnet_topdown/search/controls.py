"""Controls: trainings that show where a gain does not come from.

They begin with the seed of the first retraining and take as many epochs as it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_topdown.jobs.prepare import extend, prepare
from espnet_topdown.jobs.spec import RetrainSpec
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.search.composition import Composition

if TYPE_CHECKING:
    from espnet_topdown.models.weights import Weights

Nodes = Any  # request.Nodes, which imports this module


def control_spec(nodes: Nodes, name: str, epochs: int = 0) -> RetrainSpec:
    """The retraining of one control; those of bottom_up are ``bottom_up1`` and on."""
    request, names = nodes.request, nodes.stack.names
    spec = RetrainSpec.make(
        nodes.base,
        f"control.{name}",
        names[:1],
        nodes.seed(Composition((1, nodes.stack.n - 1))),
        nodes.spec,
        nodes.base.model_file(),
        request.trainer,
        control=name,
        overrides=nodes.overrides(),
    )
    if name == "joint":
        longer = {**spec.overrides, "max_epoch": epochs, "patience": None}
        return dataclasses.replace(
            spec, frozen_from=None, frozen=(), trainable=True, overrides=longer
        )
    if name == "warm":
        return dataclasses.replace(spec, trainable=True)
    if name == "random":
        file = write_random(nodes, names[0])
        return dataclasses.replace(spec, frozen_from=file)
    if name == "lowest":
        return dataclasses.replace(spec, frozen=names[-1:], any_order=True)
    return _bottom_up(nodes, spec, int(name[len("bottom_up") :]))


def _bottom_up(nodes: Nodes, spec: RetrainSpec, frozen: int) -> RetrainSpec:
    """Algorithm 1 upside down: the ``frozen`` lowest layers of the step before."""
    source = spec.frozen_from
    if frozen > 1:
        before = nodes.folder(f"control.bottom_up{frozen - 1}")
        source = type(nodes.base)(before).model_file()
    seed = nodes.seed(Composition((1,) * frozen + (nodes.stack.n - frozen,)))
    lowest = nodes.stack.names[-frozen:]
    return dataclasses.replace(
        spec, frozen_from=source, frozen=lowest, any_order=True, seed=seed
    )


def next_bottom_up(errors: dict[str, float], root: float, most: int) -> str:
    """The next model of the chain, "" at its end.

    >>> next_bottom_up({}, 9, 3), next_bottom_up({"bottom_up1": 8}, 9, 3)
    ('bottom_up1', 'bottom_up2')
    >>> next_bottom_up({"bottom_up1": 10}, 9, 3)
    ''
    """
    chain = [root]
    for k in range(1, most + 1):
        name = f"bottom_up{k}"
        if name not in errors:
            return name
        if errors[name] > chain[-1]:
            return ""
        chain.append(errors[name])
    return ""


def write_random(nodes: Nodes, layer: str) -> Path:
    """A file with random values for one layer, written once; returns its path.

    Weights and biases are uniform in plus or minus 1 / sqrt(inputs), which is how
    PyTorch begins a linear layer. The seed is that of the first retraining.
    """
    from espnet_topdown.models.weights import save_weights

    path = nodes.folder("control.random") / "random.pth"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        names = nodes.stack.named((layer,))[0].params
        base: dict[str, Any] = nodes.base.weights()
        seed = nodes.seed(Composition((1, nodes.stack.n - 1)))
        save_weights(random_values({n: base[n] for n in names}, seed), path)
    return path


def random_values(like: Weights, seed: int) -> Weights:
    """Random tensors of the same shapes and types; integers are copied."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    matrices = {n: t for n, t in like.items() if t.dim() > 1}
    inputs = {n.rpartition(".")[0]: t.shape[1:].numel() for n, t in matrices.items()}
    found = {}
    for name, value in like.items():
        if not value.is_floating_point():
            found[name] = value.clone()
            continue
        fan = inputs.get(name.rpartition(".")[0]) or max(1, value.numel())
        bound = 1 / math.sqrt(fan)
        uniform = torch.rand(value.shape, generator=draw) * 2 * bound - bound
        found[name] = uniform.to(value.dtype)
    return found


Errors = Mapping[Composition, float]


def sure_epochs(nodes: Nodes, errors: Errors) -> int:
    """Epochs that the path will have at least: the base's and one retraining's."""
    base = nodes.base
    first = (nodes.space.children(nodes.space.root) or [nodes.space.root])[0]
    if first in errors and first.parent:
        more = Experiment(nodes.folder(str(first))).last_epoch
    else:
        more = nodes.max_epoch
        patience = base.config.get("patience")
        if patience is not None:  # it cannot stop earlier
            more = min(more, int(patience) + 2)
    return base.last_epoch + more


def path_epochs(nodes: Nodes, errors: Errors, best: Composition) -> int:
    """Epochs of all trainings from the base to the best model."""
    path = [c for c in best.ancestry if c.parent]
    if not path:  # nothing was gained: as much as the rejected retraining had
        path = [c for c in errors if c.parent == nodes.space.root][:1]
    trained = [Experiment(nodes.folder(str(c))).last_epoch for c in path]
    return nodes.base.last_epoch + sum(trained)


def prepare_joint(nodes: Nodes, epochs: int) -> None:
    """Prepare control joint, or raise the number of its epochs."""
    folder = nodes.folder("control.joint")
    prepare(nodes.control("joint", epochs), folder)
    extend(folder, epochs)
