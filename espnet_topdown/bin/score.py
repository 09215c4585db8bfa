"""python -m espnet_topdown.bin.score --ref data/test/text --hyp decode/text --unit cer

Count errors as sclite counts them, and print the rates.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = Parser(description=__doc__, prog="score")
    parser.add_argument("--ref", type=Path, required=True, help="Text that was said")
    parser.add_argument("--hyp", type=Path, required=True, help="Text recognised")
    parser.add_argument("--unit", default="wer", choices=("cer", "wer"))
    parser.add_argument("--nlsyms", type=Path, help="Symbols not scored, one a line")
    parser.add_argument("--utt2spk", type=Path, help="Speakers; default: beside --ref")
    parser.add_argument(
        "--output_dir", type=Path, help="Gets counts.tsv, ref.trn, hyp.trn, result.txt"
    )
    parser.add_argument(
        "--bootstrap_against",
        type=Path,
        help="Hypotheses of another system: is the difference chance?",
    )
    parser.add_argument("--seed", type=int, default=0, help="Of the bootstrap")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Score."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.scoring.score import score_files

    print(score_files(**vars(args)))


if __name__ == "__main__":
    main()
