"""The processes of one training: who is first, what stops them, how they end.

SIGTERM and SIGUSR2 ask a training to finish its batch and to leave with status 75.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import torch
from espnet2.train.distributed_utils import get_node_rank, get_world_size
from torch.multiprocessing import ProcessExitedException

from espnet_topdown.errors import RETRY, TopDownError


def together(args: argparse.Namespace) -> bool:
    """Whether this process is one of several that were started together.

    Args:
        args: The options of a training.

    Returns:
        Not yet for those that ESPnet starts for GPUs.

    Raises:
        TopDownError: E_RANGE (78) for ``--dist_launcher slurm`` without srun.
    """
    try:
        return get_world_size(args.dist_world_size, args.dist_launcher) > 1
    except RuntimeError as e:
        do = "start it by srun, or leave --dist_launcher out"
        what = f"--dist_launcher {args.dist_launcher}: {e}"
        raise TopDownError("E_RANGE", what, do) from e


def is_first(args: argparse.Namespace) -> bool:
    """Whether this process may write to the experiment's folder.

    Args:
        args: The options of a training.

    Returns:
        True for one of several; those that ESPnet starts for GPUs are not asked yet.
    """
    if not together(args):
        return True
    return get_node_rank(args.dist_rank, args.dist_launcher) in (None, 0)


class Stop:
    """Whether somebody has asked this process to stop.

    Attributes:
        signal: The one that was received.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._shared: torch.Tensor | None = None

    def agree(self, device: str) -> None:
        """Let all processes leave at the same batch, or one would wait for ever.

        Args:
            device: Of their tensors, "cuda" or "cpu".
        """
        self._shared = torch.zeros((), dtype=torch.long, device=device)

    def check(self, epoch: int) -> None:
        """Leave if asked to; all processes call it at the same points.

        Args:
            epoch: The one that is trained now.

        Raises:
            TopDownError: E_PREEMPTED (75): the same command continues.
        """
        if self._shared is not None:
            self._shared.fill_(self.signal or 0)
            torch.distributed.all_reduce(self._shared, torch.distributed.ReduceOp.MAX)
            self.signal = int(self._shared) or None
        if self.signal is None:
            return
        name = signal.Signals(self.signal).name
        saved = f"epoch {epoch - 1} is saved" if epoch > 1 else "no epoch is saved yet"
        what = f"stopped by {name} in epoch {epoch}; {saved}"
        do = "run the same command again, it continues"
        raise TopDownError("E_PREEMPTED", what, do, RETRY)


@contextlib.contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Both signals go to a handler; those before are put back after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    both = (signal.SIGTERM, signal.SIGUSR2)
    old = {number: signal.signal(number, handler) for number in both}
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)


@contextlib.contextmanager
def on_signal() -> Iterator[Stop]:
    """Note the signals instead of dying by them.

    Yields:
        What says whether one came.
    """
    stop, owner = Stop(), os.getpid()

    def note(number: int, frame: object) -> None:
        if os.getpid() == owner:
            stop.signal = number
        else:  # a loader's worker inherits the handler and has nothing to finish
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    with _handled(note):
        yield stop


def exit_as_child(function: Callable[[], None]) -> None:
    """Run one of ESPnet's processes for a GPU; an error of ours becomes its status.

    Args:
        function: What the process does.
    """
    try:
        function()
    except TopDownError as e:
        if multiprocessing.parent_process() is None:
            raise
        print(e, file=sys.stderr, flush=True)
        sys.exit(e.status)


def watch_children(function: Callable[[], None]) -> None:
    """Run the parent of ESPnet's processes: signals go to them, their status is ours.

    Args:
        function: Starts them and waits.

    Raises:
        SystemExit: With the status of a process that ended with an error of ours.
    """

    def pass_on(number: int, frame: object) -> None:
        for child in multiprocessing.active_children():
            if child.pid:
                os.kill(child.pid, number)

    with _handled(pass_on):
        try:
            function()
        except ProcessExitedException as e:
            if e.exit_code is not None and 64 <= e.exit_code <= 78:
                sys.exit(e.exit_code)
            raise


def as_main(args: argparse.Namespace, function: Callable[..., None]) -> None:
    """Call ESPnet's ``main``, watched where it starts processes of its own.

    Args:
        args: The options of a training.
        function: Takes them as ``args``.
    """
    call = functools.partial(function, args=args)
    if args.ngpu > 1 and args.multiprocessing_distributed and not args.collect_stats:
        watch_children(call)
        return
    call()
    if torch.distributed.is_initialized():
        # The usual end of a process now and then aborts where gloo's threads are left;
        # what this one wrote is on the disk.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
