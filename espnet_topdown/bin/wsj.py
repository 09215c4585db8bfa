"""python -m espnet_topdown.bin.wsj --wsj0 /corpora/wsj0 --wsj1 /corpora/wsj1

Writes data/{train_si284,train_si84,test_dev93,test_eval92} and data/nlsyms.txt from the
discs of WSJ0 and WSJ1. In a recipe the steps run one by one, ``--step convert`` as
jobs: ``--nj N --job JOB``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false


def get_parser() -> Parser:
    """Options of this command."""
    parser = Parser(description="Prepare the Wall Street Journal corpus.")
    parser.add_argument("--wsj0", default="", help="folder of WSJ0's discs")
    parser.add_argument("--wsj1", default="", help="folder of WSJ1's; may be the same")
    parser.add_argument(
        "--output_dir", type=Path, default="data", help="where the sets are written"
    )
    parser.add_argument(
        "--allow_partial",
        type=true_or_false,
        default=False,
        help="true: prepare what is there of an incomplete copy",
    )
    parser.add_argument(
        "--step",
        choices=["lists", "convert", "sets", "all"],
        default="all",
        help="find files, make FLAC files, write the sets, or everything",
    )
    parser.add_argument("--nj", type=int, default=1, help="shards of --step convert")
    parser.add_argument("--job", type=int, help="convert only this shard, from 1")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.data.wsj import run

    run(**vars(args))


if __name__ == "__main__":
    main()
