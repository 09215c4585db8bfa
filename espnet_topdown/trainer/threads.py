"""Threads that give way: call before torch is imported."""

from __future__ import annotations

import os
from collections.abc import MutableMapping


def do_not_spin(environ: MutableMapping[str, str] = os.environ) -> None:
    """Let waiting OpenMP threads sleep after some microseconds.

    An LSTM meets a barrier at every frame. By default libgomp's threads spin at a
    barrier for milliseconds; when other jobs want the same cores, a step then takes
    several times as long. On idle cores nothing changes. What the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in environ:
        environ.setdefault("GOMP_SPINCOUNT", "10000")
