"""The command line of a training: ESPnet's options and ours, read strictly."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from espnet2.utils import config_argparse

from espnet_topdown.errors import USAGE, TopDownError, nearest, warn
from espnet_topdown.files import read_yaml, true_or_false

OURS = (
    "fast_lstm",
    "sdpa",
    "frozen_norm",
    "init_uniform",
    "adadelta_eps_decay",
    "progress",
    "harvest",
    "allow_infeasible",
)
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


class TrainParser(config_argparse.ArgumentParser):
    """ESPnet's parser of options and ``--config``, with errors that name the remedy.

    Options are never abbreviated, a key of the config is given once, and ``1e-3`` in
    an option of numbers is a number (YAML 1.1 reads a string).
    """

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """ESPnet's, after a look at the config that ESPnet does not take."""
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        first.add_argument("--config")
        config = first.parse_known_args(args)[0].config
        if config is not None:
            self._check_keys(config, read_yaml(Path(config)))
        parsed, rest = super().parse_known_args(args, namespace)
        if config is not None:
            self._fix_numbers(parsed)
        return parsed, rest

    def _check_keys(self, path: str, config: dict[str, Any]) -> None:
        known = {a.dest for a in self._actions}
        for key in config:
            if key not in known:
                raise TopDownError(
                    "E_YAML_KEY",
                    f"'{key}' in {path} is no option ({nearest(str(key), known)})",
                    "correct or remove that line",
                )

    def _fix_numbers(self, parsed: argparse.Namespace) -> None:
        floats = {a.dest for a in self._actions if a.type is float}
        for key, value in vars(parsed).items():
            if key.endswith("_conf") or key in floats:
                setattr(parsed, key, as_numbers(value, key))

    def error(self, message: str) -> NoReturn:
        """E_USAGE (64) instead of a page of options."""
        found = re.match(r"unrecognized arguments: (\S+)", message)
        if found:
            known = [o for o in self._option_string_actions if o.startswith("--")]
            name = found.group(1).split("=")[0]
            message = f"unknown option {name} ({nearest(name, known)})"
        raise TopDownError("E_USAGE", message, f"see '{self.prog} --help'", USAGE)


def as_numbers(value: Any, where: str) -> Any:
    """The same structure with strings such as ``1e-3`` as floats.

    >>> as_numbers({"lr": 0.5, "betas": [0.9, 0.99]}, "optim_conf")
    {'lr': 0.5, 'betas': [0.9, 0.99]}
    """
    if isinstance(value, dict):
        return {k: as_numbers(v, f"{where} {k}") for k, v in value.items()}
    if isinstance(value, list):
        return [as_numbers(v, where) for v in value]
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        warn("W_YAML_NUMBER", f"{where}: the string '{value}' is read as a number")
        return float(value)
    return value


def complete(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add our options to ESPnet's parser and make it strict."""
    parser.__class__ = TrainParser
    parser.allow_abbrev = False
    group = parser.add_argument_group("Top-down training")
    add = group.add_argument
    yes_no = dict(type=true_or_false, metavar="true|false")
    add("--fast_lstm", default=True, help="Fast, exact LSTMs on a CPU", **yes_no)
    add(
        "--sdpa",
        default=False,
        help="Train the attention of Transformers by torch's fused kernel",
        **yes_no,
    )
    add(
        "--frozen_norm",
        choices=("eval", "train"),
        default="eval",
        help="Whether frozen BatchNorms keep their statistics (eval)",
    )
    add(
        "--init_uniform",
        type=float,
        default=0.0,
        help="Draw initial weights and biases from U(-a, a); 0: ESPnet's own",
    )
    add(
        "--adadelta_eps_decay",
        type=float,
        default=0.0,
        help="Multiply AdaDelta's eps by this when validation gets worse; 0: never",
    )
    add(
        "--progress",
        default=True,
        help="A log line an epoch, progress.json, curve.jsonl",
        **yes_no,
    )
    add(
        "--harvest",
        default="",
        metavar="LAYER,...",
        help="Keep these layers of every epoch: harvest/<epoch>.pth",
    )
    add("--harvest_stack", default="", help="Their layer stack: a name or a .yaml file")
    add(
        "--allow_infeasible",
        default=False,
        help="Train on although CTC cannot align some references (their loss is 0)",
        **yes_no,
    )
    return parser


def complete_lm(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The same for a language model's parser."""
    parser.__class__ = TrainParser
    parser.allow_abbrev = False
    add = parser.add_argument_group("Continuous text").add_argument
    add("--bptt", type=int, default=70, help="Usual number of steps of a batch")
    add(
        "--progress",
        type=true_or_false,
        metavar="true|false",
        default=True,
        help="A log line an epoch, progress.json, curve.jsonl",
    )
    parser.set_defaults(
        best_model_criterion=[("valid", "loss", "min")], keep_nbest_models=[1]
    )
    return parser


def dashes(cmd: Sequence[str] | None) -> list[str]:
    """``--max-epoch 3`` is ``--max_epoch 3``, as in a Kaldi recipe."""
    fixed = []
    for arg in sys.argv[1:] if cmd is None else cmd:
        if arg.startswith("--"):
            name, eq, value = arg.partition("=")
            arg = "--" + name[2:].replace("-", "_") + eq + value
        fixed.append(arg)
    return fixed
