"""What freezing and initial weights promise, checked on the model before epoch 1."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence

import torch

from espnet_topdown.errors import DATA, TopDownError, nearest
from espnet_topdown.models.config import InitParam
from espnet_topdown.models.weights import load_weights


def check_freeze(patterns: Sequence[str], model: torch.nn.Module) -> None:
    """Each pattern freezes something and something is left to train.

    Raises:
        TopDownError: E_FREEZE_NOMATCH or E_FREEZE_ALL.
    """
    freeze_aliases(patterns, model)
    names = [n for n, _ in model.named_parameters(remove_duplicate=False)]
    for pattern in patterns:
        if not any(_matches(n, pattern) for n in names):
            hint = nearest(pattern, prefixes(names))
            raise TopDownError(
                "E_FREEZE_NOMATCH",
                f"'{pattern}' matches no parameter ({hint})",
                "write a parameter's name or whole parts of it, with no '.' at the end",
            )
    if names and not any(p.requires_grad for p in model.parameters()):
        raise TopDownError("E_FREEZE_ALL", "nothing left to train", "freeze less")


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(pattern + ".")


def freeze_aliases(patterns: Sequence[str], model: torch.nn.Module) -> None:
    """Freeze tied tensors by any of their names; ESPnet knows the first one only."""
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if any(_matches(name, p) for p in patterns):
            parameter.requires_grad = False


def aliases(model: torch.nn.Module) -> dict[str, list[str]]:
    """First name of a tied parameter -> its other names."""
    found: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found.setdefault(id(parameter), []).append(name)
    return {names[0]: names[1:] for names in found.values() if names[1:]}


def prefixes(names: Iterable[str]) -> list[str]:
    """All dotted beginnings of the names."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        for i in range(1, len(parts) + 1):
            found[".".join(parts[:i])] = None
    return list(found)


def check_init(text: str, model: torch.nn.Module, skip_mismatch: bool) -> list[str]:
    """Which tensors of the model an ``init_param`` will set.

    The file is read as tensors only, so ESPnet's own reading executes nothing.

    Raises:
        TopDownError: E_CKPT_*, E_INIT_EMPTY, E_PREFIX_AMBIGUOUS, E_PATH.
    """
    init = InitParam.parse(text)
    state = load_weights(init.path)
    for pattern in init.excluded:
        _check_excluded(pattern, state)
    kept = [n for n in state if not n.startswith(init.excluded or ("\0",))]
    if init.source:
        cut = len(init.source) + 1
        kept = [n[cut:] for n in kept if n.startswith(init.source + ".")]
    goal = f"{init.destination}." if init.destination else ""
    target = {n: t for n, t in model.state_dict().items() if n.startswith(goal)}
    names = [goal + n for n in kept]
    known = [n for n in names if n in target]
    if not known:
        tops = sorted({n.split(".")[0] for n in state})
        raise TopDownError(
            "E_INIT_EMPTY",
            f"{text} loads nothing into '{init.destination or 'the model'}'; "
            f"the file has {', '.join(tops[:12])}",
            "correct the prefixes: path:source:destination:excluded",
        )
    if not skip_mismatch:
        _check_fits(text, names, kept, state, target, init)
    return known


def _check_excluded(pattern: str, state: Mapping[str, torch.Tensor]) -> None:
    """ESPnet excludes by the bare beginning of a name."""
    hit = [n for n in state if n.startswith(pattern)]
    if not hit:
        raise TopDownError(
            "E_INIT_EMPTY",
            f"excluded '{pattern}' is in no name ({nearest(pattern, prefixes(state))})",
            "correct it, or nothing would be excluded",
        )
    number = re.search(r"\d*$", pattern)
    number = number.group() if number else ""
    blocks = {number + n[len(pattern) :].split(".")[0] for n in hit if number}
    if len(blocks) > 1:
        raise TopDownError(
            "E_PREFIX_AMBIGUOUS",
            f"excluded '{pattern}' matches blocks {', '.join(sorted(blocks))}",
            f"write '{pattern}.'",
        )


def _check_fits(text, names, kept, state, target, init):  # type: ignore[no-untyped-def]
    source = f"{init.source}." if init.source else ""
    for name, short in zip(names, kept):
        if name not in target:
            what = f"{text}: the model has no {name} ({nearest(name, target, 1)})"
        elif target[name].shape != state[source + short].shape:
            have, want = state[source + short].shape, target[name].shape
            what = f"{text}: {name} is {tuple(have)}, in the model {tuple(want)}"
        else:
            continue
        raise TopDownError(
            "E_CKPT_KEYS",
            what,
            "exclude it, or give --ignore_init_mismatch true",
            DATA,
        )


def table(model: torch.nn.Module, loaded: Mapping[str, str], most: int = 40) -> str:
    """Which parts are trained and where their first values come from.

    Args:
        model: After freezing.
        loaded: Tensor name -> the file that it is read from.
        most: Rows; parts are joined until there are no more.
    """
    names = [n for n, _ in model.named_parameters()]
    depth = max((n.count(".") for n in names), default=1)
    while depth > 1 and len({_part(n, depth) for n in names}) > most:
        depth -= 1
    rows: dict[tuple[str, str, str], int] = {}
    for name, parameter in model.named_parameters():
        state = "trained" if parameter.requires_grad else "frozen"
        key = (_part(name, depth), state, loaded.get(name, "new"))
        rows[key] = rows.get(key, 0) + parameter.numel()
    width = max((len(k[0]) for k in rows), default=0)
    lines = [f"{'part':{width}} {'parameters':>11}  state    from"]
    for (part, state, source), size in rows.items():
        lines.append(f"{part:{width}} {size:>11,}  {state:8} {source}")
    total = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    lines.append(f"{'trained':{width}} {trained:>11,}  of {total:,}")
    for name, others in aliases(model).items():
        lines.append(f"tied: {', '.join([name, *others])} are one tensor")
    return "\n".join(lines)


def _part(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:-1][:depth])


def check_model(
    model: torch.nn.Module,
    freeze: Sequence[str],
    init: Sequence[str],
    skip_mismatch: bool,
) -> None:
    """Check freezing and initial weights and log the table."""
    check_freeze(freeze, model)
    loaded: dict[str, str] = {}
    for text in init:
        for name in check_init(text, model, skip_mismatch):
            loaded[name] = text.split(":")[0]
    logging.info("what is trained:\n%s", table(model, loaded))
