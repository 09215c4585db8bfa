"""The command of a training: ESPnet's options and ours, read strictly; its start."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from espnet2.utils import config_argparse

from espnet_topdown.errors import CREATE, USAGE, TopDownError, nearest, warn
from espnet_topdown.files import Lock, read_yaml, str2bool
from espnet_topdown.trainer import _processes
from espnet_topdown.trainer._checkpoints import repair
from espnet_topdown.trainer._checks import check_options

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


class TrainParser(config_argparse.ArgumentParser):
    """ESPnet's parser of options and ``--config``, with errors that name the remedy.

    Options are never abbreviated, a key of the config is given once, and ``1e-3`` in
    an option of numbers is a number (YAML 1.1 reads a string).
    """

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Parse as ESPnet does, after a look at the config that ESPnet does not take.

        Args:
            args: The command line; None is that of the process.
            namespace: Where the options go.

        Returns:
            The options and what is left.
        """
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        first.add_argument("--config")
        config = first.parse_known_args(args)[0].config
        if config is not None:
            self._check_keys(config, read_yaml(Path(config)))
        parsed, rest = super().parse_known_args(args, namespace)
        floats = {a.dest for a in self._actions if a.type is float}
        for key, value in vars(parsed).items():
            if key.endswith("_conf") or key in floats:
                setattr(parsed, key, _as_numbers(value, key))
        return parsed, rest

    def _check_keys(self, path: str, config: dict[str, Any]) -> None:
        known = {a.dest: a for a in self._actions}
        for key, value in config.items():
            if key not in known:
                what = f"'{key}' in {path} is no option ({nearest(str(key), known)})"
                raise TopDownError("E_YAML_KEY", what, "correct or remove that line")
            convert = known[key].type
            if isinstance(value, str) and callable(convert):
                try:
                    convert(value)
                except (ValueError, TypeError, argparse.ArgumentTypeError) as e:
                    what = f"{path}: {key} is '{value}' ({e})"
                    do = f"write what '{self.prog} --help' says of --{key}"
                    raise TopDownError("E_CONFIG_KEY", what, do) from e

    def error(self, message: str) -> NoReturn:
        """E_USAGE (64) instead of a page of options."""
        found = re.match(r"unrecognized arguments: (\S+)", message)
        if found:
            known = [o for o in self._option_string_actions if o.startswith("--")]
            name = found.group(1).split("=")[0]
            message = f"unknown option {name} ({nearest(name, known)})"
        raise TopDownError("E_USAGE", message, f"see '{self.prog} --help'", USAGE)


def _as_numbers(value: Any, where: str) -> Any:
    """Returns the same structure with strings such as ``1e-3`` as floats.

    >>> _as_numbers({"lr": 0.5, "betas": [0.9, 0.99]}, "optim_conf")
    {'lr': 0.5, 'betas': [0.9, 0.99]}
    """
    if isinstance(value, dict):
        return {k: _as_numbers(v, f"{where} {k}") for k, v in value.items()}
    if isinstance(value, list):
        return [_as_numbers(v, where) for v in value]
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        warn("W_YAML_NUMBER", f"{where}: the string '{value}' is read as a number")
        return float(value)
    return value


_ASR = {  # option: default, whose type it has, and help
    "--fast_lstm": (True, "Fast, exact LSTMs on a CPU"),
    "--sdpa": (False, "Train the attention of Transformers by torch's fused kernel"),
    "--frozen_norm": ("eval", "Whether frozen BatchNorms keep their statistics (eval)"),
    "--init_uniform": (0.0, "Draw initial values from U(-a, a); 0: ESPnet's own"),
    "--adadelta_eps_decay": (
        0.0,
        "Multiply AdaDelta's eps by this when validation gets worse; 0: never",
    ),
    "--harvest": ("", "Keep these layers (LAYER,...) of every epoch: harvest/N.pth"),
    "--harvest_stack": ("", "Their layer stack: a name or a .yaml file"),
    "--allow_infeasible": (
        False,
        "Train on although CTC cannot align some references (their loss is 0)",
    ),
}
_LM = {"--bptt": (70, "Usual number of steps of a batch")}
_BOTH = {"--progress": (True, "A log line an epoch, progress.json, curve.jsonl")}
_CHOICES = {"--frozen_norm": ("eval", "train")}


def complete(parser: argparse.ArgumentParser, task: str) -> argparse.ArgumentParser:
    """Add our options to ESPnet's parser and make it strict.

    Args:
        parser: Changed in place.
        task: "asr" or "lm".

    Returns:
        The parser.
    """
    parser.__class__ = TrainParser
    parser.allow_abbrev = False
    group = parser.add_argument_group("Top-down training")
    table: dict[str, tuple[Any, str]] = {**(_LM if task == "lm" else _ASR), **_BOTH}
    for option, (default, text) in table.items():
        more: dict[str, Any] = {"type": type(default), "choices": _CHOICES.get(option)}
        if isinstance(default, bool):
            more = {"type": str2bool, "metavar": "true|false"}
        group.add_argument(option, default=default, help=text, **more)
    return parser


def start(
    task: Any,
    kind: str,
    main: Callable[..., None],
    args: argparse.Namespace | None,
    cmd: Sequence[str] | None,
) -> None:
    """Check the options, mend the folder, train.

    Args:
        task: ESPnet's task, ours.
        kind: "asr" or "lm".
        main: The ``main`` of ESPnet's task.
        args: The parsed options.
        cmd: The command line, where there are no ``args``; None is that of the process.

    Raises:
        TopDownError: Whatever the checks, the repair and the trainer find.
    """
    if args is None:
        args = task.get_parser().parse_args(cmd)
    if args.print_config:
        main(args=args)
        return
    task.check_required_command_args(args)
    folder = Path(args.output_dir)
    if folder.exists() and not folder.is_dir():
        what, do = f"{folder} is a file", "choose another --output_dir"
        raise TopDownError("E_CREATE", what, do, CREATE)
    first = _processes.is_first(args) and not args.collect_stats
    lock = Lock(folder / ".train.lock", "process", doing="training")
    with lock if first else contextlib.nullcontext():
        check_options(args, "stats" if args.collect_stats else kind)
        if first:
            nbest = args.keep_nbest_models
            keep = nbest if isinstance(nbest, int) else max(nbest, default=1)
            repair(folder, args.best_model_criterion, keep)
        _processes.as_main(args, main)
