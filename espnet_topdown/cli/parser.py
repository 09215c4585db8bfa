"""The command line: one parser class, one way to end."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from espnet_topdown.errors import REMOVED_OPTIONS, USAGE, TopDownError, nearest


class Parser(argparse.ArgumentParser):
    """ESPnet's option style (``--snake_case``), with errors that name the remedy.

    Options are never abbreviated; ``-`` and ``_`` inside an option name are the same,
    as in a Kaldi recipe.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("formatter_class", argparse.ArgumentDefaultsHelpFormatter)
        super().__init__(*args, allow_abbrev=False, **kwargs)  # type: ignore[arg-type]

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        args = list(sys.argv[1:] if args is None else args)
        end = args.index("--") if "--" in args else len(args)
        args[:end] = map(_underscored, args[:end])
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        do = f"see '{self.prog} --help'"
        prefix = "unrecognized arguments: "
        if message.startswith(prefix):
            first = next(iter(message[len(prefix) :].split()), "")
            name = first.partition("=")[0].lstrip("-")
            if name in REMOVED_OPTIONS:
                message = f"--{name} was removed, see {REMOVED_OPTIONS[name]}"
                do = "leave it out"
            elif first.startswith("--"):
                known = [o for o in self._option_string_actions if o.startswith("--")]
                message = f"unknown option {first} ({nearest(first, known)})"
            else:
                message = f"unexpected argument '{first}'"
        raise TopDownError("E_USAGE", f"{self.prog}: {message}", do, USAGE)


def _underscored(arg: str) -> str:
    if not arg.startswith("--"):
        return arg
    name, eq, value = arg.partition("=")
    return "--" + name[2:].replace("-", "_") + eq + value


def whole(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be 0 or more, got '{text}'")
    return int(text)


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers with commas.

    >>> numbers("20,40")
    (20, 40)
    """
    try:
        return tuple(sorted({int(n) for n in text.split(",") if n}))
    except ValueError as e:
        what = f"must be whole numbers with commas, got '{text}'"
        raise argparse.ArgumentTypeError(what) from e
