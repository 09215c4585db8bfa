"""Files of a training that are whole whenever the process is killed, and their repair.

ESPnet's trainer writes over ``checkpoint.pth`` in place and removes a link before it
makes the new one; it has no hook for either. So while :func:`durable` is active, the
two modules of ESPnet that save find other things under the names ``torch`` and
``Path``: files are written to a temporary name in the same folder, synced and renamed;
the checkpoint before the last is kept as ``checkpoint.pth.prev``; links are replaced in
one step; and what is loaded is read as tensors only.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from espnet2.main_funcs import average_nbest_models
from espnet2.train import trainer as stock

from espnet_topdown.errors import DATA, IO, TopDownError, warn
from espnet_topdown.files import link, replacing
from espnet_topdown.models.checkpoint import check_archive
from espnet_topdown.models.experiment import Criterion, rank_epochs
from espnet_topdown.models.weights import read_checkpoint

CHECKPOINT, PREVIOUS = "checkpoint.pth", "checkpoint.pth.prev"
_TEMPORARY = re.compile(r"^\..+\.(\d+)\.tmp$")

Criteria = Sequence[Sequence[str]]  # of phase, key, min or max


def save(obj: Any, path: Path) -> None:
    """``torch.save`` to a file that is replaced whole or not at all.

    Args:
        obj: What ``torch.save`` takes.
        path: The file; ``checkpoint.pth`` is kept as ``checkpoint.pth.prev`` first.

    Raises:
        TopDownError: E_DISK (74) or E_CREATE (73); the old file is then untouched.
    """
    path = Path(path)
    with replacing(path) as file:
        try:
            torch.save(obj, file)
        except RuntimeError as e:
            # torch ends a file that it could not write, and raises what that gives
            if isinstance(e.__context__, OSError):
                raise e.__context__ from e
            raise
        if path.name == CHECKPOINT and path.exists():
            _keep_previous(path)


def _keep_previous(path: Path) -> None:
    """Give the checkpoint a second name, so that the rename does not lose it."""
    tmp = path.with_name(f".{PREVIOUS}.{os.getpid()}.tmp")
    tmp.unlink(missing_ok=True)
    try:
        os.link(path, tmp)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, tmp)
    os.replace(tmp, path.with_name(PREVIOUS))
    tmp.unlink(missing_ok=True)  # a rename onto the same file does nothing


def _load(path: Path, *args: object, **options: object) -> dict[str, Any]:
    # ``torch.load``, and release 202611's ``safe_torch_load``; executes nothing.
    return read_checkpoint(Path(path))


class _Torch:
    """The module ``torch`` with another ``save`` and ``load``."""

    save, load = staticmethod(save), staticmethod(_load)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


class _Path(type(Path())):  # type: ignore[misc]
    """A path whose link is there until the next one replaces it."""

    def unlink(self, missing_ok: bool = False) -> None:
        if not self.is_symlink():
            super().unlink(missing_ok)

    def symlink_to(self, target: Any, target_is_directory: bool = False) -> None:
        link(str(target), self)


@contextlib.contextmanager
def durable(**names: Any) -> Iterator[None]:
    """Let ESPnet's training loop save, load and link as this module does.

    Args:
        **names: More that the module of the loop is to find under other names.
    """
    ours = {"torch": _Torch(), "Path": _Path, "safe_torch_load": _load, **names}
    before = []
    for module in (stock, average_nbest_models):
        for name in ours.keys() & vars(module).keys():
            before.append((module, name, getattr(module, name)))
            setattr(module, name, ours[name])
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def check_room(folder: Path | str) -> None:
    """Refuse to train an epoch that could not be saved.

    Args:
        folder: The experiment; before its first checkpoint nothing is known.

    Raises:
        TopDownError: E_DISK (74).
    """
    saved = Path(folder) / CHECKPOINT
    if not saved.exists():
        return
    need = 2 * saved.stat().st_size
    free = shutil.disk_usage(folder).free
    if free < need:
        what = f"an epoch needs {need} B, free {free} B at {folder}"
        do = "make room and run the same command again; nothing is lost"
        raise TopDownError("E_DISK", what, do, IO)
    if free < 3 * need:
        warn("W_DISK", f"free {free} B at {folder}, an epoch needs {need} B")


def repair(folder: Path, criteria: Criteria, keep: int) -> None:
    """Bring a folder to the state after its last whole epoch.

    Args:
        folder: The experiment.
        criteria: ESPnet's ``best_model_criterion``.
        keep: The largest of ESPnet's ``keep_nbest_models``.

    Raises:
        TopDownError: E_CKPT_* when there are epochs but no whole checkpoint: a
            training never starts again silently.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return
    remove_temporaries(folder)
    states = _last_checkpoint(folder)
    if states is None:
        return
    epoch, stats = int(states["reporter"]["epoch"]), states["reporter"]["stats"]
    _restore_epoch(folder, epoch, states["model"])
    _point(folder / "latest.pth", epoch)
    kept = {epoch}
    for criterion in (Criterion(*c) for c in criteria):
        for best in rank_epochs(stats, criterion)[:1]:
            _point(folder / criterion.file, best)
        kept |= set(rank_epochs(stats, criterion, finite=False)[:keep])
    for surplus in set(range(1, epoch)) - kept:
        (folder / f"{surplus}epoch.pth").unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove files that a killed process had not finished; a living one's stay.

    Args:
        folder: Only its own files are looked at.
    """
    for path in folder.iterdir():
        match = _TEMPORARY.match(path.name)
        if match and not _lives(int(match.group(1))):
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
            what = f"{folder} has {epochs[0].name} but no {CHECKPOINT}"
            do = "move the folder away to train anew, or bring the checkpoint back"
            raise TopDownError("E_CKPT_MISSING", what, do, DATA)
        return None
    try:
        return read_checkpoint(current)
    except TopDownError as e:
        if not previous.exists():
            do = f"bring {current} back, or move {folder} away to train anew"
            raise TopDownError(e.code, e.what, do, DATA) from None
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


def _point(path: Path, epoch: int) -> None:
    target = f"{epoch}epoch.pth"
    if not (path.parent / target).exists():
        warn("W_BEST_LOST", f"{path} should be {target}, which is not there")
        return
    if not path.is_symlink() or os.readlink(path) != target:
        if path.exists() or path.is_symlink():
            warn("W_REPAIRED_LINK", f"{path.name} -> {target}")
        link(target, path)
