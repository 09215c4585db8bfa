"""Threads that give way: call before torch is imported."""

from __future__ import annotations

import os
from collections.abc import MutableMapping


def do_not_spin(environ: MutableMapping[str, str] = os.environ) -> None:
    """Let waiting OpenMP threads sleep after a few microseconds.

    An LSTM meets a barrier at every frame. By default libgomp's threads spin at a
    barrier for milliseconds. When other jobs want the same cores that is lost time:
    two threads on two cores with a load of 5 took 28 s a step, with this 4 s
    (``bench/lstm_cpu.py``). What the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in environ:
        environ.setdefault("GOMP_SPINCOUNT", "300")
