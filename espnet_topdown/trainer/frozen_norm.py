"""Frozen normalisation layers keep their statistics.

``requires_grad = False`` stops the weights of a BatchNorm but not its running mean and
variance, and ESPnet's trainer calls ``model.train()`` at every epoch. A frozen layer
would then drift. Here such layers are put back in eval mode before each use.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch


def keep_in_eval(model: torch.nn.Module) -> list[str]:
    """Hold every frozen module that has running statistics in eval mode.

    A module is frozen when it has parameters and none is trained; one without
    parameters (``affine=False``) when that holds for the module that contains it.

    Returns:
        The names of those modules.
    """
    names = list(frozen_norms(model))
    for name in names:
        model.get_submodule(name).register_forward_pre_hook(_to_eval)
    return names


def frozen_norms(model: torch.nn.Module) -> Iterator[str]:
    """Names of the frozen modules that have running statistics."""
    for name, module in model.named_modules():
        if not has_statistics(module):
            continue
        params = list(module.parameters())
        if not params and "." in name:
            params = list(model.get_submodule(name.rpartition(".")[0]).parameters())
        if params and not any(p.requires_grad for p in params):
            yield name


def has_statistics(module: torch.nn.Module) -> bool:
    """Whether the module itself gathers running statistics while it is trained."""
    own = dict(module.named_buffers(recurse=False))
    return any(n.startswith("running_") and b is not None for n, b in own.items())


def _to_eval(module: torch.nn.Module, inputs: object) -> None:
    module.eval()
