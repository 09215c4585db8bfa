"""Where the layers that are not frozen begin. The paper's answer is: at new values.

``full``         as the joint training began (Algorithm 1): at new random values, or
                 at those of a file where the base's init_param names one
``random``       at new random values, whatever the base began with
``keep``         the values of the model that supplies the frozen layers
``shrink:L,S``   L times these values, plus noise of S times each tensor's deviation
``rewind:EPOCH`` the joint model's values after that epoch
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_topdown.errors import DATA, MISSING, TopDownError
from espnet_topdown.models.layers import is_statistic

if TYPE_CHECKING:
    from espnet_topdown.models.checkpoint import Header
    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.models.weights import Weights


@dataclass(frozen=True)
class Reinit:
    """A parsed ``--reinit``."""

    kind: str = "full"
    scale: float = 1.0
    noise: float = 0.0
    epoch: int = 0

    @classmethod
    def parse(cls, text: str) -> Reinit:
        """Read the option.

        >>> Reinit.parse("shrink:0.4,0.1").scale, Reinit.parse("rewind:7").epoch
        (0.4, 7)

        Returns:
            The rule.

        Raises:
            TopDownError: E_RANGE (78).
        """
        number = r"(\d+\.?\d*)"
        if text in ("full", "random", "keep"):
            return cls(text)
        if found := re.fullmatch(f"shrink:{number},{number}", text):
            return cls("shrink", float(found[1]), float(found[2]))
        if found := re.fullmatch(r"rewind:([1-9]\d*)", text):
            return cls("rewind", epoch=int(found[1]))
        what = f"--reinit '{text}' is not understood"
        do = "give full, random, keep, shrink:0.4,0.1 or rewind:EPOCH"
        raise TopDownError("E_RANGE", what, do)

    @property
    def from_trained(self) -> bool:
        """Whether it begins at values of a trained model."""
        return self.kind not in ("full", "random")

    def values(self, source: Weights, header: Header, seed: int) -> Weights:
        """The starting values of these tensors; the same seed gives the same noise.

        Args:
            source: Tensor -> its value in the trained model.
            header: Of the tensors.
            seed: Of the noise (``shrink``).

        Returns:
            Tensor -> its first value.

        Raises:
            TopDownError: E_SHAPE_MISMATCH when ``source`` lacks one, as a harvest does,
                or has it in another size, as another model may.
        """
        import torch

        draw = torch.Generator().manual_seed(seed)
        found = {}
        for name, info in header.items():
            if name not in source or tuple(source[name].shape) != info.shape:
                what = f"--reinit {self.kind}: no {name} of shape {info.shape} in the "
                what += "file of weights"
                do = "take an epoch, or a model, that has all weights in this size"
                raise TopDownError("E_SHAPE_MISMATCH", what, do, DATA)
            value = source[name]
            is_weight = value.is_floating_point() and not is_statistic(name)
            if self.kind == "shrink" and is_weight and value.dim():
                spread = value.float().std(unbiased=False)
                noise = torch.randn(value.shape, generator=draw) * spread
                mixed = self.scale * value.float() + self.noise * noise
                value = mixed.to(value.dtype)
            found[name] = value.clone()
        return found


def classifier_file(base: Experiment, epoch: int) -> Path:
    """The file with the classifier of one epoch of joint training.

    Args:
        base: The joint training.
        epoch: From 1.

    Returns:
        A file of weights that has at least the classifier.

    Raises:
        TopDownError: E_HARVEST (66), which epochs there are.
    """
    path = base.epoch_files.get(epoch, base.harvest_file(epoch))
    if path.is_file():
        return path
    harvest = base.harvest_file(epoch).parent
    kept = {int(p.stem) for p in harvest.glob("*.pth") if p.stem.isdigit()}
    have = ", ".join(map(str, sorted(kept | set(base.epoch_files)))) or "none"
    what = f"{base.folder} has no weights of epoch {epoch}; it has {have}"
    do = "ask for one of these, or train the joint model with --harvest"
    raise TopDownError("E_HARVEST", what, do, MISSING)
