"""python -m espnet_topdown.bin.run_job --folder exp/asr_topdown/m1.4

Train, verify and score a job folder that `search` or `retrain` has prepared.
"""

from __future__ import annotations

from collections.abc import Sequence

from espnet_topdown.cli.parser import INFEASIBLE, NGPU, Parser, flag, path
from espnet_topdown.errors import command


def get_parser() -> Parser:
    """Return the options of the command."""
    parser = Parser(prog="espnet_topdown.bin.run_job", description=__doc__)
    folder = path("--folder", "A training's folder", required=True)
    parser.add_options(
        (folder, flag("--train_only", "Do not score yet"), NGPU, INFEASIBLE)
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
