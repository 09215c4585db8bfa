"""What one retraining is: pure data, the same for a search, a control and by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_topdown.errors import MISSING, TopDownError
from espnet_topdown.jobs.reinit import Reinit, classifier_file
from espnet_topdown.models.experiment import Experiment, experiment_of
from espnet_topdown.models.layers import StackSpec, resolve_stack, stack_for
from espnet_topdown.models.tasks import Task, find_task

AUTO = "auto"  # the trainer of the stack's task


@dataclass(frozen=True)
class RetrainSpec:
    """Everything that defines one retraining; made by ``make``.

    Attributes:
        base: The experiment that is retrained; its config is reused.
        name: Its name and folder, e.g. "m1.4" or "control.joint".
        frozen: Names of the frozen layers; of the copied ones if ``trainable``.
        seed: For the new initial values, the order of batches and dropout.
        stack: The layer stack.
        trainer: Module of the training command.
        frozen_from: The file of weights that supplies the frozen layers: of the base
            experiment, of the parent's retraining, or of another model.
        control: The control that it is; None for a candidate.
        trainable: Copy the layers but train them (a control).
        any_order: Allow frozen layers that are not the top ones.
        overrides: Options of ESPnet's trainer that differ from the base experiment.
        reinit: Where the other layers begin, see ``reinit.Reinit``.
        start_from: The file that supplies their values, where reinit takes any.
    """

    base: Experiment
    name: str
    frozen: tuple[str, ...]
    seed: int
    stack: StackSpec
    trainer: str
    frozen_from: Path | None = None
    control: str | None = None
    trainable: bool = False
    any_order: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)
    reinit: str = "full"
    start_from: Path | None = None

    @classmethod
    def make(
        cls,
        base: Experiment,
        name: str,
        frozen: Sequence[str],
        seed: int,
        stack: StackSpec | None = None,
        frozen_from: Path | None = None,
        trainer: str = AUTO,
        **more: Any,
    ) -> RetrainSpec:
        """The one constructor, for candidates, controls, rows and by hand.

        Args:
            base: The experiment that is retrained.
            name: Its name and folder.
            frozen: Names of the frozen layers.
            seed: See the attributes.
            stack: None takes the shipped one that fits.
            frozen_from: See the attributes.
            trainer: "auto" is that of the stack's task.
            **more: The other attributes.

        Returns:
            A specification; nothing is read yet but the base's config.

        Raises:
            TopDownError: E_STACK; E_MODEL (66) when the base has no weights.
        """
        stack = stack or stack_for(base.config, None, base.header)
        base.model_file()
        if trainer == AUTO:
            trainer = find_task(stack.task).trainer
        return cls(base, name, tuple(frozen), seed, stack, trainer, frozen_from, **more)

    @property
    def task(self) -> Task:
        """The kind of model that it is."""
        return find_task(self.stack.task)


def spec_by_hand(
    base_exp: Path,
    freeze: str,
    frozen_from: Path | None = None,
    seed: int | None = None,
    stack: str = "auto",
    max_epoch: int | None = None,
    any_order: bool = False,
    folder: Path | None = None,
    base_model: Path | None = None,
    reinit: str = "full",
    fix_eval_dropout: bool = False,
) -> RetrainSpec:
    """A retraining from a command line; what is not given is as in a search.

    Args:
        base_exp: The experiment that is retrained.
        freeze: Names of layers, with commas.
        frozen_from: A file of weights, or an experiment; None is the base.
        seed: None is the base's + 1000.
        stack: A shipped stack's name, a file, or "auto".
        max_epoch: None is the base's.
        any_order: See ``RetrainSpec``.
        folder: The job's, which may carry the stack already.
        base_model: None is the base's best epoch.
        reinit: See ``reinit.Reinit``.
        fix_eval_dropout: See ``Experiment``.

    Returns:
        Its specification.

    Raises:
        TopDownError: Of ``RetrainSpec.make``, ``Reinit.parse`` and ``_source_of``.
    """
    base = Experiment(base_exp, base_model, fix_eval_dropout)
    rule = Reinit.parse(reinit)
    if frozen_from is not None:
        frozen_from = _source_of(frozen_from)
    source = frozen_from or base.model_file()
    start = classifier_file(base, rule.epoch) if rule.epoch else source
    made = folder / "retrain.yaml" if folder else Path()
    return RetrainSpec.make(
        base,
        folder.name if folder else "plan",
        [n for n in freeze.split(",") if n],
        int(base.config.get("seed") or 0) + 1000 if seed is None else seed,
        resolve_stack(base.config, stack, made, base.header),
        source if frozen_from or freeze else None,
        any_order=any_order,
        overrides={} if max_epoch is None else {"max_epoch": max_epoch},
        reinit=reinit,
        start_from=start if rule.from_trained else None,
    )


def _source_of(path: Path) -> Path:
    """The file of weights that a user means: itself, or an experiment's best epoch.

    Args:
        path: The file, or the experiment.

    Returns:
        The file.

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
