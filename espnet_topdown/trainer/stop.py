"""SIGTERM and SIGUSR2: finish the batch, then leave with status 75."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

from espnet_topdown.errors import RETRY, TopDownError

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


class Stop:
    """Whether somebody has asked this process to stop.

    Attributes:
        signal: the one that was received.
        agree: of several processes: the largest of all their numbers. They have to
            leave at the same batch, or one would wait for another for ever.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.agree: Callable[[int], int] | None = None

    def check(self, epoch: int) -> None:
        """Leave if asked to.

        Raises:
            TopDownError: E_PREEMPTED (75): the same command continues.
        """
        if self.agree is not None:
            self.signal = self.agree(self.signal or 0) or None
        if self.signal is None:
            return
        name = signal.Signals(self.signal).name
        saved = f"epoch {epoch - 1} is saved" if epoch > 1 else "no epoch is saved yet"
        raise TopDownError(
            "E_PREEMPTED",
            f"stopped by {name} in epoch {epoch}; {saved}",
            "run the same command again, it continues",
            RETRY,
        )


@contextlib.contextmanager
def on_signal() -> Iterator[Stop]:
    """Note the signals instead of dying by them; the handlers are put back after."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    owner = os.getpid()

    def note(number: int, frame: object) -> None:
        if os.getpid() == owner:
            stop.signal = number
        else:  # a loader's worker inherits the handler and has nothing to finish
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    old = {s: signal.signal(s, note) for s in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
