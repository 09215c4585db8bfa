"""espnet-topdown VERB [ARGUMENT]... [OPTION]...

Top-down training for ESPnet. 'espnet-topdown VERB --help' explains a verb.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Sequence

from espnet_topdown import __version__
from espnet_topdown.cli import _care, _data, _look, _score, _search
from espnet_topdown.cli.parser import PROGRAM, VERBS, parser_of
from espnet_topdown.errors import USAGE, TopDownError, command, nearest


def _usage() -> str:
    """Return the help text."""
    lines = [f"usage: {__doc__}".rstrip()]
    for module in (_look, _search, _score, _care, _data):
        lines += ["", f"{module.__doc__}:"]
        mine = [n for n, v in VERBS.items() if v.run.__module__ == module.__name__]
        lines += [f"  {name:<15}{VERBS[name].summary}" for name in mine]
    return "\n".join(lines)


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run a verb."""
    gc.set_threshold(100_000, 20, 100)  # long lists hold no cycles to look for
    if cmd is None:  # what ESPnet says of a model that is only checked is no news
        logging.getLogger().setLevel(logging.WARNING)
        logging.getLogger("espnet_topdown").setLevel(logging.INFO)
    if "_ARGCOMPLETE" in os.environ:  # a shell asks, see cli/_complete.py
        from espnet_topdown.cli._complete import print_completions

        print_completions()
    name, *rest = (sys.argv[1:] if cmd is None else list(cmd)) or ["--help"]
    if name in ("-h", "--help"):
        print(_usage())
    elif name == "--version":
        print(__version__)
    elif name in VERBS:
        VERBS[name].run(**vars(parser_of(name).parse_args(rest)))
    else:
        what = f"unknown command '{name}' ({nearest(name, VERBS)})"
        raise TopDownError("E_USAGE", what, f"see '{PROGRAM} --help'", USAGE)
