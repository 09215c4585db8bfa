"""What a search may cost, said before anything starts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from espnet_topdown.errors import TopDownError
from espnet_topdown.search.strategies import at_most

if TYPE_CHECKING:
    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.search.request import Nodes

log = logging.getLogger(__name__)


def announce(nodes: Nodes) -> int:
    """Log the layers, the count of trainings and the hours; returns the count."""
    request = nodes.request
    most = at_most(request.strategy, nodes.space)
    log.info("%d layers from the top: %s", nodes.stack.n, ", ".join(nodes.stack.names))
    log.info(
        "search %s: at most %d retrainings and %d controls, %d at a time%s",
        request.strategy,
        most,
        trainings(nodes) - most,
        request.max_jobs,
        _hours(nodes),
    )
    return most


def trainings(nodes: Nodes) -> int:
    """How many trainings a search and its controls can need."""
    controls = nodes.request.controls
    chain = (nodes.max_frozen - 1) if "bottom_up" in controls else 0
    return at_most(nodes.request.strategy, nodes.space) + len(controls) + max(0, chain)


def check_budget(nodes: Nodes) -> None:
    """Refuse a search that is larger than expected.

    Raises:
        TopDownError: E_BUDGET (78).
    """
    request, count = nodes.request, trainings(nodes)
    if count <= request.max_jobs_total or request.yes:
        return
    raise TopDownError(
        "E_BUDGET",
        f"--search {request.strategy} can take {count} trainings{_hours(nodes)}, "
        f"--max_jobs_total is {request.max_jobs_total}",
        "give --yes true to go on, or --max_frozen, --steps, --budget to do less",
    )


def _hours(nodes: Nodes) -> str:
    """For example ``, at most about 12.5 hours``, or ``, hours unknown``."""
    epoch = seconds_per_epoch(nodes.base)
    epochs = int(nodes.request.max_epoch or nodes.base.config.get("max_epoch") or 0)
    if not epoch or not epochs:
        return ", hours unknown"
    rounds = max(1.0, trainings(nodes) / max(1, nodes.request.max_jobs))
    seconds = rounds * epochs * epoch
    if seconds < 3600:
        return f", at most about {seconds / 60:.0f} minutes"
    return f", at most about {seconds / 3600:.1f} hours"


def seconds_per_epoch(base: Experiment) -> float:
    """Mean time of an epoch of the joint training, from its reporter; 0 if unknown."""
    if not (base.folder / "checkpoint.pth").is_file():
        return 0.0
    spans = [
        sum(values.get("time", 0.0) for values in phases.values())
        for phases in base.stats.values()
    ]
    return sum(spans) / len(spans) if spans else 0.0
