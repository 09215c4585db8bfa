"""espnet-topdown wikitext --output_dir data --downloads downloads

WikiText-2 as data/{train,dev,test}.txt and data/tokens.txt; --small: a part, for a CPU.
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
    parser = Parser(prog="espnet-topdown wikitext", description=__doc__)
    add = parser.add_argument
    add("--wikitext", type=Path, help="Folder of the texts; default: download them")
    add("--downloads", type=Path, default=Path("downloads"), help="For the archive")
    add("--output_dir", type=Path, required=True, help="Gets the texts and the words")
    add(
        "--small",
        type=true_or_false,
        default=False,
        help="Parts of valid and test only; figures are not comparable with others",
    )
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Write the texts."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.data import wikitext

    folder = args.wikitext or wikitext.fetch(args.downloads)
    write = wikitext.prepare_small if args.small else wikitext.prepare
    for name, n in write(folder, args.output_dir).items():
        print(f"{name}: {n:,}")


if __name__ == "__main__":
    main()
