"""Layers, top (near the output) to bottom (near the input), as groups of names.

A *stack* is a YAML file: an ordered list of layers, each with regular expressions that
are matched from the start of parameter and buffer names. Bound to the names of a
model, it puts every name into exactly one layer, or says why it cannot.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.errors import DATA, MISSING, TopDownError, nearest, warn
from espnet_topdown.files import parse_yaml, read_text, write_bytes, yaml_bytes
from espnet_topdown.models.config import read_record
from espnet_topdown.models.tasks import kind_of

_STACKS = Path(__file__).parent / "stacks"
_STACK_FILE = "stack.yaml"  # the text of a stack in the folder of a job or a search


def is_statistic(name: str) -> bool:
    """Whether a name is a norm's running statistic, which no gradient changes.

    Args:
        name: Of a tensor.

    Returns:
        Whether it is one.

    >>> is_statistic("encoder.encoders.0.conv_module.norm.running_mean")
    True
    """
    return name.endswith((".running_mean", ".running_var", ".num_batches_tracked"))


# Constants that a state dict holds and no training changes: they are in no layer.
_BUFFERS = (
    r"(?:.*\.)?melmat$",  # the mel matrix of a front end
    r"normalize\.(?:mean|std)$",  # of the training set
)


@dataclass(frozen=True)
class LayerGroup:
    """One layer in the paper's sense, e.g. both softmax layers of a model."""

    name: str
    params: tuple[str, ...]


@dataclass(frozen=True)
class LayerStack:
    """A model's layers from the top, and the names that belong to none of them.

    Attributes:
        held: Layers of which the experiment itself froze every value. They stay as
            they are, so that they are not among those that a search counts.
    """

    groups: tuple[LayerGroup, ...]
    ignored: tuple[str, ...] = ()
    held: tuple[LayerGroup, ...] = ()

    @property
    def n(self) -> int:
        """Number of layers."""
        return len(self.groups)

    @property
    def names(self) -> tuple[str, ...]:
        """Layer names from the top."""
        return tuple(g.name for g in self.groups)

    @property
    def note(self) -> str:
        """What a table says of tensors that only the stack's ``ignore`` leaves out."""
        names = [n for n in self.ignored if not _matches(_BUFFERS, n)]
        if not names:
            return ""
        what = f"{len(names)} tensors are in no layer by the stack's 'ignore', e.g. "
        return f"{what}{names[0]}: right for constants, refused where they are trained"

    def named(self, names: Sequence[str]) -> tuple[LayerGroup, ...]:
        """Layers by name.

        Args:
            names: Of layers.

        Returns:
            These layers, in the stack's order.

        Raises:
            TopDownError: E_FREEZE_NOMATCH for a name that is no layer.
        """
        held = {g.name for g in self.held}
        for name in names:
            if name in held:
                what = f"layer '{name}' is frozen in the base experiment and stays so"
                raise TopDownError("E_FREEZE_NOMATCH", what, "leave it out")
            if name not in self.names:
                what = f"'{name}' matches no layer ({nearest(name, self.names)})"
                do = "see 'espnet-topdown layers EXP' for the names"
                raise TopDownError("E_FREEZE_NOMATCH", what, do)
        return tuple(g for g in self.groups if g.name in names)

    def hold(self, frozen: Iterable[str]) -> LayerStack:
        """The stack of an experiment that froze tensors itself.

        Args:
            frozen: Their names.

        Returns:
            The stack without the layers of which every value is frozen: they are held.
        """
        frozen = set(frozen)

        def is_held(group: LayerGroup) -> bool:
            return frozen.issuperset(n for n in group.params if not is_statistic(n))

        held = tuple(filter(is_held, self.groups))
        free = tuple(g for g in self.groups if g not in held)
        return LayerStack(free, self.ignored, held)

    def join(self, tied: Mapping[str, str]) -> LayerStack:
        """Put a layer that has no tensor of its own into the one that it is tied to.

        Args:
            tied: Second name of a tensor -> its first name.

        Returns:
            The stack in which, for example, an embedding that is the output layer
            under another name belongs to the softmax.
        """
        groups: list[LayerGroup] = []
        for group in self.groups:
            firsts = {tied.get(n, n) for n in group.params}
            for i, above in enumerate(groups):
                if firsts <= {tied.get(n, n) for n in above.params}:
                    groups[i] = LayerGroup(above.name, above.params + group.params)
                    break
            else:
                groups.append(group)
        return LayerStack(tuple(groups), self.ignored, self.held)

    def check_frozen(self, names: Sequence[str], any_order: bool = False) -> None:
        """Refuse to freeze everything, or, unless asked, anything but the top.

        Args:
            names: Of the layers to freeze.
            any_order: Allow layers that are not the top ones.

        Raises:
            TopDownError: E_FREEZE_NOMATCH, E_FREEZE_ALL or E_FREEZE_ORDER.
        """
        frozen = {g.name for g in self.named(names)}
        if len(frozen) == self.n:
            do = "freeze fewer layers, or give an experiment in which more were trained"
            raise TopDownError("E_FREEZE_ALL", "nothing left to train", do)
        above = [g.name for g in self.groups[: len(frozen)]]
        if set(above) != frozen and not any_order:
            low = next(g.name for g in self.groups if g.name in frozen - set(above))
            gap = next(n for n in above if n not in frozen)
            what = f"layer {low} is frozen but {gap} above it is not"
            do = f"freeze {','.join(above)}, or give --allow_any_order true"
            raise TopDownError("E_FREEZE_ORDER", what, do)


@dataclass(frozen=True)
class StackSpec:
    """What a stack file says, before it is bound to a model's names."""

    name: str
    about: str
    fits: Mapping[str, Sequence[Any]]
    layers: tuple[Mapping[str, Any], ...]
    ignore: tuple[str, ...]
    task: str = "asr"
    text: str = ""

    @property
    def digest(self) -> str:
        """Of the file's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def bind(self, names: Iterable[str]) -> LayerStack:
        """Sort the names of a model's tensors into this stack's layers.

        Args:
            names: Of parameters and buffers.

        Returns:
            The layers; each name is in exactly one, or ignored.

        Raises:
            TopDownError: E_STACK (78) for a layer that is empty, two layers that share
                a name, names that no layer takes, or an output layer that is not in
                the top one.
        """
        names, constants = list(names), (*_BUFFERS, *self.ignore)
        ignored = [n for n in names if _matches(constants, n)]
        left = [n for n in names if n not in ignored]
        groups: list[LayerGroup] = []
        for layer in self.layers:
            bound = _bind_layer(layer, left)
            if not bound and not layer.get("optional"):
                raise self._error(f"layer {layer['name']} matches no parameter")
            groups += bound
        self._check_order(groups)
        owner: dict[str, str] = {}
        for group, name in ((g.name, n) for g in groups for n in g.params):
            if name in owner:
                what = f"{name} is in two layers, {owner[name]} and {group}"
                raise self._error(what, "leave it to one of them")
            owner[name] = group
        if rest := [n for n in left if n not in owner]:
            what = f"{len(rest)} parameters are in no layer, e.g. {rest[0]}"
            do = "add them to a layer of the stack, or to its 'ignore'"
            raise self._error(what, do)
        return LayerStack(tuple(groups), tuple(ignored))

    def _check_order(self, groups: Sequence[LayerGroup]) -> None:
        """A layer's name is its own, and an output layer is in the top one.

        Raises:
            TopDownError: E_STACK (78).
        """
        names = [g.name for g in groups]
        if twice := [n for n in names if names.count(n) > 1]:
            raise self._error(f"two layers are named '{twice[0]}'", "rename one")
        outputs = [(g, n) for g in groups for n in g.params if _matches(_OUTPUTS, n)]
        if outputs and all(g is not groups[0] for g, _ in outputs):
            group, name = outputs[0]
            what = f"{name}, an output layer, lies in layer {group.name}, below "
            do = "write the layers from the top (near the output) to the bottom"
            raise self._error(f"{what}{groups[0].name}", do)

    def _error(self, what: str, do: str = "use or write another stack") -> TopDownError:
        return TopDownError("E_STACK", f"stack {self.name}: {what}", do)


def _matches(patterns: Iterable[str], name: str) -> re.Match[str] | None:
    return next((m for m in (re.match(p, name) for p in patterns) if m), None)


# With {i} in its name a layer stands for one of each number, from the highest down.
def _bind_layer(layer: Mapping[str, Any], names: Sequence[str]) -> list[LayerGroup]:
    patterns = [p.replace("{i}", r"(?P<i>\d+)") for p in layer["params"]]
    params: dict[int, list[str]] = {}
    for name in names:
        if match := _matches(patterns, name):
            params.setdefault(int(match.groupdict().get("i", 0)), []).append(name)
    order = sorted(params, reverse=True)
    for key, numbers in (("top", order[:1]), ("bottom", order[-1:])):
        for i in numbers:
            params[i] += [n for n in names if _matches(layer.get(key, ()), n)]
    title = layer["name"]
    return [LayerGroup(title.replace("{i}", str(i)), tuple(params[i])) for i in order]


def shipped() -> list[str]:
    """Names of the stacks that come with this package.

    Returns:
        Sorted names, such as "asr_rnn".
    """
    return sorted(p.stem for p in _STACKS.glob("*.yaml"))


def load_stack(name: str | Path) -> StackSpec:
    """Read a shipped stack by name, or a stack file of the user's by path.

    Args:
        name: A shipped name, or the path of a .yaml file.

    Returns:
        The stack that it describes.

    Raises:
        TopDownError: E_STACK for an unknown name or a malformed file.
    """
    path = Path(name)
    if path.suffix != ".yaml":
        path = _STACKS / f"{name}.yaml"
    if not path.is_file():
        what = f"no stack '{name}' ({nearest(str(name), shipped())})"
        do = "give a shipped name or the path of a .yaml file"
        raise TopDownError("E_STACK", what, do, MISSING)
    return _parse_stack(read_text(path), path.stem, path)


def _parse_stack(text: str, name: str, path: Path) -> StackSpec:
    """The stack that a text describes.

    Args:
        text: Of a stack file.
        name: Of the stack.
        path: The file, for messages.

    Returns:
        The stack.

    Raises:
        TopDownError: E_STACK for a malformed text.
    """
    data = parse_yaml(text, path)
    keys = ("about", "task", "fits", "layers", "ignore")
    for key in data:
        if key not in keys:
            raise _malformed(path, f"unknown key '{key}' ({nearest(key, keys)})")
    layers = data.get("layers")
    if not isinstance(layers, list) or not layers:
        raise _malformed(path, "'layers' must be a list")
    return StackSpec(
        name=name,
        about=str(data.get("about", "")),
        fits={k: _list(path, k, v) for k, v in data.get("fits", {}).items()},
        layers=tuple(_layer(path, x) for x in layers),
        ignore=tuple(_patterns(path, "ignore", data.get("ignore", []))),
        task=str(data.get("task", "asr")),
        text=text,
    )


def _layer(path: Path, data: Any) -> dict[str, Any]:
    if not isinstance(data, dict) or "name" not in data or "params" not in data:
        raise _malformed(path, f"a layer needs 'name' and 'params', got {data!r}")
    layer = dict(data)
    for key in layer:
        if key not in ("name", "params", "top", "bottom", "optional"):
            raise _malformed(path, f"unknown key '{key}' in layer {layer['name']}")
    name = layer["name"]
    if not isinstance(name, str) or not re.fullmatch(r"[^\s,]+", name):
        raise _malformed(path, f"a layer's name {name!r} is no word")
    for key in ("params", "top", "bottom"):
        if key in layer:
            layer[key] = _patterns(path, f"{layer['name']}.{key}", layer[key])
    plain = [p for p in layer["params"] if "{i}" not in p]
    if "{i}" in str(layer["name"]) and plain:
        what = f"{layer['name']}: '{plain[0]}' has no {{i}}, as its layer's name has"
        raise _malformed(path, what)
    return layer


def _list(path: Path, key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        warn("W_SCALAR_LIST", f"{path}: '{key}' is one value; read as a list of one")
        return [value]
    return value


def _patterns(path: Path, key: str, value: Any) -> list[str]:
    for pattern in (patterns := [str(p) for p in _list(path, key, value)]):
        try:
            re.compile(pattern.replace("{i}", r"(?P<i>\d+)"))
        except re.error as e:
            raise _malformed(path, f"{key}: '{pattern}': {e}") from None
    return patterns


def _malformed(path: Path, what: str) -> TopDownError:
    return TopDownError("E_STACK", f"{path}: {what}", "correct the stack file")


_GENERIC = "generic"
_OUTPUTS = (
    r"ctc\.ctc_lo\.",
    r"decoder\.(?:output(?:_layer)?|lm_head)\.",
    r"joint_network\.lin_out\.",
    r"lm\.decoder\.",
)
# Parts of ESPnet's models, from the top; others follow the decoder.
_PARTS = (
    "joint_network",
    "decoder",
    "postencoder",
    "encoder",
    "preencoder",
    "frontend",
)


def stack_for(
    config: Mapping[str, Any],
    name: str | None = None,
    names: Callable[[], Iterable[str]] | None = None,
) -> StackSpec:
    """The stack asked for, or the shipped one that fits an experiment's config.

    Args:
        config: Of the experiment.
        name: A shipped stack, the path of a .yaml file, "generic" or "auto".
        names: Gives the names of the model's tensors; "generic" is made from them.

    Returns:
        The stack.

    Raises:
        TopDownError: E_STACK when none fits; E_KIND for a model of another kind.
    """
    kind = kind_of(config)
    if name == _GENERIC and names:
        return _generic_stack(names(), kind)
    if name and name != "auto":
        return load_stack(name)
    specs = [spec for spec in map(load_stack, shipped()) if spec.fits]
    for spec in specs:
        if all(config.get(key) in values for key, values in spec.fits.items()):
            return spec
    part = "lm" if "lm" in config else "encoder"
    fit = {each for spec in specs for each in spec.fits.get(part, ())}
    near = nearest(str(config.get(part)), sorted(fit, key=str))
    what = f"no shipped stack fits {part} '{config.get(part)}' ({near})"
    do = "see CONTRIBUTING.md, 'add a layer stack', and give --stack FILE.yaml"
    if names:
        layers = _generic_stack(names()).bind(names()).names
        do = "--stack generic, if you agree with its layers (from the top: "
        do = f"give {do}{', '.join(layers)}), or --stack FILE.yaml"
    raise TopDownError("E_STACK", what, do)


def _generic_stack(names: Iterable[str], task: str = "asr") -> StackSpec:
    """A stack for a model that no shipped one fits: its numbered blocks are layers.

    What a part of the model registers before its blocks goes below them, what it
    registers after them with the topmost one.

    Args:
        names: Of the model's tensors, in its own order.
        task: The kind of model.

    Returns:
        A stack whose text is a file that can be written and changed.
    """
    names = [n for n in names if not _matches(_BUFFERS, n)]
    outputs = [p for p in _OUTPUTS if any(re.match(p, n) for n in names)]
    left: dict[str, list[str]] = {}  # of each part of the model
    for name in names:
        if not _matches(outputs, name):
            left.setdefault(name.split(".")[0], []).append(name)
    above = [part for part in _PARTS[:2] if part in left]
    below = [part for part in _PARTS[2:] if part in left]
    others = [part for part in left if part not in _PARTS]
    layers: list[dict[str, Any]] = []
    if outputs:
        layers.append({"name": "softmax", "params": outputs})
    for part in (*above, *others, *below):
        layers += _generic_part(part, left[part])
    about = "numbered blocks, found by their names; look at them before you use them"
    data: dict[str, Any] = {"about": about, "layers": layers}
    if task != "asr":
        data["task"] = task
    return _parse_stack(yaml_bytes(data).decode(), _GENERIC, Path(_GENERIC))


# Layers of one part: its largest list of blocks and what is around it.
def _generic_part(part: str, names: Sequence[str]) -> list[dict[str, Any]]:
    lists: dict[str, list[str]] = {}
    for name in names:
        if match := re.match(r"((?:[^.\d][^.]*\.)+)(\d+)\.", name):
            lists.setdefault(match[1], []).append(match[2])
    lists = {prefix: i for prefix, i in lists.items() if len(set(i)) > 1}
    if not lists:
        return [{"name": part, "params": [re.escape(n) + "$" for n in names]}]
    blocks = max(lists, key=lambda prefix: len(lists[prefix]))
    first = next(i for i, n in enumerate(names) if n.startswith(blocks))
    before: list[str] = []
    after: list[str] = []
    for i, name in enumerate(names):
        if not name.startswith(blocks):
            last = i > first or re.search(r"after_norm|final|ln_post", name)
            (after if last else before).append(re.escape(name) + "$")
    short = {"encoder": "enc", "decoder": "dec"}.get(part, part)
    layers = [{"name": short + "{i}", "params": [re.escape(blocks) + r"{i}\."]}]
    if after:
        layers[0]["top"] = after
    if before:
        layers.append({"name": f"{short}_input", "params": before})
    return layers


def write_stack(spec: StackSpec, folder: Path) -> None:
    """Write a stack's text into the folder of a job or a search.

    Args:
        spec: The stack.
        folder: The folder, which is there.
    """
    write_bytes(Path(folder) / _STACK_FILE, spec.text.encode())


def read_stack(folder: Path, record: Mapping[str, Any]) -> StackSpec | None:
    """The stack that a folder of a job or a search carries.

    Args:
        folder: With stack.yaml.
        record: Its retrain.yaml or search.yaml, which has the text's name and digest.

    Returns:
        The stack; None in a folder of an older version, which has no text.

    Raises:
        TopDownError: E_DIGEST (65) when it is not the text that was written.
    """
    path = Path(folder) / _STACK_FILE
    if "stack_sha256" not in record:
        return None
    spec = _parse_stack(read_text(path), record["stack"], path)
    if spec.digest != record["stack_sha256"]:
        what = f"{path} is not the file that was written for {folder}"
        do = "bring it back, or move the folder away and run the same command again"
        raise TopDownError("E_DIGEST", what, do, DATA)
    return spec


def resolve_stack(
    config: Mapping[str, Any],
    asked: str,
    made: Path,
    names: Callable[[], Iterable[str]],
) -> StackSpec:
    """The stack of a folder that is continued, or the one asked for now.

    A file may have moved since, and a shipped stack may have got another text: then it
    is the one that the folder carries. Where it differs from the one asked for,
    comparing their digests tells.

    Args:
        config: Of the base experiment.
        asked: The name of a stack, see ``stack_for``.
        made: retrain.yaml of a job or search.yaml of a search; need not be there.
        names: Gives the names of the model's tensors.

    Returns:
        The stack.

    Raises:
        TopDownError: E_STACK; those of ``read_stack``.
    """
    record = read_record(made) if made.is_file() else {}
    kept = read_stack(made.parent, record)
    if kept is None:
        return stack_for(config, asked, names)
    try:
        now = stack_for(config, asked, names)
    except TopDownError:
        if Path(asked).stem == kept.name and not Path(asked).is_file():
            return kept
        raise
    by_file = Path(asked).suffix == ".yaml"
    return now if by_file or now.name != kept.name else kept
