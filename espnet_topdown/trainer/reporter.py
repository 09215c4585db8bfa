"""ESPnet's reporter with an order in which NaN is last, and a call after each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from espnet2.train.reporter import Reporter

from espnet_topdown.trainer.repair import rank


class TopDownReporter(Reporter):
    """As ESPnet's, but an epoch whose value is NaN is never the best.

    Args:
        epoch: The epoch to begin with.
        on_epoch: Called with the reporter when an epoch's validation is done.
    """

    def __init__(
        self, epoch: int = 0, on_epoch: Callable[[TopDownReporter], None] | None = None
    ) -> None:
        super().__init__(epoch)
        self.on_epoch = on_epoch

    def has(self, key, key2, epoch=None):  # type: ignore[no-untyped-def]
        """Whether a value was computed; ESPnet reports NaN for what a model lacks."""
        if not super().has(key, key2, epoch):
            return False
        epochs = self.stats if epoch is None else [epoch]
        values = (self.stats[e].get(key, {}).get(key2) for e in epochs)
        return any(is_number(v) or hasattr(v, "total_seconds") for v in values)

    def sort_epochs_and_values(self, key, key2, mode):  # type: ignore[no-untyped-def]
        """(epoch, value) from best to worst."""
        order = rank(self.stats, key, key2, mode)
        if not order:
            raise KeyError(f"{key}.{key2} is not found: {self.get_all_keys()}")
        return [(e, self.stats[e][key][key2]) for e in order]

    def finish_epoch(self, sub_reporter):  # type: ignore[no-untyped-def]
        """Close one phase of an epoch; after the validation, tell ``on_epoch``."""
        super().finish_epoch(sub_reporter)
        if sub_reporter.key == "valid" and self.on_epoch is not None:
            self.on_epoch(self)

    def numbers(self, epoch: int, phase: str) -> dict[str, float]:
        """The values of one phase that are finite numbers."""
        stats = self.stats.get(epoch, {}).get(phase, {})
        return {k: float(v) for k, v in stats.items() if is_number(v)}

    def seconds(self, epoch: int) -> float:
        """How long training and validation of an epoch took."""
        spans = [phase.get("time") for phase in self.stats.get(epoch, {}).values()]
        return sum(t.total_seconds() for t in spans if hasattr(t, "total_seconds"))


def is_number(value: Any) -> bool:
    """Whether it is a finite number (ESPnet's reporter also holds time spans)."""
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
