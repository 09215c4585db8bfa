"""Keep some layers of every epoch as small files: ``harvest/<epoch>.pth``.

A classifier of each epoch is a few kilobytes where a model is many megabytes. A file is
written before the epoch's checkpoint, so that every epoch that a training can go on
from has one; an epoch that is trained again writes its file again.
"""

from __future__ import annotations

from pathlib import Path

import torch

from espnet_topdown.errors import warn
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.layers import stack_for
from espnet_topdown.models.weights import save_weights
from espnet_topdown.trainer._checkpoints import remove_temporaries


class Harvest:
    """Writes some layers of a model after each of its epochs.

    Args:
        folder: The experiment; its ``config.yaml`` says which shipped stack fits.
        names: Layers, with commas.
        model: Only the names of its tensors are looked at.
        stack: A layer stack by name or as a file, where no shipped one fits.

    Raises:
        TopDownError: E_FREEZE_NOMATCH for a name that is no layer; E_STACK.
    """

    def __init__(
        self, folder: Path, names: str, model: torch.nn.Module, stack: str = ""
    ) -> None:
        self.experiment = Experiment(folder)
        spec = stack_for(self.experiment.config, stack, model.state_dict)
        layers = spec.bind(model.state_dict()).named(
            [name for name in names.split(",") if name]
        )
        self.tensors = [p for layer in layers for p in layer.params]
        place = self.experiment.harvest_file(1).parent
        place.mkdir(exist_ok=True)
        remove_temporaries(place)

    def epoch(self, epoch: int, model: torch.nn.Module) -> None:
        """Write the layers as they are after this epoch.

        Raises:
            TopDownError: E_DISK (74), E_CREATE (73).
        """
        before = self.experiment.harvest_file(epoch - 1)
        if epoch > 1 and not before.is_file():
            warn("W_HARVEST", f"no {before}: trained without --harvest, or removed")
        state = getattr(model, "module", model).state_dict()  # of several GPUs: one
        layers = {name: state[name].cpu() for name in self.tensors}
        save_weights(layers, self.experiment.harvest_file(epoch))
