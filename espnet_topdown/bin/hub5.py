"""python -m espnet_topdown.bin.hub5 --data_dir data/eval2000 --hyp text --output_dir D

The word error rates of eval2000 and its parts swbd and callhm, by sctk's hubscr.pl.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> Parser:
    """Options of this command."""
    parser = Parser(description="Score eval2000 as the field does.")
    add = parser.add_argument
    add("--data_dir", type=Path, required=True, help="has text, stm and glm")
    add("--hyp", type=Path, required=True, help="recognised: lines 'utt words...'")
    add("--output_dir", type=Path, required=True, help="gets tables and result.txt")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.scoring.hub5 import score_hub5

    print(score_hub5(args.data_dir, args.hyp, args.output_dir))


if __name__ == "__main__":
    main()
