"""The command line: one parser class, one way to end."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from espnet_topdown.errors import IO, USAGE, TopDownError, nearest


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
            if first.startswith("--"):
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


def true_or_false(text: str) -> bool:
    """The two words that ESPnet's options take."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, got '{text}'")
    return text.lower() == "true"


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


def command(main: Callable[[Sequence[str] | None], object]) -> Callable[..., None]:
    """Give a ``main(cmd=None)`` our log format, error messages and exit statuses."""

    @functools.wraps(main)
    def run(cmd: Sequence[str] | None = None) -> None:
        logging.basicConfig(
            level=logging.INFO,
            format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s",
        )
        try:
            main(cmd)
            sys.stdout.flush()
        except TopDownError as e:
            _end(e)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(IO)
        except OSError as e:
            from espnet_topdown.yaml_io import DISK_ERRORS, disk_error

            if e.errno not in DISK_ERRORS:
                raise
            where = e.filename if isinstance(e.filename, str) else os.curdir
            _end(disk_error(Path(where).absolute(), 0, e))
        except KeyboardInterrupt:
            print("interrupted; the same command continues", file=sys.stderr)
            sys.exit(130)

    return run


def _end(error: TopDownError) -> NoReturn:
    """Say what is wrong, if there is room for it, and end with its status."""
    for stream, text in ((sys.stdout, ""), (sys.stderr, f"{error}\n")):
        try:
            stream.write(text)
            stream.flush()
        except OSError:  # a full disk; Python would try again and change the status
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(error.status)
