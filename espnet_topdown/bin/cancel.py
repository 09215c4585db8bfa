"""espnet-topdown cancel EXP_topdown

End a search and its jobs, here or on the cluster. The same search command continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet-topdown cancel", description=__doc__)
    parser.add_argument("search_dir", type=Path, help="The search's folder")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Cancel."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.cli.clean import cancel

    print("\n".join(cancel(args.search_dir)))


if __name__ == "__main__":
    main()
