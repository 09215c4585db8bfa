"""python -m espnet_topdown.bin.score_set --ref text --decode_dir d --model_file m.pth

Write score.json, the error counts of a decoded set, where the decoder wrote none.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = Parser(description=__doc__, prog="score_set")
    parser.add_argument("--ref", type=Path, required=True, help="Text that was said")
    parser.add_argument("--decode_dir", type=Path, required=True, help="Holds text")
    parser.add_argument("--decoder", default="beam", help="Its name in the report")
    parser.add_argument("--model_file", type=Path, required=True, help="Weights used")
    parser.add_argument("--nlsyms", type=Path, help="Symbols not scored, one a line")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Score."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.scoring.score import score_set

    score_set(**vars(args))


if __name__ == "__main__":
    main()
