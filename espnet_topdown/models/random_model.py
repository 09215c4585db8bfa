"""A model as it is before its first step: the control for a trained classifier."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_yaml
from espnet_topdown.models.layers import stack_for
from espnet_topdown.models.tasks import find_task
from espnet_topdown.models.weights import save_weights


def random_model(exp: Path, seed: int, output: Path) -> str:
    """Write the initial weights that an experiment's config gives with a seed.

    Returns:
        The file's digest; the same config and seed give the same weights.
    """
    config = read_yaml(Path(exp) / "config.yaml")
    try:
        kind = stack_for(config).task
    except TopDownError:  # a stack of the user's own: they are for speech so far
        kind = "asr"
    task = find_task(kind).call("task")
    torch.manual_seed(seed)
    model = task.build_model(argparse.Namespace(**config))
    return save_weights(model.state_dict(), Path(output))
