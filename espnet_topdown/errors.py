"""What went wrong, as a user reads it: ``CODE: what, where. Do: remedy.``

Exit statuses are those of ``sysexits.h``. 100 and 137 are never used: Kaldi's
launchers give them a meaning of their own.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable

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

    >>> print(TopDownError("E_FREEZE_ALL", "nothing left to train", "freeze less"))
    E_FREEZE_ALL: nothing left to train. Do: freeze less.
    """

    def __init__(self, code: str, what: str, do: str, status: int = CONFIG) -> None:
        super().__init__(f"{code}: {what.rstrip('.')}. Do: {do.rstrip('.')}.")
        self.code = code
        self.status = status


def nearest(name: str, known: Iterable[str], n: int = 3) -> str:
    """The known names that look most like ``name``, for an error message.

    >>> nearest("softmaks", ["softmax", "blstm0"])
    'nearest: softmax'
    >>> nearest("zzz", ["softmax", "blstm0"])
    'known: softmax, blstm0'
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=n, cutoff=0.5)
    return (
        f"nearest: {', '.join(close)}" if close else f"known: {', '.join(known[:12])}"
    )


def warn(code: str, what: str) -> None:
    """Log a warning that has a code: ``W_CODE: what``."""
    logging.getLogger("espnet_topdown").warning("%s: %s", code, what)
