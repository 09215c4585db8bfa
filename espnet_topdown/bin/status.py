"""espnet-topdown status EXP_topdown --watch true

One screen: every model of a search, its state, epoch, time left and where it runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet-topdown status", description=__doc__)
    add = parser.add_argument
    add("search_dir", type=Path, help="The search's folder")
    add(
        "--watch",
        type=true_or_false,
        nargs="?",
        const=True,
        default=False,
        help="Show it again every --seconds, until interrupted",
    )
    add("--seconds", type=float, default=10.0, help="Between two looks")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Print the screen."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.search.status import screen

    print(screen(args.search_dir), flush=True)
    while args.watch:
        time.sleep(args.seconds)
        print("\033[2J\033[H" + screen(args.search_dir), flush=True)


if __name__ == "__main__":
    main()
