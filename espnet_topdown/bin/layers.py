"""espnet-topdown layers exp/asr_train_raw_en_char

Show an experiment's layers, from the top (near the output) to the bottom.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.bin.retrain import BASE_MODEL
from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet-topdown layers", description=__doc__)
    parser.add_argument("exp", type=Path, help="An ESPnet experiment folder")
    parser.add_argument("--base_model", type=Path, help=BASE_MODEL)
    parser.add_argument(
        "--stack", default="auto", help="A shipped layer stack, or a .yaml file"
    )
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Print the layer table."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.jobs.plan import layer_table

    print(layer_table(args.exp, args.stack, args.base_model))


if __name__ == "__main__":
    main()
