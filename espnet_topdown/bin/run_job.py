"""python -m espnet_topdown.bin.run_job --folder exp/asr_topdown/m1.4

Train, verify and score a job folder that `search` or `retrain` has prepared.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser, whole
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet_topdown.bin.run_job", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="The job folder")
    parser.add_argument(
        "--train_only", type=true_or_false, default=False, help="Do not score yet"
    )
    parser.add_argument(
        "--ngpu", type=whole, help="GPUs that train together; default: as the base"
    )
    parser.add_argument(
        "--allow_infeasible",
        type=true_or_false,
        default=False,
        help="Train on, though CTC cannot align some utterances",
    )
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run one job."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.jobs.run import run_job

    run_job(**vars(args))


if __name__ == "__main__":
    main()
