"""Two parts of a model at the same time, each with half of the threads.

An LSTM's steps are too small to be shared by threads: at every frame they would wait
for each other. But the two directions of a layer need nothing of each other.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from queue import SimpleQueue

import torch
from torch.autograd.function import once_differentiable

Tensors = Sequence[torch.Tensor]
Part = Callable[..., Tensors]


def side_by_side(parts: Sequence[Part], inputs: Sequence[Tensors]) -> list[Tensors]:
    """Call two parts at the same time; gradients too are found side by side.

    Args:
        parts: two functions of tensors that return as many tensors. They must take all
            that needs a gradient from their inputs, and draw no random numbers.
        inputs: the tensors of each part.

    Returns:
        What each part gives.

    Note:
        ``backward`` can go through it once, and not be differentiated itself.
    """
    if not torch.is_grad_enabled():
        return _map(torch.no_grad()(_call), parts, inputs)
    sizes = [len(tensors) for tensors in inputs]
    flat = _Both.apply(parts, sizes, *(t for tensors in inputs for t in tensors))
    half = len(flat) // 2
    return [flat[:half], flat[half:]]


def _call(part: Part, inputs: Tensors) -> Tensors:
    return part(*inputs)


class _Both(torch.autograd.Function):
    """Each part builds a graph of its own, from its inputs to its outputs."""

    @staticmethod
    def forward(ctx, parts, sizes, *flat):  # type: ignore[no-untyped-def]
        wanted = ctx.needs_input_grad[2:]
        flat = [t.detach().requires_grad_(w) for t, w in zip(flat, wanted)]
        inputs = [flat[: sizes[0]], flat[sizes[0] :]]
        outputs = _map(torch.enable_grad()(_call), parts, inputs)
        ctx.graphs = list(zip(inputs, outputs))
        ctx.set_materialize_grads(False)
        return tuple(t.detach() for out in outputs for t in out)

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads):  # type: ignore[no-untyped-def]
        half = len(grads) // 2
        found = _map(_gradients, ctx.graphs, [grads[:half], grads[half:]])
        return (None, None, *found[0], *found[1])


def _gradients(graph: tuple[Tensors, Tensors], grads: Tensors) -> list:
    # Of the inputs of one part; None where none is wanted.
    inputs, outputs = graph
    pairs = zip(outputs, grads)
    known = [(t, g) for t, g in pairs if g is not None and t.requires_grad]
    wanted = [t for t in inputs if t.requires_grad]
    if not known or not wanted:
        return [None] * len(inputs)
    ends, d_ends = zip(*known)
    found = iter(torch.autograd.grad(ends, wanted, d_ends, allow_unused=True))
    return [next(found) if t.requires_grad else None for t in inputs]


def _map(function, *arguments):  # type: ignore[no-untyped-def]
    queues = _workers(os.getpid(), torch.get_num_threads())
    found = []
    for queue, args in zip(queues, zip(*arguments)):
        found.append(Future())
        queue.put((found[-1], function, args))
    wait(found)  # both, also where one fails
    return [future.result() for future in found]


@functools.cache
def _workers(pid: int, threads: int) -> list[SimpleQueue]:
    # The queues of two Python threads, each with half of PyTorch's ``threads``.
    #
    # They never end: a thread that has used PyTorch lets go of Python objects at its
    # end, and aborts the process where Python itself is ending at that moment.
    queues: list[SimpleQueue] = []
    begun = threading.Barrier(3)
    for k in range(2):
        queues.append(SimpleQueue())
        args = (queues[k], max(1, threads // 2), begun)
        threading.Thread(
            target=_serve, args=args, name=f"side_{k}", daemon=True
        ).start()
    begun.wait()
    torch.set_num_threads(threads)  # set_num_threads also sets that of later threads
    return queues


def _serve(queue: SimpleQueue, threads: int, begun: threading.Barrier) -> None:
    torch.get_num_threads()  # a thread's first call sets its number to the default
    torch.set_num_threads(threads)
    begun.wait()
    while True:
        future, function, args = queue.get()
        try:
            future.set_result(function(*args))
        except BaseException as error:
            future.set_exception(error)
        del future, function, args  # hold nothing while waiting
