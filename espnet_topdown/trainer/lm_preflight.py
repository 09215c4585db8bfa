"""What can be seen to be wrong in a language model's configuration beforehand."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from espnet_topdown.errors import MISSING, TopDownError
from espnet_topdown.trainer.preflight import as_list, leave_out_plots


def check(args: argparse.Namespace) -> None:
    """Check and complete the options in place.

    Raises:
        TopDownError: E_MULTI_GPU, E_RANGE, E_CRITERION, E_DATA_NAME, E_YAML_TYPE,
            E_MISSING or E_PATH.
    """
    for name in ("freeze_param", "init_param"):
        setattr(args, name, as_list(name, getattr(args, name)))
    check_device(args)
    check_ranges(args)
    check_criteria(args)
    for phase in ("train", "valid"):
        entries = getattr(args, f"{phase}_data_path_and_name_and_type") or []
        if [e[1] for e in entries] != ["text"]:
            what = f"{len(entries)} {phase} data: one file named 'text' is needed"
            do = f"give --{phase}_data_path_and_name_and_type FILE,text,text"
            raise TopDownError("E_DATA_NAME", what, do)
        if not Path(entries[0][0]).is_file():
            what = f"no {phase} data {entries[0][0]} (seen from {Path.cwd()})"
            do = "run the stage that writes it, or start in the recipe's folder"
            raise TopDownError("E_MISSING", what, do, MISSING)
    leave_out_plots(args)


def check_device(args: argparse.Namespace) -> None:
    """E_MULTI_GPU: the hidden state is carried on from batch to batch."""
    if args.ngpu > 1 or (args.dist_world_size or 1) > 1:
        raise TopDownError(
            "E_MULTI_GPU",
            f"ngpu {args.ngpu}: the text is read on from batch to batch with the "
            "hidden state, on one device",
            "give --ngpu 1",
        )


def check_ranges(args: argparse.Namespace) -> None:
    """E_RANGE for a number that no training can use."""
    for name in ("max_epoch", "batch_size", "accum_grad", "bptt"):
        _at_least(name, getattr(args, name), 1)
    if args.valid_batch_size is not None:
        _at_least("valid_batch_size", args.valid_batch_size, 1)
    if args.patience is not None:
        _at_least("patience", args.patience, 0)
    for name, want in (("accum_grad", 1), ("iterator_type", "task")):
        if getattr(args, name) != want:
            what = f"{name} is {getattr(args, name)}"
            do = f"leave {name} at {want}: the text is read on from batch to batch"
            raise TopDownError("E_RANGE", what, do)


def _at_least(name: str, value: Any, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        what = f"{name} must be a whole number >= {low}, got {value!r}"
        raise TopDownError("E_RANGE", what, f"correct {name}")


def check_criteria(args: argparse.Namespace) -> None:
    """E_CRITERION: a language model reports its loss only."""
    criteria = [*args.best_model_criterion, args.early_stopping_criterion]
    criteria.append([*args.val_scheduler_criterion, "min"])
    for criterion in criteria:
        if list(criterion)[1:] != ["loss", "min"]:
            what = f"{list(criterion)}: a language model reports its loss only"
            raise TopDownError("E_CRITERION", what, "write [valid, loss, min]")
