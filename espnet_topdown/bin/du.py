"""espnet-topdown du EXP_topdown

How much room each model of a search takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet-topdown du", description=__doc__)
    parser.add_argument("search_dir", type=Path, help="The search's folder")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Print one line a folder."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.search.status import disk_use, megabytes

    sizes = disk_use(args.search_dir)
    for name, size in [*sizes, ("all", sum(s for _, s in sizes))]:
        print(f"{megabytes(size):>12}  {name}")


if __name__ == "__main__":
    main()
