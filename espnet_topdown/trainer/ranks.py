"""Several processes that train one model: which is the first, and what all agree on."""

from __future__ import annotations

import argparse
import functools
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

import torch
from espnet2.train.distributed_utils import get_node_rank, get_world_size
from torch.multiprocessing import ProcessExitedException

from espnet_topdown.errors import TopDownError


def together(args: argparse.Namespace) -> bool:
    """Whether this process is one of several that were started together.

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

    Of several only one may; those that ESPnet starts for GPUs are not asked yet.
    """
    if not together(args):
        return True
    return get_node_rank(args.dist_rank, args.dist_launcher) in (None, 0)


def agreement(ngpu: int) -> Callable[[int], int]:
    """A function that all processes call at the same points: the largest number of all.

    Args:
        ngpu: More than 0 where tensors are on GPUs.
    """
    shared = torch.zeros((), dtype=torch.long, device="cuda" if ngpu else "cpu")

    def largest(number: int) -> int:
        shared.fill_(number)
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
        return int(shared)

    return largest


def exit_as_child(function: Callable[[], None]) -> None:
    """Run one of ESPnet's processes for a GPU; an error of ours becomes its status."""
    if multiprocessing.parent_process() is None:
        function()
        return
    try:
        function()
    except TopDownError as e:
        print(e, file=sys.stderr, flush=True)
        sys.exit(e.status)


def watch_children(function: Callable[[], None]) -> None:
    """Run the parent of ESPnet's processes: signals go to them, their status is ours.

    Raises:
        SystemExit: with the status of a process that ended with an error of ours.
    """

    def pass_on(number: int, frame: FrameType | None) -> None:
        for child in multiprocessing.active_children():
            if child.pid:
                os.kill(child.pid, number)

    old = {s: signal.signal(s, pass_on) for s in (signal.SIGTERM, signal.SIGUSR2)}
    try:
        function()
    except ProcessExitedException as e:
        if e.exit_code is not None and 64 <= e.exit_code <= 78:
            sys.exit(e.exit_code)
        raise
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def as_main(args: argparse.Namespace, function: Callable[..., None]) -> None:
    """Call ESPnet's ``main``, watched where it starts processes of its own."""
    call = functools.partial(function, args=args)
    if args.ngpu > 1 and args.multiprocessing_distributed and not args.collect_stats:
        watch_children(call)
    else:
        call()
        if torch.distributed.is_initialized():
            _leave()


def _leave() -> None:
    """End a process of several that is done; what it wrote is on the disk.

    The usual end of a process now and then aborts where gloo's threads are left.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
