"""Files of a training that are whole whenever the process is killed.

ESPnet's trainer writes over ``checkpoint.pth`` in place and removes a link before it
makes the new one. While :func:`durable` is active, ``torch.save`` writes to a
temporary name in the same folder, syncs and renames; the checkpoint before the last is
kept as ``checkpoint.pth.prev``; links are replaced in one step; and ``torch.load``
reads tensors only.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from espnet_topdown.errors import IO, TopDownError, disk_error, warn
from espnet_topdown.files import link, sync_folder
from espnet_topdown.models.weights import read_checkpoint

CHECKPOINT, PREVIOUS = "checkpoint.pth", "checkpoint.pth.prev"
TEMPORARY = re.compile(r"^\..+\.(\d+)\.tmp$")

_torch_save, _torch_load = torch.save, torch.load
_unlink, _symlink_to = pathlib.Path.unlink, pathlib.Path.symlink_to


class _Recorder:
    """A file that remembers why a write failed: ``torch.save`` hides the reason."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None
        self.written = 0

    def write(self, data: bytes) -> int:
        try:
            self.written += memoryview(data).nbytes
            return self.file.write(data)
        except OSError as e:
            self.error = e
            raise

    def flush(self) -> None:
        self.file.flush()


def save(obj: Any, path: Path, **options: Any) -> None:
    """``torch.save`` to a file that is replaced whole or not at all.

    Raises:
        TopDownError: E_DISK (74) or E_CREATE (73); the old file is then untouched.
    """
    path = Path(path)
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    record = None
    try:
        with tmp.open("wb") as file:
            record = _Recorder(file)
            _torch_save(obj, record, **options)
            file.flush()
            os.fsync(file.fileno())
        if path.name == CHECKPOINT and path.exists():
            _keep_previous(path)
        os.replace(tmp, path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as e:
        with contextlib.suppress(OSError):
            _unlink(tmp)
        cause = e if isinstance(e, OSError) else record and record.error
        if cause is None:
            raise
        raise disk_error(path, record.written if record else 0, cause) from e


def _keep_previous(path: Path) -> None:
    """Give the checkpoint a second name, so that the rename does not lose it."""
    tmp = path.with_name(f".{PREVIOUS}.{os.getpid()}.tmp")
    with contextlib.suppress(FileNotFoundError):
        _unlink(tmp)
    try:
        os.link(path, tmp)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, tmp)
    os.replace(tmp, path.with_name(PREVIOUS))
    with contextlib.suppress(FileNotFoundError):
        _unlink(tmp)  # a rename onto another name of the same file does nothing


@contextlib.contextmanager
def durable(folder: Path) -> Iterator[None]:
    """Let whatever runs inside save, load and link as this module does.

    Args:
        folder: The experiment; links to ``*.pth`` outside it are left alone.
    """
    folder = Path(folder)

    def is_link(path: Path) -> bool:
        return path.parent == folder and path.suffix == ".pth" and path.is_symlink()

    def save_any(obj, f, *args, **kwargs):  # type: ignore[no-untyped-def]
        if isinstance(f, (str, os.PathLike)) and not args and not kwargs:
            save(obj, Path(f))
        else:
            _torch_save(obj, f, *args, **kwargs)

    def unlink(self, missing_ok=False):  # type: ignore[no-untyped-def]
        if not is_link(self):  # a link stays until the next one replaces it
            _unlink(self, missing_ok=missing_ok)

    def symlink_to(self, target, target_is_directory=False):  # type: ignore[no-untyped-def]
        if self.parent == folder and self.suffix == ".pth":
            link(str(target), self)
        else:
            _symlink_to(self, target, target_is_directory)

    path = pathlib.Path
    before = torch.save, torch.load, path.unlink, path.symlink_to
    torch.save, torch.load = save_any, load_tensors
    path.unlink, path.symlink_to = unlink, symlink_to
    try:
        yield
    finally:
        torch.save, torch.load, path.unlink, path.symlink_to = before


def load_tensors(f, *args, **kwargs):  # type: ignore[no-untyped-def]
    """``torch.load`` that never executes what it reads.

    ESPnet's ``checkpoint.pth`` also holds times and NumPy numbers, which are let in
    by name.
    """
    if isinstance(f, (str, os.PathLike)) and Path(f).name == CHECKPOINT:
        torch.load = _torch_load  # which read_checkpoint calls
        try:
            return read_checkpoint(Path(f))
        finally:
            torch.load = load_tensors
    return _torch_load(f, *args, **{**kwargs, "weights_only": True})


def check_room(folder: Path) -> None:
    """Refuse to train an epoch that could not be saved.

    Raises:
        TopDownError: E_DISK (74).
    """
    saved = Path(folder) / CHECKPOINT
    if not saved.exists():
        return
    need = 2 * saved.stat().st_size
    free = shutil.disk_usage(folder).free
    if free < need:
        raise TopDownError(
            "E_DISK",
            f"an epoch needs {need} B, free {free} B at {folder}",
            "make room and run the same command again; nothing is lost",
            IO,
        )
    if free < 3 * need:
        warn("W_DISK", f"free {free} B at {folder}, an epoch needs {need} B")
