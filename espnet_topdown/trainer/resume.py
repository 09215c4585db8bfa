"""Whether a training may go on in a folder that another one has begun."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from espnet_topdown.errors import CREATE, DATA, TopDownError, warn
from espnet_topdown.files import Lock, read_text, read_yaml
from espnet_topdown.trainer.checkpoint import CHECKPOINT, PREVIOUS

# What decides the numbers of a training. The length of it may be changed.
FIXED = (
    "seed optim optim_conf scheduler scheduler_conf val_scheduler_criterion "
    "freeze_param frozen_norm init init_uniform adadelta_eps_decay "
    "batch_type batch_size batch_bins valid_batch_size num_iters_per_epoch "
    "fold_length sort_in_batch sort_batch accum_grad grad_clip grad_clip_type "
    "grad_noise train_dtype use_amp "
    "train_data_path_and_name_and_type valid_data_path_and_name_and_type "
    "train_shape_file valid_shape_file token_type bpemodel cleaner g2p "
    "frontend frontend_conf specaug specaug_conf normalize normalize_conf preencoder "
    "preencoder_conf encoder encoder_conf postencoder postencoder_conf decoder "
    "decoder_conf model model_conf ctc_conf preprocessor preprocessor_conf "
    "best_model_criterion keep_nbest_models rir_scp noise_scp lm lm_conf bptt"
).split()


def check_folder(args: argparse.Namespace) -> None:
    """E_CREATE (73) when the output cannot be a folder."""
    folder = Path(args.output_dir)
    if folder.exists() and not folder.is_dir():
        raise TopDownError(
            "E_CREATE", f"{folder} is a file", "choose another --output_dir", CREATE
        )


def one_training(folder: str) -> Lock:
    """One training at a time in a folder; loaders that outlive it do not count."""
    return Lock(Path(folder) / ".train.lock", "process", doing="training")


def check_same(args: argparse.Namespace) -> None:
    """Compare the options with the ``config.yaml`` beside a checkpoint.

    Raises:
        TopDownError: E_DIR_USED (73), E_TOKENS_CHANGED or E_CKPT_VERSION (65),
            E_CONFIG_CHANGED (78).
    """
    folder = Path(args.output_dir)
    if not any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS)):
        return
    if not args.resume:
        raise TopDownError(
            "E_DIR_USED",
            f"{folder} holds a training already",
            "give --resume true to go on with it, or another --output_dir",
            CREATE,
        )
    try:
        old = read_yaml(folder / "config.yaml")
    except TopDownError as e:
        warn("W_CONFIG_LOST", f"not compared with the options: {e}")
        return
    check_version(old, folder)
    check_tokens(old.get("token_list"), args.token_list, folder)
    check_options(old, vars(args), folder)


def check_version(old: Mapping[str, Any], folder: Path) -> None:
    """One training in one release: batches and checkpoints differ between them."""
    now, then = metadata.version("espnet"), str(old.get("version", ""))
    if then and then != now:
        raise TopDownError(
            "E_CKPT_VERSION",
            f"{folder} was written by espnet {then}, this is {now}",
            f"use espnet {then}, or begin a new folder with --init_param Nepoch.pth",
            DATA,
        )


def check_tokens(old: Any, new: Any, folder: Path) -> None:
    """The same units in the same order, or the outputs would change their meaning."""
    if not isinstance(old, list) or new is None:
        return
    if not isinstance(new, (list, tuple)):
        lines = read_text(Path(new)).split("\n")
        lines = lines[:-1] if lines[-1] == "" else lines
        new = [t[:1] + t[1:].rstrip() for t in lines]  # as ESPnet reads it
    if list(new) == old:
        return
    pairs = enumerate(zip(old, new), 1)
    first = next((i for i, (a, b) in pairs if a != b), min(len(old), len(new)) + 1)
    raise TopDownError(
        "E_TOKENS_CHANGED",
        f"{len(new)} tokens, {len(old)} in {folder}/config.yaml; first difference in "
        f"line {first}",
        "give the token list that this training began with, or another --output_dir",
        DATA,
    )


def check_options(old: Mapping[str, Any], new: Mapping[str, Any], folder: Path) -> None:
    """The same training: everything that decides its numbers."""
    changed = [
        f"{k} {plain(old[k])} -> {plain(new[k])}"
        for k in FIXED
        if k in old and k in new and plain(old[k]) != plain(new[k])
    ]
    if changed:
        raise TopDownError(
            "E_CONFIG_CHANGED",
            f"against {folder}/config.yaml: {'; '.join(changed)}",
            "restore these, or give another --output_dir",
        )


def plain(value: Any) -> Any:
    """What a value is after it has been written as YAML and read again."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)
