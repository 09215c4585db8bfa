"""What makes a process train faster on a CPU: its threads and its memory."""

from __future__ import annotations

import ctypes
import os

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def limit_spinning() -> None:
    """Let waiting OpenMP threads sleep after a few microseconds.

    An LSTM meets a barrier at every frame. By default libgomp's threads spin at a
    barrier for milliseconds. When other jobs want the same cores that is lost time:
    two threads on two cores with a load of 5 took 28 s a step, with this 4 s
    (``bench/lstm_cpu.py``). What the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "300")


def keep_memory() -> bool:
    """Let malloc keep what is freed, for the rest of this process.

    By default glibc returns large blocks to the system, which hands them out again
    page by page and zeroed. A training step on a CPU frees and asks for the same few
    hundred megabytes every time: 5 to 15 % of its time went there.

    Returns:
        Whether the C library knows how (glibc does).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
