"""Look at an experiment or a search"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_topdown.cli.parser import flag, option, place, verb

if TYPE_CHECKING:
    from espnet_topdown.jobs.spec import RetrainSpec

SEARCH_DIR = place("DIR", "--search_dir", help="The folder of a search")
BASE = (
    place("EXP", "--base_exp", "--exp", help="A trained ESPnet experiment"),
    option(
        "--base_model",
        type=Path,
        help="Its weights: a file in that folder, or a path; default: its best epoch",
    ),
)
STACK = option("--stack", default="auto", help="A shipped layer stack, or a .yaml file")
FIX_EVAL_DROPOUT = flag(
    "--fix_eval_dropout",
    "Dropout of rnn and vgg_rnn encoders off outside training: td_rnn and td_vgg_rnn "
    "take over the trained weights",
)
REINIT = option(
    "--reinit",
    default="full",
    help="Where other layers begin: full (as the base did: random values, or the file "
    "of its init_param), random, keep, shrink:L,S or rewind:EPOCH",
)
RETRAINING = (
    option(
        "--freeze", required=True, help="Names of layers, with commas; see 'layers'"
    ),
    option(
        "--frozen_from",
        type=Path,
        help="Weights that supply the frozen layers: a file, or an experiment's best "
        "epoch; default: the base's",
    ),
    option("--seed", type=int, help="Default: the base's seed + 1000"),
    STACK,
    REINIT,
    option("--max_epoch", type=int, help="Default: as the base experiment"),
    FIX_EVAL_DROPOUT,
    flag(
        "--allow_any_order",
        "Allow frozen layers that are not the top ones (freeze lowest)",
    ),
)


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


@verb(*BASE, STACK)
def layers(args: argparse.Namespace) -> None:
    """Show an experiment's layers, from the top (near the output) to the bottom.

    Example:
        espnet-topdown layers exp/asr_train_raw_en_char
    """
    from espnet_topdown.jobs.plan import layer_table

    print(layer_table(args.base_exp, args.stack, args.base_model))


@verb(*BASE, *RETRAINING)
def plan(args: argparse.Namespace) -> None:
    """Show what a retraining would freeze, re-initialise and train. Writes nothing.

    Example:
        espnet-topdown plan exp/asr_train_raw_en_char --freeze softmax
    """
    from espnet_topdown.jobs.plan import plan as plan_of

    spec = spec_of(args)
    print(plan_of(spec).table(spec))


@verb(
    SEARCH_DIR,
    flag("--watch", "Show it again every --seconds, until interrupted"),
    option("--seconds", type=float, default=10.0, help="Between two looks"),
)
def status(args: argparse.Namespace) -> None:
    """Show every model of a search, its state, epoch, time left and where it runs.

    Example:
        espnet-topdown status exp/asr_train_raw_en_char_topdown --watch
    """
    from espnet_topdown.cli.status import screen

    print(screen(args.search_dir), flush=True)
    while args.watch:
        time.sleep(args.seconds)
        print("\033[2J\033[H" + screen(args.search_dir), flush=True)
