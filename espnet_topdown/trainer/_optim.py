"""Optimizers and schedules that ESPnet does not have.

AdaDelta whose epsilon shrinks when the validation gets worse, as in ESPnet1; and
NT-ASGD of Merity et al. (2018), SGD that begins to average its iterates when the
validation stops to improve. NT-ASGD is one optimizer with two modes, so that a
checkpoint of either can be resumed. PyTorch's ASGD is not used: there the first iterate
drops out of the average, and a learning rate that changes with each batch comes one
update late.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from espnet2.schedulers.abs_scheduler import AbsValEpochStepScheduler
from espnet2.tasks.abs_task import optim_classes, scheduler_classes

from espnet_topdown.errors import TopDownError

EPS_DECAY, NT_ASGD = "adadelta_eps_decay", "nt_asgd"


class AdadeltaEpsDecay(AbsValEpochStepScheduler):
    """Multiply ``eps`` by ``factor`` when the value is worse than the best so far.

    ESPnet1 also goes back to the best epoch's weights; this does not.

    Args:
        optimizer: One whose parameter groups have an ``eps``.
        factor: 0.01 in ESPnet1.
        mode: Whether ``min`` or ``max`` of the value is best.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        factor: float = 0.01,
        mode: str = "min",
    ) -> None:
        if not 0.0 < factor < 1.0:
            what = f"eps factor is {factor}"
            raise TopDownError("E_RANGE", what, "give a number between 0 and 1")
        if mode not in ("min", "max"):
            raise TopDownError("E_RANGE", f"mode is '{mode}'", "give min or max")
        if any("eps" not in group for group in optimizer.param_groups):
            name = type(optimizer).__name__
            raise TopDownError("E_RANGE", f"{name} has no eps", "use optim: adadelta")
        self.optimizer = optimizer
        self.factor, self.mode = factor, mode
        self.best = math.inf if mode == "min" else -math.inf

    def step(self, val: float, epoch: int | None = None) -> None:
        """Take an epoch's validation value; a NaN counts as worse.

        Args:
            val: The value.
            epoch: Not used.
        """
        val = float(val)
        worse = val > self.best if self.mode == "min" else val < self.best
        if not worse and not math.isnan(val):
            self.best = val
            return
        for group in self.optimizer.param_groups:
            group["eps"] *= self.factor

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed training needs; the optimizer has ``eps``."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue.

        Args:
            state: What ``state_dict`` gave.
        """
        self.best = state["best"]


def use_eps_decay(args: argparse.Namespace) -> None:
    """Turn ``--adadelta_eps_decay`` into a scheduler; it may be there already.

    Args:
        args: The options of a training, changed in place.

    Raises:
        TopDownError: E_RANGE (78) with another optimizer or scheduler.
    """
    factor = args.adadelta_eps_decay
    if not factor:
        return
    if args.optim != "adadelta" or args.scheduler not in (None, EPS_DECAY):
        what = (
            f"{EPS_DECAY} {factor} with optim {args.optim}, scheduler {args.scheduler}"
        )
        do = f"use optim: adadelta and no scheduler, or set {EPS_DECAY} to 0"
        raise TopDownError("E_RANGE", what, do)
    key = list(args.val_scheduler_criterion)[-1]
    args.scheduler = EPS_DECAY
    args.scheduler_conf = dict(args.scheduler_conf or {})
    args.scheduler_conf.update(factor=factor, mode="max" if "acc" in key else "min")


class NTASGD(torch.optim.Optimizer):
    """SGD with weight decay; from ``start_average`` on, also the mean of all iterates.

    Args:
        params: As of any optimizer.
        lr: Learning rate.
        weight_decay: Times the parameter, added to its gradient.

    Attributes:
        scale: Of the learning rate in the next update (length of the batch over the
            usual length); not saved, every batch sets it.
    """

    def __init__(self, params: Any, lr: float = 30.0, weight_decay: float = 1.2e-6):
        if not lr > 0 or not weight_decay >= 0:
            what = f"lr {lr}, weight_decay {weight_decay}"
            raise TopDownError("E_RANGE", what, "give lr > 0 and weight_decay >= 0")
        known = dict(lr=lr, weight_decay=weight_decay)
        super().__init__(params, {**known, "average": False, "holds_average": False})
        self.scale = 1.0

    def start_average(self) -> None:
        """Average from the next update on."""
        for group in self.param_groups:
            group["average"] = True

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One update; parameters without a gradient (frozen ones) are left alone."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                change = p.grad.add(p, alpha=group["weight_decay"])
                p.add_(change, alpha=-group["lr"] * self.scale)
                if group["average"]:
                    self._average(p)

    def _average(self, p: torch.Tensor) -> None:
        state = self.state[p]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(p)
            state["step"] = torch.tensor(0.0)
        state["step"] += 1
        state["mean"].lerp_(p, 1.0 / float(state["step"]))

    @torch.no_grad()
    def show_average(self) -> None:
        """Put the means into the model, to validate and save them."""
        for group in self.param_groups:
            if group["holds_average"] or not group["average"]:
                continue
            for p in group["params"]:
                if "mean" in self.state[p]:
                    self.state[p]["iterate"] = p.detach().clone()
                    p.copy_(self.state[p]["mean"])
            group["holds_average"] = True

    @torch.no_grad()
    def show_iterate(self) -> None:
        """Put the iterates back, to train on."""
        for group in self.param_groups:
            if not group["holds_average"]:
                continue
            for p in group["params"]:
                if "iterate" in self.state[p]:
                    p.copy_(self.state[p].pop("iterate"))
            group["holds_average"] = False


class NonMonotone(AbsValEpochStepScheduler):
    """Start averaging when the value is above the best of all but the last n.

    Args:
        optimizer: An NTASGD.
        n: 5 in the paper.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, n: int = 5) -> None:
        if not isinstance(optimizer, NTASGD):
            what = f"scheduler {NT_ASGD} with optim {type(optimizer).__name__}"
            raise TopDownError("E_RANGE", what, f"use optim: {NT_ASGD}")
        if n < 1:
            raise TopDownError("E_RANGE", f"scheduler_conf n is {n}", "give 1 or more")
        self.optimizer, self.n = optimizer, n
        self.values: list[float] = []

    def step(self, val: float, epoch: int | None = None) -> None:
        """Take an epoch's validation value; a NaN counts as worse.

        Args:
            val: The value.
            epoch: Not used.
        """
        val = float(val)
        before = [v for v in self.values[: -self.n] if not math.isnan(v)]
        if before and not val <= min(before):
            self.optimizer.start_average()
        self.values.append(val)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed training needs; the optimizer has its mode."""
        return {"values": list(self.values)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue.

        Args:
            state: What ``state_dict`` gave.
        """
        self.values = list(state["values"])


# ESPnet never steps a scheduler of torch's that is not registered with one of its own
# kinds, as those in its table are: see espnet2.schedulers.abs_scheduler.
optim_classes[NT_ASGD] = NTASGD
scheduler_classes.update({NT_ASGD: NonMonotone, EPS_DECAY: AdadeltaEpsDecay})
