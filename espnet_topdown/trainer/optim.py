"""AdaDelta whose epsilon shrinks when the validation gets worse, as in ESPnet1."""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from espnet2.schedulers.abs_scheduler import AbsValEpochStepScheduler
from espnet2.tasks.abs_task import scheduler_classes

from espnet_topdown.errors import TopDownError

NAME = "adadelta_eps_decay"


class AdadeltaEpsDecay(AbsValEpochStepScheduler):
    """Multiply ``eps`` by ``factor`` when the value is worse than the best so far.

    ESPnet1 also goes back to the best epoch's weights; this does not.

    Args:
        optimizer: One whose parameter groups have an ``eps``.
        factor: 0.01 in ESPnet1.
        mode: Whether ``min`` or ``max`` of the value is best.
        patience: How many worse epochs in a row are let pass.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        factor: float = 0.01,
        mode: str = "min",
        patience: int = 0,
    ) -> None:
        if not 0.0 < factor < 1.0:
            raise TopDownError(
                "E_RANGE", f"eps factor is {factor}", "give a number between 0 and 1"
            )
        if mode not in ("min", "max"):
            raise TopDownError("E_RANGE", f"mode is '{mode}'", "give min or max")
        if any("eps" not in group for group in optimizer.param_groups):
            name = type(optimizer).__name__
            raise TopDownError("E_RANGE", f"{name} has no eps", "use optim: adadelta")
        self.optimizer = optimizer
        self.factor, self.mode, self.patience = factor, mode, patience
        self.best = math.inf if mode == "min" else -math.inf
        self.bad = 0

    def step(self, val: float, epoch: int | None = None) -> None:
        """Take this epoch's validation value; a NaN counts as worse."""
        val = float(val)
        worse = val > self.best if self.mode == "min" else val < self.best
        if worse or math.isnan(val):
            self.bad += 1
        else:
            self.best, self.bad = val, 0
        if self.bad > self.patience:
            self.bad = 0
            for group in self.optimizer.param_groups:
                group["eps"] *= self.factor

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs; ``eps`` itself is in the optimizer's state."""
        return {"best": self.best, "bad": self.bad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict()``."""
        self.best, self.bad = state["best"], state["bad"]


def register() -> None:
    """Make the schedule known to ``--scheduler``."""
    scheduler_classes[NAME] = AdadeltaEpsDecay


def use_eps_decay(args: argparse.Namespace) -> None:
    """Turn ``--adadelta_eps_decay`` into a scheduler; it may be there already."""
    factor = args.adadelta_eps_decay
    if not factor:
        return
    if args.optim != "adadelta" or args.scheduler not in (None, NAME):
        raise TopDownError(
            "E_RANGE",
            f"adadelta_eps_decay {factor} with optim {args.optim} and scheduler "
            f"{args.scheduler}",
            "use optim: adadelta and no scheduler, or set adadelta_eps_decay to 0",
        )
    key = list(args.val_scheduler_criterion)[-1]
    args.scheduler = NAME
    args.scheduler_conf = dict(args.scheduler_conf or {})
    args.scheduler_conf.update(factor=factor, mode="max" if "acc" in key else "min")
