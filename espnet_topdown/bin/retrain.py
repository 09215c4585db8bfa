"""espnet-topdown retrain --base_exp EXP --freeze softmax --output_dir EXP_softmax

One retraining by hand: any layers, also those of another model (--frozen_from).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_topdown.cli import installation
from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false

if TYPE_CHECKING:
    from espnet_topdown.jobs.spec import RetrainSpec

BASE_MODEL = "Its weights: a file in that folder, or a path; default: its best epoch"
REINIT = "Where other layers begin: full (as the base did: random values, or the file "
REINIT += "of its init_param), random, keep, shrink:L,S or rewind:EPOCH"


def add_base(add: Callable[..., object]) -> None:
    """The experiment that is retrained, and its weights."""
    add("--base_exp", type=Path, required=True, help="A trained ESPnet experiment")
    add("--base_model", type=Path, help=BASE_MODEL)


def add_fix(add: Callable[..., object]) -> None:
    """Dropout at test time; `search`, `plan`, `retrain` and `decode` take it."""
    add(
        "--fix_eval_dropout",
        type=true_or_false,
        default=False,
        help="Dropout of rnn and vgg_rnn encoders off outside training: td_rnn and "
        "td_vgg_rnn take over the trained weights",
    )


def add_spec_arguments(parser: argparse.ArgumentParser) -> None:
    """What one retraining is; `plan` and `retrain` take the same."""
    add = parser.add_argument
    add_base(add)
    add("--freeze", required=True, help="Names of layers, with commas; see `layers`")
    add(
        "--frozen_from",
        type=Path,
        help="Weights that supply the frozen layers: a file, or an experiment's best "
        "epoch; default: the base's",
    )
    add("--seed", type=int, help="Default: the base's seed + 1000")
    add("--stack", default="auto", help="A shipped layer stack, or a .yaml file")
    add("--reinit", default="full", help=REINIT)
    add("--max_epoch", type=int, help="Default: as the base experiment")
    add_fix(add)
    add(
        "--allow_any_order",
        type=true_or_false,
        default=False,
        help="Allow frozen layers that are not the top ones (freeze lowest)",
    )


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet-topdown retrain", description=__doc__)
    add_spec_arguments(parser)
    parser.add_argument("--output_dir", type=Path, required=True, help="Job folder")
    parser.add_argument("--ngpu", type=int, help="Default: as the base; 0: the CPU")
    return parser


def spec_of(args: argparse.Namespace) -> RetrainSpec:
    """The retraining that the options ask for."""
    from espnet_topdown.jobs.spec import spec_by_hand

    return spec_by_hand(
        base_exp=args.base_exp,
        freeze=args.freeze,
        frozen_from=args.frozen_from,
        seed=args.seed,
        stack=args.stack,
        max_epoch=args.max_epoch,
        reinit=args.reinit,
        any_order=args.allow_any_order,
        folder=args.output_dir if "output_dir" in args else None,
        base_model=args.base_model,
        fix_eval_dropout=args.fix_eval_dropout,
    )


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Prepare and run the job; the same command continues."""
    args = get_parser().parse_args(cmd)
    installation.check()
    from espnet_topdown.jobs.run import run_by_hand

    run_by_hand(spec_of(args), args.output_dir, args.ngpu)


if __name__ == "__main__":
    main()
