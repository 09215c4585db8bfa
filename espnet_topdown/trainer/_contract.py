"""What freezing and initial weights promise, checked on the model before epoch 1."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Mapping, Sequence

import torch

from espnet_topdown.errors import DATA, TopDownError, nearest
from espnet_topdown.models.config import InitParam
from espnet_topdown.models.weights import load_weights


def check_freeze(patterns: Sequence[str], model: torch.nn.Module) -> None:
    """Each pattern freezes something and something is left to train.

    Tied tensors are frozen by any of their names; ESPnet knows the first one only.

    Args:
        patterns: ESPnet's ``freeze_param``.
        model: Frozen by ESPnet.

    Raises:
        TopDownError: E_FREEZE_NOMATCH or E_FREEZE_ALL.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for pattern in patterns:
        hit = [n for n in parameters if f"{n}.".startswith(f"{pattern}.")]
        for name in hit:
            parameters[name].requires_grad = False
        if not hit:
            close = nearest(pattern, _prefixes(parameters))
            what = f"'{pattern}' matches no parameter ({close})"
            do = "write a parameter's name or whole parts of it, with no '.' at the end"
            raise TopDownError("E_FREEZE_NOMATCH", what, do)
    if parameters and not any(p.requires_grad for p in model.parameters()):
        raise TopDownError("E_FREEZE_ALL", "nothing left to train", "freeze less")


def _prefixes(names: Iterable[str]) -> list[str]:
    # All dotted beginnings of the names.
    parts = [name.split(".") for name in names]
    return list({".".join(p[:i]): 0 for p in parts for i in range(1, len(p) + 1)})


def check_init(text: str, model: torch.nn.Module, skip_mismatch: bool) -> list[str]:
    """Which tensors of the model an ``init_param`` will set.

    The file is read as tensors only, so ESPnet's own reading executes nothing.

    Args:
        text: ``path[:source[:destination[:excluded,...]]]``.
        model: Only names and shapes are looked at.
        skip_mismatch: ESPnet's ``--ignore_init_mismatch``.

    Returns:
        Names of tensors of the model.

    Raises:
        TopDownError: E_CKPT_*, E_INIT_EMPTY, E_PREFIX_AMBIGUOUS, E_PATH.
    """
    init = InitParam.parse(text)
    state, target = load_weights(init.path), model.state_dict()
    for pattern in init.excluded:
        _check_excluded(pattern, state)
    names = {target_name: n for n in state if (target_name := init.target(n))}
    loaded = [n for n in names if n in target]
    if not loaded:
        tops = sorted({n.split(".")[0] for n in state})
        what = f"{text} loads nothing into '{init.destination or 'the model'}'; "
        what += f"the file has {', '.join(tops[:12])}"
        do = "correct the prefixes: path:source:destination:excluded"
        raise TopDownError("E_INIT_EMPTY", what, do)
    for name, source in names.items() if not skip_mismatch else ():
        if name not in target:
            what = f"{text}: the model has no {name} ({nearest(name, target, 1)})"
        elif target[name].shape != state[source].shape:
            have, want = tuple(state[source].shape), tuple(target[name].shape)
            what = f"{text}: {name} is {have}, in the model {want}"
        else:
            continue
        do = "exclude it, or give --ignore_init_mismatch true"
        raise TopDownError("E_CKPT_KEYS", what, do, DATA)
    return loaded


def _check_excluded(pattern: str, state: Mapping[str, torch.Tensor]) -> None:
    """ESPnet excludes by the bare beginning of a name."""
    hit = [n for n in state if n.startswith(pattern)]
    if not hit:
        close = nearest(pattern, _prefixes(state))
        what = f"excluded '{pattern}' is in no name ({close})"
        do = "correct it, or nothing would be excluded"
        raise TopDownError("E_INIT_EMPTY", what, do)
    number = pattern[len(pattern.rstrip("0123456789")) :]
    blocks = {number + n[len(pattern) :].split(".")[0] for n in hit if number}
    if len(blocks) > 1:
        what = f"excluded '{pattern}' matches blocks {', '.join(sorted(blocks))}"
        raise TopDownError("E_PREFIX_AMBIGUOUS", what, f"write '{pattern}.'")


def check_model(model: torch.nn.Module, args: argparse.Namespace) -> None:
    """Check freezing and initial weights, and log how much is trained.

    Args:
        model: Frozen by ESPnet; its initial weights are not read yet.
        args: The options of a training.

    Raises:
        TopDownError: Those of ``check_freeze`` and ``check_init``.
    """
    check_freeze(args.freeze_param, model)
    loaded: set[str] = set()
    for text in args.init_param:
        loaded.update(check_init(text, model, args.ignore_init_mismatch))
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    trained, total = sum(n for n, grad in sizes if grad), sum(n for n, _ in sizes)
    what = "%d of %d values are trained, %d tensors begin as init_param has them"
    logging.info(what, trained, total, len(loaded))
