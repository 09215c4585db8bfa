"""espnet-topdown perplexity --exp EXP --text data/test.txt --output_dir DIR

Perplexity of a text under a language model, the hidden state carried along.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.trainer.fast.threads import do_not_spin


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet-topdown perplexity", description=__doc__)
    add = parser.add_argument
    add("--exp", type=Path, required=True, help="The language model's experiment")
    add("--model_file", default="best", help="best, an epoch, or a file in it")
    add("--text", type=Path, required=True, help="A sentence a line")
    add("--width", type=int, default=1, help="Columns that the text is read in")
    add("--ngpu", type=int, default=0, help="1 computes on the GPU")
    add("--output_dir", type=Path, required=True, help="Gets score.json")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Score the text."""
    args = get_parser().parse_args(cmd)
    do_not_spin()
    from espnet_topdown.scoring.perplexity import score_experiment

    print(score_experiment(**vars(args)))


if __name__ == "__main__":
    main()
