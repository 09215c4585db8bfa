"""espnet-topdown plan --base_exp exp/asr_train_raw_en_char --freeze softmax

Show what a retraining would freeze, re-initialise and train. Nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from espnet_topdown.bin.retrain import add_spec_arguments, spec_of
from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet-topdown plan", description=__doc__)
    add_spec_arguments(parser)
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Print the plan."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.jobs.plan import plan

    spec = spec_of(args)
    print(plan(spec).table(spec))


if __name__ == "__main__":
    main()
