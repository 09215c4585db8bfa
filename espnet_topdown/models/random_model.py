"""A model as it is before its first step: the control for a trained classifier."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from espnet_topdown.errors import CREATE, TopDownError
from espnet_topdown.files import read_yaml
from espnet_topdown.models.tasks import find_task, kind_of
from espnet_topdown.models.weights import save_weights


def random_model(exp: Path, seed: int, output: Path) -> str:
    """Write the initial weights that an experiment's config gives with a seed.

    Returns:
        The file's digest; the same config and seed give the same weights.

    Raises:
        TopDownError: E_CREATE (73) for a file that is there; E_KIND (78).
    """
    if Path(output).exists():
        do = "give another --output, or move that file away"
        raise TopDownError("E_CREATE", f"{output} is there", do, CREATE)
    config = read_yaml(Path(exp) / "config.yaml")
    task = find_task(kind_of(config)).call("task")
    torch.manual_seed(seed)
    model = task.build_model(argparse.Namespace(**config))
    return save_weights(model.state_dict(), Path(output))
