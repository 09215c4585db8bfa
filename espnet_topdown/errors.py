"""What went wrong, as a user reads it: ``CODE: what, where. Do: remedy.``

Exit statuses are those of ``sysexits.h``. 100 and 137 are never used: Kaldi's
launchers give them a meaning of their own.
"""

from __future__ import annotations

import difflib
import errno
import functools
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

USAGE = 64  # the command line is wrong
DATA = 65  # an input file holds something wrong
MISSING = 66  # an input file is not there
INTERNAL = 70  # a promise of ours was broken
CREATE = 73  # an output cannot be created
IO = 74  # reading or writing failed (disk full)
RETRY = 75  # somebody else is at work here; try again later
CLUSTER = 76  # the launcher or the scheduler failed
CONFIG = 78  # the configuration asks for something wrong


class TopDownError(Exception):
    """An error that the user can act on.

    Args:
        code: For example ``E_DATA``.
        what: What is wrong, and where.
        do: What the user does about it.
        status: Of the process that ends by this error.

    >>> print(TopDownError("E_FREEZE_ALL", "nothing left to train", "freeze less"))
    E_FREEZE_ALL: nothing left to train. Do: freeze less.
    """

    def __init__(self, code: str, what: str, do: str, status: int = CONFIG) -> None:
        super().__init__(f"{code}: {what.rstrip('.')}. Do: {do.rstrip('.')}.")
        self.code = code
        self.what = what.rstrip(".")
        self.remedy = do.rstrip(".")
        self.status = status


# An option of an earlier version -> where it is said why it left.
REMOVED_OPTIONS = {
    "abandon": "docs/results/search.md",
    "halving": "docs/results/search.md",
    "proxy": "docs/results/search.md",
    "num_nodes": "docs/cluster.md",
}


def nearest(name: str, names: Iterable[str], n: int = 3) -> str:
    """The names that look most like ``name``, for an error message.

    Args:
        name: As the user wrote it.
        names: All that it could be.
        n: How many are named at most.

    Returns:
        A phrase; without a name that is near, the first of those known.

    >>> nearest("softmaks", ["softmax", "blstm0"])
    'nearest: softmax'
    >>> nearest("zzz", ["softmax", "blstm0"])
    'known: softmax, blstm0'
    >>> nearest("1epoch.pth", [])
    'known: none'
    """
    names = list(names)
    close = difflib.get_close_matches(name, names, n=n, cutoff=0.5)
    known = ", ".join(names[:12]) or "none"
    return f"nearest: {', '.join(close)}" if close else f"known: {known}"


def warn(code: str, what: str) -> None:
    """Log a warning that has a code: ``W_CODE: what``."""
    logging.getLogger("espnet_topdown").warning("%s: %s", code, what)


DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def disk_error(path: Path, need: int, error: OSError) -> TopDownError:
    """The error of a write that failed.

    Args:
        path: What was to be written.
        need: Its bytes; 0 needs a block.
        error: Of the system.

    Returns:
        E_DISK (74) with the bytes needed and free, or E_CREATE (73).
    """
    if error.errno in DISK_ERRORS:
        places = Path(path).absolute(), *Path(path).absolute().parents
        folder = next(p for p in places if p.is_dir())
        free = shutil.disk_usage(folder).free
        need = need or os.statvfs(folder).f_frsize
        what = f"{error.strerror}: need {need} B, free {free} B at {path}"
        do = "make room and run the same command again; nothing is lost"
        return TopDownError("E_DISK", what, do, IO)
    what = f"{path} is not writable by uid {os.getuid()}: {error.strerror}"
    do = "choose another folder or correct its permissions"
    return TopDownError("E_CREATE", what, do, CREATE)


def command(main: Callable[[Sequence[str] | None], object]) -> Callable[..., None]:
    """Give a ``main(cmd=None)`` our log format, error messages and exit statuses.

    Args:
        main: Takes the words of a command line; None for those of this process.

    Returns:
        The same, ending the process by itself.
    """

    @functools.wraps(main)
    def run(cmd: Sequence[str] | None = None) -> None:
        logging.basicConfig(
            level=logging.INFO,
            format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s",
        )
        try:
            main(cmd)
            sys.stdout.flush()
        except TopDownError as e:
            _end(e)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(IO)
        except OSError as e:
            if e.errno not in DISK_ERRORS:
                raise
            where = e.filename2 or e.filename  # of a copy the first is its source
            where = where if isinstance(where, str) else os.curdir
            _end(disk_error(Path(where).absolute(), 0, e))
        except KeyboardInterrupt:
            print("interrupted; the same command continues", file=sys.stderr)
            sys.exit(130)

    return run


def _end(error: TopDownError) -> NoReturn:
    """Say what is wrong, if there is room for it, and end with its status."""
    for stream, text in ((sys.stdout, ""), (sys.stderr, f"{error}\n")):
        try:
            stream.write(text)
            stream.flush()
        except OSError:  # a full disk; Python would try again and change the status
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(error.status)
