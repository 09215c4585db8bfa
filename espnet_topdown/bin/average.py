"""python -m espnet_topdown.bin.average --exp exp/asr_train_raw_en_bpe2000 --n 10

Write the mean of an experiment's best epochs and print the file's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> Parser:
    """Options of this command."""
    parser = Parser(description="The mean of an experiment's best epochs.")
    add = parser.add_argument
    add("--exp", type=Path, required=True, help="an experiment of ESPnet")
    add("--n", type=int, default=10, help="how many epochs, by its own criterion")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.models.averaging import average_best

    print(average_best(args.exp, args.n).name)


if __name__ == "__main__":
    main()
