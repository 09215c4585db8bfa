"""python -m espnet_topdown.bin.launch --log train.log --watch exp/asr -- COMMAND...

Run one training through a launcher and show its progress meanwhile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet_topdown.bin.launch", description=__doc__)
    add = parser.add_argument
    add("--cmd", default="", help="Launcher and its options, e.g. 'slurm.pl --gpu 1'")
    add("--cmd_backend", default="local", help="local, slurm or sge, if no --cmd")
    add("--log", type=Path, required=True, help="Where the command's output goes")
    add("--watch", type=Path, required=True, help="The folder it trains in")
    add("command", nargs="+", help="After '--': the command and its arguments")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command; exits with the launcher's status."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.search.progress import run_and_show

    sys.exit(
        run_and_show(
            args.command, args.log, args.watch, args.cmd, backend=args.cmd_backend
        )
    )


if __name__ == "__main__":
    main()
