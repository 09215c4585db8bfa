"""python -m espnet_topdown.bin.lm_for_asr --exp LM --asr_exp ASR --output_dir DIR

Write a language model in the order of a recogniser's tokens, for its beam search.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="lm_for_asr", description=__doc__)
    add = parser.add_argument
    add("--exp", type=Path, required=True, help="The language model's experiment")
    add("--asr_exp", type=Path, required=True, help="The recogniser's experiment")
    add("--model_file", default="best", help="best, an epoch, or a file in --exp")
    add("--output_dir", type=Path, required=True, help="Gets config.yaml and weights")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Write it."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.lm.fusion import for_asr

    print(for_asr(**vars(args)))


if __name__ == "__main__":
    main()
