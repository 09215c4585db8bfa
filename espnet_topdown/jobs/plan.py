"""What one retraining loads, freezes, re-initialises and trains, before it is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from espnet_topdown.errors import DATA, MISSING, TopDownError, warn
from espnet_topdown.jobs.reinit import Reinit
from espnet_topdown.jobs.spec import RetrainSpec
from espnet_topdown.models.checkpoint import (
    Header,
    has_other_dtype,
    read_header,
    tied_names,
)
from espnet_topdown.models.config import InitParam
from espnet_topdown.models.experiment import Experiment, as_names, experiment_of
from espnet_topdown.models.layers import (
    LayerGroup,
    LayerStack,
    StackSpec,
    is_statistic,
    stack_for,
)
from espnet_topdown.models.tasks import find_task

TensorSources = Mapping[str, tuple[Path, str]]  # tensor -> a file, and its name there


@dataclass(frozen=True)
class Layers:
    """An experiment's tensors in layers.

    Attributes:
        header: Tensor -> its shape and type.
        joined: All layers.
        own: Tensors that the experiment froze itself.
    """

    header: Header
    joined: LayerStack
    own: tuple[str, ...] = ()

    @cached_property
    def tied(self) -> dict[str, str]:
        """Second name of a tensor -> its first name."""
        return tied_names(self.header)

    @cached_property
    def stack(self) -> LayerStack:
        """The layers without those that the experiment froze itself."""
        return self.joined.hold(self.own) if self.own else self.joined

    @property
    def sizes(self) -> dict[str, int]:
        """Layer -> its number of values, in the order of the stack, held ones last."""
        layers = (*self.stack.groups, *self.stack.held)
        return {g.name: self.count(g.params) for g in layers}

    def count(self, names: Iterable[str]) -> int:
        """Number of values that can be trained.

        Args:
            names: Of tensors; statistics and second names of a tensor count nothing.

        Returns:
            Their sum.
        """
        counted = (n for n in names if not is_statistic(n) and n not in self.tied)
        return sum(self.header[n].numel for n in counted)


@dataclass(frozen=True)
class Plan:
    """What a retraining would load, freeze, re-initialise and train.

    No values: ``prepare`` loads those from the places that are named here.

    Attributes:
        layers: Of the base experiment.
        frozen_params: All tensors that stay as they are.
        copied: Where what is copied is: the frozen layers, and what the base froze.
        initial: Where a first value is that the base took from a file.
    """

    layers: Layers
    frozen_params: tuple[str, ...]
    copied: TensorSources
    initial: TensorSources = field(default_factory=dict)

    def table(self, spec: RetrainSpec) -> str:
        """One row a layer: its size, what happens to it and where it comes from.

        Returns:
            The table, lines of text.
        """
        layers, stack = self.layers, self.layers.stack
        rows = [("layer", "params", "state", "from")]
        rows += [self._row(spec, group) for group in stack.groups]
        for group in stack.held:
            size = f"{layers.count(group.params):,}"
            rows.append(
                (group.name, size, "frozen in the base", str(spec.base.model_file()))
            )
        copied, total = layers.count(self.copied), sum(layers.sizes.values())
        frozen = layers.count(self.frozen_params)
        rows.append(("all", f"{total:,}", f"{frozen:,} frozen", ""))
        begun = f"by {spec.reinit}" if Reinit.parse(spec.reinit).from_trained else ""
        rows.append(("", "", f"{total - copied:,} {begun or 're-initialised'}", ""))
        rows.append(("", "", f"{total - frozen:,} trained", ""))
        for other, first in layers.tied.items():
            state = "both frozen" if other in self.frozen_params else "one tensor"
            rows.append(("tied", "", state, f"{other} = {first}"))
        if stack.note:
            rows.append(("ignored", "", "in no layer", stack.note))
        return "\n".join(f"{a:<14}{b:>14}  {c:<28}{d}".rstrip() for a, b, c, d in rows)

    def _row(self, spec: RetrainSpec, group: LayerGroup) -> tuple[str, str, str, str]:
        count, names = self.layers.count, {*group.params}
        size, own = count(names), count(names & {*self.layers.own})
        began = count(names & {*self.initial})
        places = [self.initial[n] for n in names & {*self.initial}]
        file = f"{', '.join(sorted({str(p) for p, _ in places}))} (init_param)"
        if group.name in spec.frozen:
            state = "copied" if spec.trainable else "frozen"
            source, began = str(spec.frozen_from), 0
        elif Reinit.parse(spec.reinit).from_trained:
            state, source = spec.reinit, str(spec.start_from)
        else:
            state, source = "new", f"seed {spec.seed}"
        if began and began == size - own:
            state, source = "initial", file
        elif began:
            source += f"; {began:,} from {file}"
        if own:
            source += f"; {own:,} frozen in the base"
        return group.name, f"{size:,}", state, source


def plan(spec: RetrainSpec) -> Plan:
    """Work out a retraining; nothing is written.

    What the base experiment froze itself stays frozen, with the base's values. What it
    began with values of a file and then trained begins with them again, unless
    ``--reinit`` says otherwise.

    Returns:
        Its layers and tensors, and where each begins.

    Raises:
        TopDownError: from the stack (E_STACK, E_FREEZE_*), the weights (E_CKPT_*) or,
            for layers of another model, E_TOKENS_CHANGED and E_SHAPE_MISMATCH;
            E_MISSING (66) when a file of the base's init_param is gone.
    """
    base = spec.base
    model = base.model_file()
    layers = bind(base, spec.stack)
    header, tied, stack = layers.header, layers.tied, layers.stack
    stack.check_frozen(spec.frozen, any_order=spec.any_order)
    _check_vocabulary(base, layers)
    names = _with_aliases((p for g in stack.named(spec.frozen) for p in g.params), tied)
    _check_seed(spec)
    source: Header = {}
    if spec.frozen_from == model:
        source = header
    elif spec.frozen_from:
        source = read_header(spec.frozen_from)
        types = {info.dtype for info in source.values()}
        has_other_dtype(base.train_dtype, types, spec.frozen_from)
    _check_source(spec, header, source, names)
    copied = {n: (Path(spec.frozen_from or model), n) for n in names}
    copied.update({n: (model, n) for n in layers.own if n not in copied})
    initial: TensorSources = {}
    if spec.reinit == "full":
        free = {n: info for n, info in header.items() if n not in copied}
        initial = _initial_sources(base, free)
    frozen = tuple(layers.own if spec.trainable else copied)
    return Plan(layers, frozen, copied, initial)


# Where the first values of these tensors are, by the base's own ``init_param``.
def _initial_sources(base: Experiment, model: Header) -> TensorSources:
    places: dict[str, tuple[Path, str]] = {}
    for text in as_names(base.config.get("init_param")):
        init = InitParam.parse(text)
        if not init.path.is_file():
            what = f"{base.folder}/config.yaml: init_param names {init.path}"
            do = "bring it back, or begin at random values with --reinit random"
            raise TopDownError("E_MISSING", f"{what}, which is gone", do, MISSING)
        for name, info in read_header(init.path).items():
            goal = init.target(name)
            if goal in model and model[goal].shape == info.shape:
                places[goal] = (init.path, name)
    return places


def bind(base: Experiment, spec: StackSpec) -> Layers:
    """Put the tensors of an experiment into the layers of a stack.

    Args:
        base: The experiment.
        spec: The stack.

    Returns:
        The layers.

    Raises:
        TopDownError: E_STACK, E_CKPT_* and others of the stack and of the weights.
    """
    header = base.header()
    tied = tied_names(header)
    joined = spec.bind(header).join(tied)
    _check_outputs(base, joined, header)
    return Layers(header, joined, _with_aliases(base.own_frozen(header), tied))


def _check_vocabulary(base: Experiment, layers: Layers) -> None:
    """Refuse weights of another vocabulary than the config's, before a model is built.

    One output layer has to fit: masked CTC's decoder has a token more.

    Raises:
        TopDownError: E_CKPT_SHAPE (65).
    """
    header, tokens = layers.header, base.config.get("token_list")
    names = [n for g in layers.joined.groups for n in g.params]
    rows = {n: header[n].shape[0] for n in names if _may_be_output(n, header)}
    if not isinstance(tokens, list) or not rows or len(tokens) in rows.values():
        return
    name, size = next(iter(rows.items()))
    what = f"{base.model_file()}: {name} has {size} rows, and the token_list of its "
    what += f"config.yaml {len(tokens)} tokens"
    do = "use the weights and the config.yaml of the same experiment"
    raise TopDownError("E_CKPT_SHAPE", what, do, DATA)


def _check_outputs(base: Experiment, stack: LayerStack, header: Header) -> None:
    """Refuse a stack with an output layer hidden in a layer below the top one.

    A matrix of a decoder with one row for each token is taken for one. A layer of
    nothing else was meant: to freeze one of two softmax layers alone.

    Raises:
        TopDownError: E_STACK (78): it is not for us to say where it belongs.
    """
    size = len(base.config.get("token_list") or ())
    for group in stack.groups[1:]:
        modules = {name.rpartition(".")[0] for name in group.params}
        for name in group.params if len(modules) > 1 else ():
            output = name.startswith("decoder.") and _may_be_output(name, header)
            if not output or header[name].shape[0] != size:
                continue
            what = f"{name} has a row for each of the {size} tokens, as an output layer"
            what += f" has, and lies in layer {group.name}"
            do = "give --stack FILE.yaml with it in the softmax or in its own layer"
            raise TopDownError("E_STACK", what, do)


# A matrix in no numbered block; an embedding has the size of an output layer, too.
def _may_be_output(name: str, header: Header) -> bool:
    inner = any(p.isdigit() for p in name.split(".")) or "embed" in name
    return not inner and len(header[name].shape) == 2


def _with_aliases(names: Iterable[str], tied: Mapping[str, str]) -> tuple[str, ...]:
    """Names and all other names of the same tensors, each once.

    >>> _with_aliases(["out.weight", "out.bias"], {"out.weight": "embed.weight"})
    ('out.weight', 'out.bias', 'embed.weight')

    Returns:
        The names.
    """
    names = list(names)
    firsts = {tied.get(n, n) for n in names}
    more = [n for pair in tied.items() for n in pair if tied.get(n, n) in firsts]
    return tuple(dict.fromkeys([*names, *more]))


def _check_seed(spec: RetrainSpec) -> None:
    """ESPnet's epoch e of seed s draws from stream s + e: near seeds share them."""
    base = spec.base
    ours, theirs = spec.seed, int(base.config.get("seed") or 0)
    epochs = int(spec.overrides.get("max_epoch") or base.config["max_epoch"])
    if not 0 <= ours < 2**32 - epochs:
        what = f"seed {ours}: ESPnet adds the epoch, and NumPy takes 0 to {2**32 - 1}"
        raise TopDownError("E_CONFIG_KEY", what, "choose another seed")
    apart = abs(ours - theirs)
    if 0 < apart < epochs:
        shared = 100 * (epochs - apart) // epochs
        warn(
            "W_SEED_OVERLAP",
            f"seeds {theirs} and {ours} share {shared} % of their random streams; use "
            f"seeds that are {epochs} or more apart, e.g. {theirs + max(1000, epochs)}",
        )


def _check_source(
    spec: RetrainSpec, header: Header, source: Header, names: tuple[str, ...]
) -> None:
    base = spec.base
    for name in names:
        if name not in source or source[name].shape != header[name].shape:
            have = source[name].shape if name in source else "nothing"
            raise TopDownError(
                "E_SHAPE_MISMATCH",
                f"{name}: {header[name].shape} in {base.folder}, {have} in "
                f"{spec.frozen_from}",
                "freeze layers that both models have with the same size",
                DATA,
            )
    if spec.frozen_from is None:
        return
    other = experiment_of(spec.frozen_from)
    known = (other / "config.yaml").is_file()
    if known and other.resolve() != base.folder.resolve():
        _check_tokens(base, Experiment(other))


def _check_tokens(a: Experiment, b: Experiment) -> None:
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


def layer_table(exp: Path, stack: str = "auto", model: Path | None = None) -> str:
    """The ordered layers of an experiment: name, values, first and last tensor.

    Args:
        exp: The experiment.
        stack: See ``stack_for``.
        model: A file of weights; None is the best epoch's.

    Returns:
        The table, lines of text.
    """
    experiment = Experiment(exp, model)
    spec = stack_for(experiment.config, stack, experiment.header)
    find_task(spec.task)
    layers = bind(experiment, spec)
    _check_vocabulary(experiment, layers)
    sizes = layers.sizes
    rows = [("#", "layer", "params", "first", "last")]
    for i, group in enumerate(layers.joined.groups, 1):
        first, last, size = group.params[0], group.params[-1], f"{sizes[group.name]:,}"
        rows.append((str(i), group.name, size, first, last))
    wide = max(len(r[3]) for r in rows)
    lines = [f"{a:>2}  {b:<14}{c:>13}  {d:<{wide}}  {e}" for a, b, c, d, e in rows]
    total = sum(sizes.values())
    lines.append(f"    all           {total:>13,}  stack {spec.name}: {spec.about}")
    if layers.joined.note:
        lines.append(f"    {layers.joined.note}")
    for group in layers.stack.held:
        lines.append(f"    {group.name} is frozen in the experiment and stays so")
    return "\n".join(lines)
