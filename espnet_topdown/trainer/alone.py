"""One training at a time in a folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from espnet_topdown.errors import CREATE, RETRY, TopDownError, warn

NAME = ".train.lock"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder, or leave.

    A POSIX lock belongs to this process only: a loader's worker that outlives a killed
    training does not keep it.

    Raises:
        TopDownError: E_LOCKED (75) naming the holder; E_CREATE (73).
    """
    path = Path(folder) / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as e:
        what = f"{folder} is not writable by uid {os.getuid()}: {e.strerror}"
        do = "choose another --output_dir or correct its permissions"
        raise TopDownError("E_CREATE", what, do, CREATE) from e
    try:
        _take(file, path)
        os.ftruncate(file, 0)
        os.pwrite(file, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def _take(file: int, path: Path) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        if e.errno not in (errno.EACCES, errno.EAGAIN):
            warn("W_LOCK_NOT_ENFORCED", f"{path}: {e.strerror}; start it only once")
            return
        holder = os.pread(file, 200, 0).decode(errors="replace").strip()
        raise TopDownError(
            "E_LOCKED",
            f"{path.parent} is being trained in by {holder or 'another process'}",
            "wait until it has finished, or stop it",
            RETRY,
        ) from e
