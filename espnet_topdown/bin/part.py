"""python -m espnet_topdown.bin.part --paper wsj --part p20 --data_dir D --stats_dir S

Write a part of a training set and of its statistics: D_p20 and S_p20. Parts are
nested, and `unseen` has no utterance of p80.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = Parser(description=__doc__, prog="part")
    add = parser.add_argument
    add("--paper", required=True, help="A corpus of rows.yaml in --conf")
    add("--conf", type=Path, default="conf", help="Folder of the configurations")
    add("--part", required=True, help="A name in its `parts`")
    add("--data_dir", type=Path, required=True, help="The whole training set")
    add("--stats_dir", type=Path, required=True, help="Its statistics (stage 10)")
    add("--lists", type=Path, required=True, help="Folder of the lists of utterances")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Write the part."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.data.parts import make_part
    from espnet_topdown.search.rows import read_paper

    percent = read_paper(args.paper, args.conf).parts[args.part]
    print(make_part(args.part, percent, args.data_dir, args.stats_dir, args.lists))


if __name__ == "__main__":
    main()
