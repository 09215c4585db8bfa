"""Everything that is checked before a training, in its order: ``CHECKS``.

A check takes the parsed options, refuses what cannot be trained and completes the rest
in place. What is promised about the model (freezing, initial weights) is checked when
it is built, by ``_contract.py``; then :func:`check_references` runs it.
"""

from __future__ import annotations

import argparse
import heapq
import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from espnet_topdown.data.kaldi_dir import list_files, read_lines
from espnet_topdown.data.tokens import read_token_list
from espnet_topdown.data.validate import read_shape
from espnet_topdown.errors import CREATE, DATA, MISSING, TopDownError, nearest, warn
from espnet_topdown.files import parse_yaml, read_yaml, yaml_bytes
from espnet_topdown.models.config import check_config
from espnet_topdown.trainer import _processes
from espnet_topdown.trainer._checkpoints import CHECKPOINT, PREVIOUS
from espnet_topdown.trainer._hooks import CTCGuard
from espnet_topdown.trainer._optim import use_eps_decay

Check = Callable[[argparse.Namespace], None]

# What ESPnet's usual model reports; others only say it while they train.
_REPORTED = ["loss", "loss_ctc", "loss_att", "acc", "cer", "wer", "cer_ctc"]
_REPORTED += ["loss_transducer", "cer_transducer", "wer_transducer"]
_INTERMEDIATE = re.compile(r"(loss|cer)_interctc_layer\d+")
# What decides the numbers of a training. The length of it may be changed.
_FIXED = (
    "seed optim optim_conf scheduler scheduler_conf val_scheduler_criterion "
    "freeze_param frozen_norm init init_uniform adadelta_eps_decay "
    "batch_type batch_size batch_bins valid_batch_size num_iters_per_epoch "
    "iterator_type multiple_iterator chunk_length chunk_shift_ratio drop_last_iter "
    "min_batch_size max_batch_size shuffle_within_batch valid_batch_type "
    "fold_length sort_in_batch sort_batch accum_grad grad_clip grad_clip_type "
    "exclude_weight_decay exclude_weight_decay_conf grad_noise train_dtype use_amp "
    "train_data_path_and_name_and_type valid_data_path_and_name_and_type "
    "train_shape_file valid_shape_file token_type bpemodel cleaner g2p "
    "frontend frontend_conf specaug specaug_conf normalize normalize_conf preencoder "
    "preencoder_conf encoder encoder_conf postencoder postencoder_conf decoder "
    "decoder_conf model model_conf ctc_conf preprocessor preprocessor_conf "
    "best_model_criterion keep_nbest_models lm lm_conf bptt rir_scp rir_apply_prob "
    "noise_scp noise_apply_prob noise_db_range speech_volume_normalize "
    "non_linguistic_symbols use_preprocessor"
).split()
_TRIED = 16  # utterances of each set whose references check_references looks at


def _values(args: argparse.Namespace) -> None:
    """E_CONFIG_KEY for a value of the wrong type or range; the others rely on it."""
    check_config(vars(args), args.config or "the options")


def _lists_of_names(args: argparse.Namespace) -> None:
    """ESPnet reads a single string in the place of a list letter by letter."""
    for name in ("freeze_param", "init_param"):
        value = getattr(args, name) or []
        if isinstance(value, str):
            warn("W_SCALAR_LIST", f"{name}: '{value}' is taken as a list of one")
            value = [value]
        setattr(args, name, list(value))


def _criteria(args: argparse.Namespace) -> None:
    """E_CRITERION for a value that a model which recognises speech will not report."""
    ctc_weight = (args.model_conf or {}).get("ctc_weight", 0.5)
    ctc_only = ctc_weight == 1.0 and args.decoder != "transducer"
    early, scheduler = args.early_stopping_criterion, args.val_scheduler_criterion
    for option, in_use, criteria in (
        ("best_model_criterion", True, args.best_model_criterion),
        ("early_stopping_criterion", args.patience is not None, [early]),
        ("val_scheduler_criterion", args.scheduler is not None, [scheduler]),
    ):
        for phase, key, *_ in criteria if args.model == "espnet" else ():
            if key not in _REPORTED and not _INTERMEDIATE.fullmatch(key):
                what = f"{option}: {phase}.{key} unknown ({nearest(key, _REPORTED)})"
                raise TopDownError("E_CRITERION", what, "correct the name")
        keys = [criterion[1] for criterion in criteria]
        if ctc_only and in_use and all(k in ("acc", "cer", "wer") for k in keys):
            what = f"{option} uses {keys[0]}, which a model with ctc_weight 1.0 has not"
            do = "use [valid, loss, min] or [valid, cer_ctc, min]"
            raise TopDownError("E_CRITERION", what, do)


def _loss_only(args: argparse.Namespace) -> None:
    """E_CRITERION: a language model reports its loss only."""
    criteria = [*args.best_model_criterion, args.early_stopping_criterion]
    for criterion in [*criteria, [*args.val_scheduler_criterion, "min"]]:
        if list(criterion)[1:] != ["loss", "min"]:
            what = f"{list(criterion)}: a language model reports its loss only"
            raise TopDownError("E_CRITERION", what, "write [valid, loss, min]")


def _continuous_text(args: argparse.Namespace) -> None:
    """The hidden state is carried on from batch to batch, on one device."""
    if args.ngpu > 1 or _processes.together(args):
        what = f"a text is read on from batch to batch by one process, ngpu {args.ngpu}"
        raise TopDownError("E_MULTI_GPU", what, "give --ngpu 1, and start one process")
    for name, want in (
        ("accum_grad", 1),
        ("iterator_type", "task"),
        ("multiple_iterator", False),
    ):
        if getattr(args, name) != want:
            what = f"{name} is {getattr(args, name)}"
            do = f"leave {name} at {want}: the text is read on from batch to batch"
            raise TopDownError("E_RANGE", what, do)
    for phase in ("train", "valid"):
        entries = getattr(args, f"{phase}_data_path_and_name_and_type") or []
        if [e[1] for e in entries] != ["text"]:
            what = f"{len(entries)} {phase} data: one file named 'text' is needed"
            do = f"give --{phase}_data_path_and_name_and_type FILE,text,text"
            raise TopDownError("E_DATA_NAME", what, do)


def _data_files(args: argparse.Namespace) -> list[tuple[str, str, str]]:
    # The files of both sets: set, path and type; of shape files the type ``shape``.
    return [
        (phase, path, kind)
        for phase in ("train", "valid")
        for path, _, kind in [
            *(getattr(args, f"{phase}_data_path_and_name_and_type") or []),
            *((path, "", "shape") for path in getattr(args, f"{phase}_shape_file")),
        ]
    ]


def _files_are_there(args: argparse.Namespace) -> None:
    """E_MISSING, or E_PATH for a name that ESPnet would cut in two."""
    for phase, path, _ in _data_files(args):
        if "," in path:
            what = f"ESPnet cannot use paths with ',': {path}"
            raise TopDownError("E_PATH", what, "rename it")
        if not Path(path).exists():
            what = f"no {phase} data {path} (seen from {Path.cwd()})"
            do = "run the stage that writes it, or start in the recipe's folder"
            raise TopDownError("E_MISSING", what, do, MISSING)


def _lists_are_text(args: argparse.Namespace) -> None:
    """E_BOM and E_UTF8 for lists that ESPnet reads itself."""
    for _, path, kind in _data_files(args):
        if kind in ("sound", "text", "shape"):
            for part in list_files(Path(path)):
                read_lines(part, as_espnet=True)


def _no_cached_noise(args: argparse.Namespace) -> None:
    """E_CACHE_AUG: a cache keeps what was drawn in the first epoch."""
    random = [n for n in ("rir_scp", "noise_scp") if getattr(args, n)]
    if (args.preprocessor_conf or {}).get("data_aug_effects"):
        random.append("data_aug_effects")
    if random and args.max_cache_size > 0:
        what = f"{', '.join(random)} with max_cache_size {args.max_cache_size:g}: the "
        what += "cache would repeat the first epoch's augmentation"
        raise TopDownError("E_CACHE_AUG", what, "set max_cache_size to 0")


def _own_trainer(args: argparse.Namespace) -> None:
    """E_CONFIG_KEY: DeepSpeed has a training loop of its own."""
    if args.use_deepspeed:
        what = "use_deepspeed is true, whose training loop takes the place of ours"
        do = "write 'use_deepspeed: false'; on one GPU ESPnet leaves it out anyway"
        raise TopDownError("E_CONFIG_KEY", what, do)


def _longest_first(args: argparse.Namespace) -> None:
    """E_BATCH_ORDER: RNN encoders need the longest utterance of a batch first."""
    by_category = args.iterator_type == "category"  # in the order of its lists
    if not str(args.encoder).endswith("rnn"):
        return
    if not by_category and args.iterator_type != "sequence":
        return
    wrong = by_category or args.batch_type == "unsorted" and args.batch_size > 1
    if wrong or args.sort_in_batch != "descending":
        what = (
            f"encoder {args.encoder} with iterator_type {args.iterator_type}, "
            f"batch_type {args.batch_type}, sort_in_batch "
        )
        what += f"{args.sort_in_batch}: its batches must begin with the longest"
        do = "use iterator_type: sequence, batch_type: folded, sorted or numel and "
        do += "sort_in_batch: descending"
        raise TopDownError("E_BATCH_ORDER", what, do)


def _averages(args: argparse.Namespace) -> None:
    """Release 202511 averages wrongly when two averages share their best epoch."""
    several = not isinstance(args.keep_nbest_models, int)
    nbest = list(args.keep_nbest_models) if several else [args.keep_nbest_models]
    several = len(nbest) > 1 or len(args.best_model_criterion) > 1
    if max(nbest) > 1 and several and metadata.version("espnet") == "202511":
        warn(
            "W_AVERAGE",
            "espnet 202511 writes wrong *.ave_*best.pth with several criteria or "
            "n-best values; use one of each, or *.best.pth",
        )


def _plots(args: argparse.Namespace) -> None:
    """Switch off plots that need a package which is not installed; W&B is refused."""
    for package in ("matplotlib", "tensorboard"):
        option = f"use_{package}"
        if getattr(args, option) and importlib.util.find_spec(package) is None:
            warn("W_INSTALL", f"{package} is not installed: {option} is set to false")
            setattr(args, option, False)
    if args.use_wandb and importlib.util.find_spec("wandb") is None:
        what = "use_wandb is true, and wandb is not installed"
        raise TopDownError("E_INSTALL", what, "run 'pip install wandb'")


def _error_rates(args: argparse.Namespace) -> None:
    """E_INSTALL: ESPnet needs a package to report CER and WER."""
    conf = args.model_conf or {}
    wanted = conf.get("report_cer", True) or conf.get("report_wer", True)
    if wanted and importlib.util.find_spec("editdistance") is None:
        what = "ESPnet needs the package editdistance to report CER and WER"
        raise TopDownError("E_INSTALL", what, "run 'pip install editdistance'")


def _random_validation(args: argparse.Namespace) -> None:
    """W_EVAL_DROPOUT when this configuration makes validation random."""
    conf = args.encoder_conf or {}
    rate = conf.get("dropout", 0.0)
    if args.encoder in ("rnn", "vgg_rnn") and conf.get("use_projection", True) and rate:
        warn(
            "W_EVAL_DROPOUT",
            f"encoder: {args.encoder} with dropout {rate} drops units in validation "
            f"and decoding too, so they are random; encoder: td_{args.encoder} does "
            "not",
        )
    rate = (args.ctc_conf or {}).get("dropout_rate", 0.0)
    if rate:
        warn("W_EVAL_DROPOUT", f"ctc_conf dropout_rate {rate} makes validation random")


def _same_training(args: argparse.Namespace) -> None:
    """Compare the options with the ``config.yaml`` beside a checkpoint.

    Raises:
        TopDownError: E_DIR_USED (73), E_TOKENS_CHANGED or E_CKPT_VERSION (65),
            E_CONFIG_CHANGED (78).
    """
    if args.output_dir is None:  # not begun: a base's options are checked
        return
    folder = Path(args.output_dir)
    if not any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS)):
        return
    if not args.resume:
        what = f"{folder} holds a training already"
        do = "give --resume true to go on with it, or another --output_dir"
        raise TopDownError("E_DIR_USED", what, do, CREATE)
    try:
        old = read_yaml(folder / "config.yaml")
    except TopDownError as e:
        warn("W_CONFIG_LOST", f"not compared with the options: {e}")
        return
    now, then = metadata.version("espnet"), str(old.get("version", ""))
    if then and then != now:  # batches and checkpoints differ between releases
        what = f"{folder} was written by espnet {then}, this is {now}"
        do = f"use espnet {then}, or begin a new folder with --init_param Nepoch.pth"
        raise TopDownError("E_CKPT_VERSION", what, do, DATA)
    _same_tokens(old.get("token_list"), args.token_list, folder)
    new = {k: v for k, v in vars(args).items() if k in _FIXED}
    new = parse_yaml(yaml_bytes(new).decode(), folder)  # tuples are then lists
    changed = [
        f"{k} {old[k]} -> {new[k]}"
        for k in _FIXED
        if k in old and k in new and old[k] != new[k]
    ]
    if changed:
        what = f"against {folder}/config.yaml: {'; '.join(changed)}"
        do = "restore these, or give another --output_dir"
        raise TopDownError("E_CONFIG_CHANGED", what, do)


def _same_tokens(old: Any, new: Any, folder: Path) -> None:
    """The same units in the same order, or the outputs would change their meaning."""
    if not isinstance(old, list) or new is None:
        return
    new = list(new) if isinstance(new, (list, tuple)) else read_token_list(Path(new))
    if new == old:
        return
    pairs = enumerate(zip(old, new), 1)
    first = next((i for i, (a, b) in pairs if a != b), min(len(old), len(new)) + 1)
    what = (
        f"{len(new)} tokens, {len(old)} in {folder}/config.yaml; first difference in "
    )
    do = "give the token list that this training began with, or another --output_dir"
    raise TopDownError("E_TOKENS_CHANGED", f"{what}line {first}", do, DATA)


# In this order; each for what is trained ("stats": the pass that collects statistics).
CHECKS: dict[Check, str] = {
    _values: "asr lm stats",
    _lists_of_names: "asr lm stats",
    _criteria: "asr",
    _loss_only: "lm",
    _continuous_text: "lm",
    _files_are_there: "asr lm",
    _lists_are_text: "asr",
    _no_cached_noise: "asr",
    _own_trainer: "asr lm",
    _longest_first: "asr",
    _averages: "asr",
    _plots: "asr lm",
    _error_rates: "asr",
    use_eps_decay: "asr",
    _random_validation: "asr",
    _same_training: "asr lm",
}


def check_options(args: argparse.Namespace, task: str) -> None:
    """All checks of a task, in their order.

    Args:
        args: The options; some are completed in place.
        task: "asr", "lm", or "stats" where ESPnet only collects statistics.

    Raises:
        TopDownError: What the first check that fails says.
    """
    for check, tasks in CHECKS.items():
        if task in tasks.split():
            check(args)


def check_references(args: argparse.Namespace, model: torch.nn.Module) -> None:
    """Look for references that CTC cannot align before the first batch is read.

    Only the lengths in the shape files are used, and the model is run on silence of the
    few utterances that have the fewest samples for each unit. What this cannot see (two
    equal units in a row need a frame more) is seen when the utterance is trained.

    Args:
        args: The options of a training.
        model: The model, on any device.

    Raises:
        TopDownError: E_CTC_INFEASIBLE (65), unless ``--allow_infeasible true``.
    """
    weight = (args.model_conf or {}).get("ctc_weight", 0.5)
    if weight == 0.0 or getattr(model, "ctc", None) is None:
        return
    guard = CTCGuard(args.allow_infeasible)
    for files in (args.train_shape_file, args.valid_shape_file):
        if len(files) == 2:
            speech, text = (read_shape(Path(file)) for file in files)
            guard.report(_lengths(model, speech, text))


def _lengths(
    model: torch.nn.Module,
    speech: Mapping[str, Sequence[int]],
    text: Mapping[str, Sequence[int]],
) -> dict[str, tuple[int, int]]:
    # Of the utterances tried: units, and frames of the encoder's output.
    both = [u for u in speech if speech[u] and text.get(u)]
    tried = heapq.nsmallest(
        _TRIED, both, key=lambda u: speech[u][0] / max(text[u][0], 1)
    )
    first = next(model.parameters())
    training = model.training
    model.eval()
    found = {}
    try:
        with torch.no_grad():
            for utt in tried:
                silence = first.new_zeros(1, *speech[utt])
                n_samples = torch.tensor([speech[utt][0]], device=first.device)
                try:
                    frames = int(model.encode(silence, n_samples)[1])  # type: ignore[operator]
                except Exception:  # a frontend's or an encoder's own
                    if len(speech[utt]) > 1 or speech[utt][0] > 4000:
                        raise
                    frames = 0  # so few samples give none
                found[utt] = (text[utt][0], frames)
    finally:
        model.train(training)
    return found
