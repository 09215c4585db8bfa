"""python -m espnet_topdown.bin.distributed --num_nodes 2 --folder exp/asr -- COMMAND...

Run one training in several processes, inside a job of a cluster or on this machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.bin.run_job import add_worker_arguments, workers_of
from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet_topdown.bin.distributed", description=__doc__)
    add_worker_arguments(parser)
    parser.add_argument("--folder", type=Path, required=True, help="Where it trains")
    parser.add_argument("command", nargs="+", help="After '--': a training command")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command's processes to their end."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.distributed import train_together

    train_together(args.command, args.folder, workers_of(args))


if __name__ == "__main__":
    main()
