"""SGD that begins to average its iterates when the validation stops to improve.

NT-ASGD of Merity et al.: one optimizer with two modes, so that a checkpoint of either
can be resumed. PyTorch's ASGD is not used: there the first iterate drops out of the
average, and a learning rate that changes with each batch comes one update late.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from espnet2.schedulers.abs_scheduler import AbsValEpochStepScheduler
from espnet2.tasks.abs_task import optim_classes, scheduler_classes

from espnet_topdown.errors import TopDownError

NAME = "nt_asgd"


class NTASGD(torch.optim.Optimizer):
    """SGD with weight decay; from ``start_average`` on, also the mean of all iterates.

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

    @property
    def averages(self) -> bool:
        """Whether iterates are averaged."""
        return bool(self.param_groups[0]["average"])

    def start_average(self) -> None:
        """Average from the next update on."""
        for group in self.param_groups:
            group["average"] = True

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update; parameters without a gradient (frozen ones) are left alone."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                change = p.grad.add(p, alpha=group["weight_decay"])
                p.add_(change, alpha=-group["lr"] * self.scale)
                if group["average"]:
                    self._average(p)
        return loss

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
            what = f"scheduler {NAME} with optim {type(optimizer).__name__}"
            raise TopDownError("E_RANGE", what, f"use optim: {NAME}")
        if n < 1:
            raise TopDownError("E_RANGE", f"scheduler_conf n is {n}", "give 1 or more")
        self.optimizer, self.n = optimizer, n
        self.values: list[float] = []

    def step(self, val: float, epoch: int | None = None) -> None:
        """Take this epoch's validation value; a NaN counts as worse."""
        val = float(val)
        before = [v for v in self.values[: -self.n] if not math.isnan(v)]
        if before and not val <= min(before):
            self.optimizer.start_average()
        self.values.append(val)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs; the mode is in the optimizer's state."""
        return {"values": list(self.values)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict()``."""
        self.values = list(state["values"])


def register() -> None:
    """Make both known to ``--optim`` and ``--scheduler``."""
    optim_classes[NAME] = NTASGD
    scheduler_classes[NAME] = NonMonotone
