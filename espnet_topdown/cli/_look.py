"""Look at an experiment or a search"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import espnet_topdown
from espnet_topdown.cli.parser import flag, option, path, positional, verb

SEARCH_DIR = positional("DIR", "--search_dir", "The folder of a search")
BASE = (
    positional("EXP", "--base_exp --exp", "A trained ESPnet experiment"),
    path("--base_model", "Its weights: a file in it, or a path; default: best epoch"),
)
STACK = option("--stack", "A shipped layer stack, or a .yaml file", "auto")
FIX_EVAL_DROPOUT = flag(
    "--fix_eval_dropout",
    "Dropout of rnn and vgg_rnn encoders off outside training: td_rnn and td_vgg_rnn "
    "take over the trained weights",
)
REINIT = option(
    "--reinit",
    "Where other layers begin: full (as the base did: random values, or the file "
    "of its init_param), random, keep, shrink:L,S or rewind:EPOCH",
    "full",
)
FROZEN_FROM = (
    "Weights that supply the frozen layers: a file, or an experiment's best epoch; "
    "default: the base's"
)
RETRAINING = (
    option("--freeze", "Layers of 'layers' to freeze, with commas", required=True),
    path("--frozen_from", FROZEN_FROM),
    option("--seed", "Default: the base's seed + 1000", type=int),
    STACK,
    REINIT,
    option("--max_epoch", "Default: as the base experiment", type=int),
    FIX_EVAL_DROPOUT,
    flag("--allow_any_order", "Freeze layers that are not the top ones"),
)


@verb(*BASE, STACK)
def layers(**options: Any) -> None:
    """Show an experiment's layers, from the top (near the output) to the bottom.

    Example:
        espnet-topdown layers exp/asr_train_raw_en_char
    """
    print(espnet_topdown.list_layers(**options))


@verb(*BASE, *RETRAINING)
def plan(**options: Any) -> None:
    """Show what a retraining would freeze, re-initialise and train. Writes nothing.

    Example:
        espnet-topdown plan exp/asr_train_raw_en_char --freeze softmax
    """
    print(espnet_topdown.plan_retraining(**options))


@verb(
    SEARCH_DIR,
    flag("--watch", "Show it again every --seconds, until interrupted"),
    option("--seconds", "Between two looks", 10.0),
)
def status(search_dir: Path, watch: bool, seconds: float) -> None:
    """Show every model of a search, its state, epoch, time left and where it runs.

    Example:
        espnet-topdown status exp/asr_train_raw_en_char_topdown --watch
    """
    search = espnet_topdown.load_search(search_dir)
    print(search.status(), flush=True)
    while watch:
        time.sleep(seconds)
        print("\033[2J\033[H" + search.status(), flush=True)
