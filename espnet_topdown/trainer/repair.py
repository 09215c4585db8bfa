"""Make an experiment folder whole again before a training continues in it."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from espnet_topdown.errors import DATA, TopDownError, warn
from espnet_topdown.files import link
from espnet_topdown.models.checkpoint import check_archive
from espnet_topdown.models.weights import read_checkpoint
from espnet_topdown.trainer.checkpoint import CHECKPOINT, PREVIOUS, TEMPORARY, save

Criteria = Sequence[Sequence[str]]  # phase, key, min or max


@dataclasses.dataclass(frozen=True)
class Saved:
    """What an interrupted training left.

    Attributes:
        epoch: the last one that is complete.
        stats: epoch -> phase -> key -> value, as ESPnet's reporter keeps them.
    """

    epoch: int
    stats: Mapping[int, Mapping[str, Mapping[str, Any]]]


def repair(folder: Path, criteria: Criteria, keep: int) -> Saved | None:
    """Bring a folder to the state after its last whole epoch.

    Args:
        folder: The experiment.
        criteria: ESPnet's ``best_model_criterion``.
        keep: The largest of ESPnet's ``keep_nbest_models``.

    Returns:
        None where no training has been saved yet.

    Raises:
        TopDownError: E_CKPT_* when there are epochs but no whole checkpoint: a
            training never starts again silently.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return None
    remove_temporaries(folder)
    states = _last_checkpoint(folder)
    if states is None:
        return None
    reporter = states["reporter"]
    saved = Saved(int(reporter["epoch"]), reporter["stats"])
    _restore_epoch(folder, saved.epoch, states["model"])
    _relink(folder, saved, criteria)
    _drop_surplus(folder, saved, criteria, keep)
    return saved


def remove_temporaries(folder: Path) -> None:
    """Remove files that a killed process had not finished; a living one's stay."""
    for path in folder.iterdir():
        found = TEMPORARY.match(path.name)
        if found and not _lives(int(found.group(1))):
            path.unlink()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return pid != os.getpid()


def _last_checkpoint(folder: Path) -> dict[str, Any] | None:
    current, previous = folder / CHECKPOINT, folder / PREVIOUS
    if not current.exists() and not previous.exists():
        epochs = sorted(folder.glob("*epoch.pth"))
        if epochs:
            raise TopDownError(
                "E_CKPT_MISSING",
                f"{folder} has {epochs[0].name} but no {CHECKPOINT}",
                "move the folder away to train anew, or bring the checkpoint back",
                DATA,
            )
        return None
    try:
        return read_checkpoint(current)
    except TopDownError as e:
        if not previous.exists():
            do = f"bring {current} back, or move {folder} away to train anew"
            what = str(e).split(": ", 1)[1].split(". Do:")[0]
            raise TopDownError(e.code, what, do, DATA) from None
        states = read_checkpoint(previous)
        epoch = states["reporter"]["epoch"]
        warn("W_REPAIRED", f"{e} Continuing from {previous.name}, epoch {epoch}")
        os.replace(previous, current)
        return states


def _restore_epoch(folder: Path, epoch: int, model: Mapping[str, torch.Tensor]) -> None:
    """The checkpoint holds the last epoch's weights too."""
    path = folder / f"{epoch}epoch.pth"
    try:
        check_archive(path)
    except TopDownError as e:
        warn("W_REPAIRED", f"{path.name} written from {CHECKPOINT} ({e.code})")
        save(model, path)


def _relink(folder: Path, saved: Saved, criteria: Criteria) -> None:
    _point(folder / "latest.pth", f"{saved.epoch}epoch.pth")
    for phase, key, mode in criteria:
        ranked = rank(saved.stats, phase, key, mode)
        if ranked and not math.isnan(saved.stats[ranked[0]][phase][key]):
            _point(folder / f"{phase}.{key}.best.pth", f"{ranked[0]}epoch.pth")


def _point(path: Path, target: str) -> None:
    if not (path.parent / target).exists():
        warn("W_BEST_LOST", f"{path} should be {target}, which is not there")
        return
    if not path.is_symlink() or os.readlink(path) != target:
        if path.exists() or path.is_symlink():
            warn("W_REPAIRED_LINK", f"{path.name} -> {target}")
        link(target, path)


def _drop_surplus(folder: Path, saved: Saved, criteria: Criteria, keep: int) -> None:
    """Epochs before the last one that are not among the n best."""
    kept = set()
    for phase, key, mode in criteria:
        kept |= set(rank(saved.stats, phase, key, mode)[:keep])
    for epoch in range(1, saved.epoch):
        path = folder / f"{epoch}epoch.pth"
        if epoch not in kept and path.exists():
            path.unlink()


def rank(
    stats: Mapping[int, Mapping[str, Mapping[str, Any]]],
    phase: str,
    key: str,
    mode: str,
) -> list[int]:
    """Epochs from best to worst; NaN is last, of equal ones the earlier is first."""
    found = [(e, s[phase][key]) for e, s in stats.items() if key in s.get(phase, {})]
    sign = 1.0 if mode == "min" else -1.0
    return [e for e, _ in sorted(found, key=lambda x: _nan_last(sign * float(x[1])))]


def _nan_last(value: float) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(value) else (False, value)


def stopped_early(saved: Saved, patience: int | None, criterion: Sequence[str]) -> bool:
    """Whether ESPnet's early stopping has already ended this training."""
    if patience is None:
        return False
    ranked = rank(saved.stats, *criterion[:3])
    return bool(ranked) and saved.epoch - ranked[0] > patience
