"""python -m espnet_topdown.bin.random_model --exp EXP --seed 1 --output random.pth

Write the weights that a model has before training, for `retrain --frozen_from`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = Parser(description=__doc__, prog="random_model")
    parser.add_argument("--exp", type=Path, required=True, help="ESPnet experiment")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True, help="File of weights")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Write the file."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.models.random_model import random_model

    print(random_model(**vars(args)))


if __name__ == "__main__":
    main()
