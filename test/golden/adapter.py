"""Every name inside the package that the golden files need; only this moves with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown.jobs.prepare import prepare
from espnet_topdown.jobs.spec import spec_by_hand
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.layers import shipped, stack_for
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.strategies import STRATEGIES, Space, outcome


def stacks() -> list[str]:
    """The names of the shipped stacks."""
    return sorted(shipped())


def layers(exp: Path, stack: str) -> dict[str, list[str]]:
    """Layer -> its tensors, from the top."""
    experiment = Experiment(exp)
    bound = stack_for(experiment.config, stack).bind(experiment.weights())
    return {g.name: list(g.params) for g in bound.groups}


def prepare_job(exp: Path, freeze: str, folder: Path, stack: str) -> None:
    """What ``espnet-topdown retrain`` writes before it trains."""
    options = {"stack": stack, "any_order": True, "folder": folder}
    prepare(spec_by_hand(exp, freeze, **options), folder)


def candidates(
    strategy: str, errors: Mapping[str, int], space: Mapping[str, Any]
) -> list[str]:
    """The folder names of what may be trained next; empty at the end."""
    known = {Composition.parse(c): e for c, e in errors.items()}
    return [str(c) for c in STRATEGIES[strategy](Space(**space), known)]


def path_to_best(
    strategy: str, errors: Mapping[str, int], space: Mapping[str, Any]
) -> list[str]:
    """The best model, then the path that is shown."""
    known = {Composition.parse(c): e for c, e in errors.items()}
    found = outcome(strategy, Space(**space), known)
    return [str(c) for c in (found.best, *found.path)]
