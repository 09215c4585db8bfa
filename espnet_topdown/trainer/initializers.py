"""Initial values that ESPnet's ``--init`` does not have."""

from __future__ import annotations

import torch


def uniform(model: torch.nn.Module, bound: float) -> int:
    """Draw weights and biases from U(-bound, bound), as the paper's CTC models do.

    Normalisation layers keep their own initial values: around 0 they would switch
    their input off.

    Returns:
        How many tensors were drawn, in the order of ``named_parameters``.
    """
    drawn = 0
    norms = _norm_parameters(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if id(parameter) not in norms:
                parameter.uniform_(-bound, bound)
                drawn += 1
    return drawn


def _norm_parameters(model: torch.nn.Module) -> set[int]:
    norms = [m for m in model.modules() if "Norm" in type(m).__name__]
    return {id(p) for m in norms for p in m.parameters(recurse=False)}
