"""What one retraining loads, freezes, re-initialises and trains, before it is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_topdown.errors import DATA, TopDownError, warn
from espnet_topdown.jobs.spec import RetrainSpec
from espnet_topdown.models.experiment import Experiment, experiment_of
from espnet_topdown.models.layers import LayerStack, is_statistic, stack_for
from espnet_topdown.models.weights import Weights, load_weights


@dataclass(frozen=True)
class Plan:
    """What a retraining would load, freeze, re-initialise and train."""

    stack: LayerStack
    frozen_params: tuple[str, ...]
    sizes: Mapping[str, int]  # layer -> number of values
    tensors: Weights  # the layers that are copied
    tied: Mapping[str, str] = field(default_factory=dict)  # other name -> first name

    def table(self, spec: RetrainSpec) -> str:
        """One row a layer: its size, what happens to it and where it comes from."""
        rows = [("layer", "params", "state", "from")]
        for name in self.stack.names:
            copied = name in spec.frozen
            state = "copied" if spec.trainable else "frozen"
            source = str(spec.frozen_from)
            if not copied:
                state = "new" if spec.reinit == "full" else spec.reinit
                source = str(spec.start_from or f"seed {spec.seed}")
            rows.append((name, f"{self.sizes[name]:,}", state, source))
        copied = sum(self.sizes[n] for n in spec.frozen)
        total = sum(self.sizes.values())
        frozen = 0 if spec.trainable else copied
        rows.append(("all", f"{total:,}", f"{frozen:,} frozen", ""))
        begun = "re-initialised" if spec.reinit == "full" else f"by {spec.reinit}"
        rows.append(("", "", f"{total - copied:,} {begun}", ""))
        rows.append(("", "", f"{total - frozen:,} trained", ""))
        for other, first in self.tied.items():
            state = "both frozen" if other in self.frozen_params else "one tensor"
            rows.append(("tied", "", state, f"{other} = {first}"))
        return "\n".join(f"{a:<14}{b:>14}  {c:<28}{d}".rstrip() for a, b, c, d in rows)


def plan(spec: RetrainSpec) -> Plan:
    """Work out a retraining; nothing is written.

    Raises:
        TopDownError: from the stack (E_STACK, E_FREEZE_*), the weights (E_CKPT_*) or,
            for layers of another model, E_TOKENS_CHANGED and E_SHAPE_MISMATCH.
    """
    base = spec.base
    weights = base.weights()
    stack = spec.stack.bind(weights)
    stack.check_frozen(spec.frozen, any_order=spec.any_order)
    tied = tied_names(weights)
    names = with_aliases((p for g in stack.named(spec.frozen) for p in g.params), tied)
    _warn_of_seed(spec, base)
    source = load_weights(spec.frozen_from) if spec.frozen_from else {}
    _check_source(spec, base, weights, source, names)
    sizes = layer_sizes(stack, weights)
    return Plan(stack, names, sizes, {n: source[n] for n in names}, tied)


def tied_names(weights: Weights) -> dict[str, str]:
    """The further names of tensors that a file holds once: name -> first name."""
    first: dict[tuple[Any, ...], str] = {}
    tied = {}
    for name, value in weights.items():
        if not value.numel():
            continue
        place = (value.data_ptr(), tuple(value.shape), value.stride())
        if first.setdefault(place, name) != name:
            tied[name] = first[place]
    return tied


def with_aliases(names: Iterable[str], tied: Mapping[str, str]) -> tuple[str, ...]:
    """Names and all other names of the same tensors, each once.

    >>> with_aliases(["out.weight", "out.bias"], {"out.weight": "embed.weight"})
    ('out.weight', 'out.bias', 'embed.weight')
    """
    names = list(names)
    firsts = {tied.get(n, n) for n in names}
    more = [n for pair in tied.items() for n in pair if tied.get(n, n) in firsts]
    return tuple(dict.fromkeys([*names, *more]))


def _warn_of_seed(spec: RetrainSpec, base: Experiment) -> None:
    """ESPnet's epoch e of seed s draws from stream s + e: near seeds share them."""
    ours, theirs = spec.seed, int(base.config.get("seed") or 0)
    epochs = int(spec.overrides.get("max_epoch") or base.config["max_epoch"])
    apart = abs(ours - theirs)
    if 0 < apart < epochs:
        shared = 100 * (epochs - apart) // epochs
        warn(
            "W_SEED_OVERLAP",
            f"seeds {theirs} and {ours} share {shared} % of their random streams; use "
            f"seeds that are {epochs} or more apart, e.g. {theirs + 1000}",
        )


def _check_source(
    spec: RetrainSpec,
    base: Experiment,
    weights: Weights,
    source: Weights,
    names: tuple[str, ...],
) -> None:
    for name in names:
        if name not in source or source[name].shape != weights[name].shape:
            have = tuple(source[name].shape) if name in source else "nothing"
            raise TopDownError(
                "E_SHAPE_MISMATCH",
                f"{name}: {tuple(weights[name].shape)} in {base.folder}, {have} in "
                f"{spec.frozen_from}",
                "freeze layers that both models have with the same size",
                DATA,
            )
    if spec.frozen_from is None:
        return
    other = experiment_of(spec.frozen_from)
    known = (other / "config.yaml").is_file()
    if known and other.resolve() != base.folder.resolve():
        check_tokens(base, Experiment(other))


def check_tokens(a: Experiment, b: Experiment) -> None:
    """Refuse to join two models whose outputs do not mean the same symbols.

    Raises:
        TopDownError: E_TOKENS_CHANGED (65) with the first difference.
    """
    ours, theirs = a.token_list, b.token_list
    if ours == theirs:
        return
    same = [x == y for x, y in zip(ours, theirs)]
    line = same.index(False) if False in same else len(same)
    raise TopDownError(
        "E_TOKENS_CHANGED",
        f"the token lists of {a.folder} ({len(ours)}) and {b.folder} ({len(theirs)}) "
        f"differ, first in line {line + 1}: {ours[line : line + 1]} and "
        f"{theirs[line : line + 1]}",
        "train both models with the same tokens.txt, in the same order",
        DATA,
    )


def layer_sizes(stack: LayerStack, weights: Weights) -> dict[str, int]:
    """Layer -> its number of values, without statistics."""
    return {g.name: _size(g.params, weights) for g in stack.groups}


def _size(names: tuple[str, ...], weights: Weights) -> int:
    """Values of these tensors; one with several names counts once."""
    tied = tied_names({n: weights[n] for n in names})
    return sum(
        weights[n].numel() for n in names if not is_statistic(n) and n not in tied
    )


def layer_table(exp: Path, stack: str = "auto", model: Path | None = None) -> str:
    """The ordered layers of an experiment: name, values, first and last tensor."""
    experiment = Experiment(exp, model)
    weights = experiment.weights()
    spec = stack_for(experiment.config, stack)
    bound = spec.bind(weights)
    rows = [("#", "layer", "params", "first", "last")]
    for i, group in enumerate(bound.groups, 1):
        size = f"{_size(group.params, weights):,}"
        rows.append((str(i), group.name, size, group.params[0], group.params[-1]))
    total = sum(_size(g.params, weights) for g in bound.groups)
    wide = max(len(r[3]) for r in rows)
    lines = [f"{a:>2}  {b:<14}{c:>13}  {d:<{wide}}  {e}" for a, b, c, d, e in rows]
    lines.append(f"    all           {total:>13,}  stack {spec.name}: {spec.about}")
    return "\n".join(lines)
