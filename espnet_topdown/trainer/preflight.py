"""What can be seen to be wrong in a configuration before a model is built."""

from __future__ import annotations

import argparse
import importlib.util
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from espnet_topdown.data.kaldi_dir import list_files, read_lines
from espnet_topdown.errors import MISSING, TopDownError, nearest, warn
from espnet_topdown.models.config import check_config

NUMBERS = ("loss", "loss_ctc", "loss_att", "acc", "cer", "wer", "cer_ctc")
NUMBERS += ("loss_transducer", "cer_transducer", "wer_transducer")
INTERMEDIATE = re.compile(r"(loss|cer)_interctc_layer\d+")


def preflight(args: argparse.Namespace) -> None:
    """Check and complete the options in place.

    Raises:
        TopDownError: E_CONFIG_KEY, E_CRITERION, E_CACHE_AUG, E_BATCH_ORDER,
            E_MISSING, E_PATH or E_INSTALL.
    """
    check_config(vars(args), getattr(args, "config", None) or "the options")
    for name in ("freeze_param", "init_param"):
        setattr(args, name, as_list(name, getattr(args, name)))
    if args.collect_stats:
        return
    check_criteria(args)
    check_data(args)
    check_batches(args)
    warn_of_averages(args)
    leave_out_missing(args)


def as_list(name: str, value: Any) -> list[str]:
    """A list of names; ESPnet reads a single string letter by letter."""
    if value is None:
        return []
    if isinstance(value, str):
        warn("W_SCALAR_LIST", f"{name}: '{value}' is taken as a list of one")
        return [value]
    return list(value)


def check_criteria(args: argparse.Namespace) -> None:
    """E_CRITERION for a value that this model will not report."""
    conf = args.model_conf or {}
    ctc_only = conf.get("ctc_weight", 0.5) == 1.0 and args.decoder != "transducer"
    for option, criteria in (
        ("best_model_criterion", args.best_model_criterion),
        ("early_stopping_criterion", [args.early_stopping_criterion]),
        ("val_scheduler_criterion", [[*args.val_scheduler_criterion, "min"]]),
    ):
        named = [_one_criterion(option, c) for c in criteria]
        if getattr(args, "model", "espnet") == "espnet":
            for criterion, key in zip(criteria, named):
                _check_number(option, criterion[0], key)
        late = option == "early_stopping_criterion" and args.patience is None
        late |= option == "val_scheduler_criterion" and args.scheduler is None
        if ctc_only and not late and all(k in ("acc", "cer", "wer") for k in named):
            raise TopDownError(
                "E_CRITERION",
                f"{option} uses {named[0]}, which a model with ctc_weight 1.0 has not",
                "use [valid, loss, min] or [valid, cer_ctc, min]",
            )


def _one_criterion(option: str, criterion: Any) -> str:
    phase, key, mode = [*criterion, "", "", ""][:3]
    if phase not in ("train", "valid") or mode not in ("min", "max"):
        raise TopDownError(
            "E_CRITERION",
            f"{option}: {criterion}",
            "write [train or valid, name, min or max]",
        )
    return str(key)


def _check_number(option: str, phase: str, key: str) -> None:
    """Only ESPnet's usual model says beforehand what it reports."""
    if key not in NUMBERS and not INTERMEDIATE.fullmatch(key):
        raise TopDownError(
            "E_CRITERION",
            f"{option}: {phase}.{key} unknown ({nearest(key, NUMBERS)})",
            "correct the name",
        )


def check_data(args: argparse.Namespace) -> None:
    """E_MISSING, E_PATH, E_BOM, E_UTF8 for the lists of the data; E_CACHE_AUG."""
    for option in ("train", "valid"):
        triples = getattr(args, f"{option}_data_path_and_name_and_type") or []
        shapes = list(getattr(args, f"{option}_shape_file"))
        read_here = [*shapes, *(t[0] for t in triples if t[2] in ("sound", "text"))]
        for path in [*(t[0] for t in triples), *shapes]:
            if "," in path:
                raise TopDownError(
                    "E_PATH", f"ESPnet cannot use paths with ',': {path}", "rename it"
                )
            if not Path(path).exists():
                raise TopDownError(
                    "E_MISSING",
                    f"no {option} data {path} (seen from {Path.cwd()})",
                    "run the stage that writes it, or start in the recipe's folder",
                    MISSING,
                )
            if path in read_here:  # a byte order mark, bytes that are no UTF-8
                for part in list_files(Path(path)):
                    read_lines(part, as_espnet=True)
    conf = args.preprocessor_conf or {}
    random = [n for n in ("rir_scp", "noise_scp") if getattr(args, n, None)]
    random += [n for n in ("data_aug_effects",) if conf.get(n)]
    if random and args.max_cache_size > 0:
        raise TopDownError(
            "E_CACHE_AUG",
            f"{', '.join(random)} with max_cache_size {args.max_cache_size:g}: the "
            "cache would repeat the first epoch's augmentation",
            "set max_cache_size to 0",
        )


def check_batches(args: argparse.Namespace) -> None:
    """RNN encoders need the longest utterance of a batch first: E_BATCH_ORDER."""
    if not str(args.encoder).endswith("rnn") or args.iterator_type != "sequence":
        return
    wrong = args.batch_type == "unsorted" and args.batch_size > 1
    if wrong or args.sort_in_batch != "descending":
        raise TopDownError(
            "E_BATCH_ORDER",
            f"encoder {args.encoder} with batch_type {args.batch_type}, sort_in_batch "
            f"{args.sort_in_batch}: its batches must begin with the longest",
            "use batch_type: folded, sorted or numel and sort_in_batch: descending",
        )


def warn_of_averages(args: argparse.Namespace) -> None:
    """Release 202511 averages wrongly when two averages share their best epoch."""
    nbest = args.keep_nbest_models
    nbest = list(nbest) if isinstance(nbest, (list, tuple)) else [nbest]
    several = len(nbest) > 1 or len(args.best_model_criterion) > 1
    if max(nbest) > 1 and several and metadata.version("espnet") == "202511":
        warn(
            "W_AVERAGE",
            "espnet 202511 writes wrong *.ave_*best.pth with several criteria or "
            "n-best values; use one of each, or *.best.pth",
        )


def leave_out_plots(args: argparse.Namespace) -> None:
    """Switch off plots that need a package which is not installed."""
    for option, package in (
        ("use_matplotlib", "matplotlib"),
        ("use_tensorboard", "tensorboard"),
    ):
        if getattr(args, option) and importlib.util.find_spec(package) is None:
            warn("W_INSTALL", f"{package} is not installed: {option} is set to false")
            setattr(args, option, False)


def leave_out_missing(args: argparse.Namespace) -> None:
    """Do without packages that are not installed, where that is possible."""
    leave_out_plots(args)
    conf = args.model_conf or {}
    scores = conf.get("report_cer", True) or conf.get("report_wer", True)
    if scores and importlib.util.find_spec("editdistance") is None:
        raise TopDownError(
            "E_INSTALL",
            "ESPnet needs the package editdistance to report CER and WER",
            "run 'pip install editdistance'",
        )
