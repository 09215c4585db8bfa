"""espnet-topdown clean EXP_topdown --keep best

Delete checkpoints and models of all but the best path of a finished search. It shows
them and asks first; scores, configurations, logs and the report stay.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet-topdown clean", description=__doc__)
    add = parser.add_argument
    add("search_dir", type=Path, help="The search's folder")
    add("--keep", default="best", help="best: the best model and those of its path")
    add("--yes", type=true_or_false, default=False, help="Delete without asking")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Show, ask, delete."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.cli.clean import removable, remove
    from espnet_topdown.search.status import megabytes

    files = removable(args.search_dir, args.keep)
    for path in files:
        print(f"{megabytes(path.stat().st_size):>12}  {path}")
    freed = megabytes(sum(p.stat().st_size for p in files))
    if not files:
        print("nothing to delete")
    elif args.yes or _agreed(f"delete these {len(files)} files ({freed})? [y/N] "):
        remove(files)
        print(f"deleted {len(files)} files, {freed}")
    else:
        print("nothing was deleted")


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


if __name__ == "__main__":
    main()
