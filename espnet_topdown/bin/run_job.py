"""python -m espnet_topdown.bin.run_job --folder exp/asr_topdown/m1.4

Train, verify and score a job folder that `search` or `retrain` has prepared.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false

if TYPE_CHECKING:
    from espnet_topdown.distributed import Workers


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet-topdown run_job", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="The job folder")
    parser.add_argument(
        "--train_only", type=true_or_false, default=False, help="Do not score yet"
    )
    add_worker_arguments(parser)
    return parser


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """How many processes train one model; other commands take the same."""
    add = parser.add_argument
    add(
        "--num_nodes",
        type=int,
        default=1,
        help="Nodes that train one model together: of a Slurm job, or elsewhere so "
        "many processes on this machine's CPUs",
    )
    add("--ngpu", type=int, help="GPUs of each node; default: as the base experiment")


def workers_of(args: argparse.Namespace) -> Workers:
    """What these options ask for."""
    from espnet_topdown.distributed import Workers

    workers = Workers(args.num_nodes, args.ngpu)
    workers.check()
    return workers


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run one job."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.jobs.run import run_job

    run_job(args.folder, args.train_only, workers_of(args))


if __name__ == "__main__":
    main()
