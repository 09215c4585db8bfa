"""What one retraining is: pure data, the same for a search, a control and by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_topdown.errors import MISSING, TopDownError
from espnet_topdown.models.experiment import Experiment, experiment_of

TRAINER = "espnet_topdown.bin.asr_train"
STOCK_TRAINER = "espnet2.bin.asr_train"
AUTO = "auto"  # the trainer of the stack's task


@dataclass(frozen=True)
class RetrainSpec:
    """Everything that defines one retraining.

    Attributes:
        node: Its name and folder, e.g. "m1.4" or "control.joint".
        base_exp: The experiment whose config is reused.
        frozen_from: The file of weights that supplies the frozen layers: of the base
            experiment, of the parent's retraining, or of another model.
        frozen: Names of the frozen layers; of the copied ones if ``trainable``.
        seed: For the new initial values, the order of batches and dropout.
        stack: Name or path of the layer stack; "auto" takes the one that fits.
        trainable: Copy the layers but train them (a control).
        overrides: Options of ESPnet's trainer that differ from the base experiment.
        any_order: Allow frozen layers that are not the top ones.
        reinit: Where the other layers begin, see ``reinit.Reinit``.
        start_from: The file that supplies their values, unless reinit is "full".
    """

    node: str
    base_exp: Path
    frozen_from: Path | None
    frozen: tuple[str, ...]
    seed: int
    stack: str = "auto"
    control: str | None = None
    trainable: bool = False
    any_order: bool = False
    trainer: str = AUTO
    overrides: Mapping[str, Any] = field(default_factory=dict)
    reinit: str = "full"
    start_from: Path | None = None


def spec_by_hand(
    base_exp: Path,
    freeze: str,
    frozen_from: Path | None = None,
    seed: int | None = None,
    stack: str = "auto",
    max_epoch: int | None = None,
    any_order: bool = False,
    node: str = "plan",
) -> RetrainSpec:
    """A retraining from a command line; what is not said is as in a search."""
    base = Experiment(base_exp)
    if frozen_from is not None:
        frozen_from = source_of(frozen_from)
    return RetrainSpec(
        node=node,
        base_exp=base_exp,
        frozen_from=frozen_from or base.model_file(),
        frozen=tuple(n for n in freeze.split(",") if n),
        seed=int(base.config.get("seed") or 0) + 1000 if seed is None else seed,
        stack=stack,
        any_order=any_order,
        overrides={} if max_epoch is None else {"max_epoch": max_epoch},
    )


def source_of(path: Path) -> Path:
    """The file of weights that a user means: itself, or an experiment's best epoch.

    Raises:
        TopDownError: E_EXP, E_MODEL or E_CKPT_MISSING (66) with what would make it.
    """
    if path.is_file():
        return path
    if path.is_dir() or path.suffix != ".pth":
        return Experiment(path).model_file()
    exp = experiment_of(path)
    do = f"train {exp} first (stage 11, or ./run.sh --row of that model)"
    if exp != path.parent:
        do = f"train {exp} with --harvest LAYER,... up to that epoch"
    raise TopDownError("E_CKPT_MISSING", f"no file {path}", do, MISSING)
