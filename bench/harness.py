"""python bench/harness.py [WORK ...] --threads 2

Ratios of stock ESPnet to ours (of sclite for scores, of the authors' formulation for
AWD-LSTM, of ``--search full`` for a search), each pair in one process, with the same
weights and inputs; results that differ end the run. The table shows the ratio now and
what was recorded (bench/recorded.json); above 1, ours is faster. ``--json FILE`` gets
the figures, in the form in which they are recorded.

LSTM: stock runs first, then ours with freed memory kept, as our trainer does. Else
blocks above 32 MiB go back to the system at every step of PyTorch's backward pass.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Pair:
    """Two ways to one result.

    Attributes:
        stock: Does the work once, as others do.
        ours: Does the same work.
        check: Ends the run if the two results differ.
        counted: The results are the amounts of work; otherwise seconds are.
    """

    stock: Callable[[], Any]
    ours: Callable[[], Any]
    check: Callable[[Any, Any], Any] | None
    counted: bool = False


class NotRun(Exception):
    """A work that this machine or this call lacks something for."""


@dataclass(frozen=True)
class Work:
    """What is compared.

    Attributes:
        make: Function that yields pairs, as ``module:name``.
        full: Its arguments.
        tiny: The same for a test of a few seconds.
        repeat: Timed runs of ours.
        repeat_stock: Timed runs of stock.
        keep_memory: All of stock's first, then ours with freed memory kept.
        on: Arguments that the command line gives, by name.
    """

    make: str
    full: dict[str, Any]
    tiny: dict[str, Any]
    repeat: int = 5
    repeat_stock: int = 5
    keep_memory: bool = False
    on: tuple[str, ...] = ()


def _lstm(ctc_weight: float) -> Work:
    full = {"batches": 4, "n": 8, "seconds": (4.0, 9.0), "cells": 320}
    tiny = {"batches": 1, "n": 2, "seconds": (0.3, 0.5), "cells": 8}
    sizes = ({"ctc_weight": ctc_weight, **size} for size in (full, tiny))
    return Work("training:lstm", *sizes, 3, 1, keep_memory=True, on=("device",))


WORKS = {
    "lstm_ctc": _lstm(1.0),
    "lstm_ctc_att": _lstm(0.2),
    "transformer": Work(
        "training:transformer",
        {"n": 4, "seconds": (2.7, 5.4), "blocks": (12, 6)},
        {"n": 2, "seconds": (0.5, 0.6), "blocks": (1, 1)},
        on=("device",),
    ),
    "awd_lstm": Work(
        "training:awd_lstm",
        {"words": 1450, "emb": 64, "hidden": 96, "columns": 16, "steps": 30},
        {"words": 20, "emb": 4, "hidden": 6, "columns": 2, "steps": 5},
        repeat=30,
        repeat_stock=30,
        on=("device",),
    ),
    "decode": Work(
        "recognition:decode",
        {"n": 16, "seconds": (3.0, 12.0), "cells": 320},
        {"n": 2, "seconds": (0.5, 1.0), "cells": 8},
        repeat=3,
        repeat_stock=1,
    ),
    "score": Work(
        "recognition:score",
        {"utterances": 333, "letters": 33_341, "wrong": 0.1},
        {"utterances": 3, "letters": 60, "wrong": 0.1},
    ),
    "search_replay": Work("recognition:search_replay", {}, {}, 1, 1, on=("folder",)),
}


def measure(work: Work, size: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run the pairs of a work.

    Returns:
        Medians of stock and ours, added up over the pairs, the ratio of the two, that
        of the seconds of CPU, the commit and the date.

    Raises:
        NotRun: Where something is missing.
        SystemExit: When the results of a pair differ.
    """
    module, _, name = work.make.partition(":")
    more = {key: given[key] for key in work.on}
    make: Callable[..., Iterator[Pair]]
    make = getattr(importlib.import_module(module), name)
    pairs = list(make(**getattr(work, size), **more))
    if work.keep_memory:
        from espnet_topdown.trainer.fast.process import keep_memory

        old = [_run((pair.stock, work.repeat_stock))[0] for pair in pairs]
        keep_memory()
        new = [_run((pair.ours, work.repeat))[0] for pair in pairs]
    else:
        repeat = (work.repeat_stock, work.repeat)
        both = [_run(*zip((p.stock, p.ours), repeat)) for p in pairs]
        old, new = map(list, zip(*both))
    for pair, (*_, want), (*_, have) in zip(pairs, old, new):
        if pair.check:
            pair.check(want, have)
    if pairs[0].counted:
        old, new = ([(out, out, out) for *_, out in side] for side in (old, new))
    (stock, cpu), (ours, ours_cpu) = (
        [sum(x[i] for x in side) for i in (0, 1)] for side in (old, new)
    )
    call = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(call, cwd=HERE, capture_output=True, text=True)
    cpu_ratio = cpu / max(ours_cpu, 0.01)
    numbers = dict(stock=stock, ours=ours, ratio=stock / ours, cpu_ratio=cpu_ratio)
    found: dict[str, Any] = {key: float(f"{x:.4g}") for key, x in numbers.items()}
    return {**found, "commit": done.stdout.strip(), "date": time.strftime("%Y-%m-%d")}


Call = tuple[Callable[[], Any], int]
Timed = tuple[float, float, Any]


def _run(*calls: Call) -> list[Timed]:
    """Call each so many times, in turns: what else the machine does slows all of them.

    The first turn warms up.

    Returns:
        Medians of seconds and of seconds of CPU, children's too, and the last result.
    """
    found: list[list[Timed]] = [[] for _ in calls]
    for turn in range(max(n for _, n in calls) + 1):
        for side, (call, n) in zip(found, calls):
            if turn <= n:
                clock, cpu = time.perf_counter(), sum(os.times()[:4])
                out = call()
                seconds = time.perf_counter() - clock
                side.append((seconds, sum(os.times()[:4]) - cpu, out))
    return [
        (*(statistics.median(x[i] for x in side[1:]) for i in (0, 1)), side[-1][2])
        for side in found
    ]


def get_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}; all")
    add("--size", choices=("full", "tiny"), default="full")
    add("--threads", type=int, default=2)
    add("--device", default="cpu", help="cpu or cuda, of training steps")
    add("--folder", default="", help="of a `--search full`, for search_replay")
    add("--json", type=Path, help="gets the figures")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Measure and print."""
    from espnet_topdown.trainer.fast.process import do_not_spin

    args = get_parser().parse_args(cmd)
    if unknown := set(args.works) - set(WORKS):
        raise SystemExit(f"no work {', '.join(unknown)}; take of {', '.join(WORKS)}")
    do_not_spin()  # the same for both
    import torch

    recorded = (
        json.loads((HERE / "recorded.json").read_text()) if args.size == "full" else {}
    )
    found: dict[str, Any] = {}
    print(f"torch {torch.__version__}, {args.threads} threads, size {args.size}")
    print(
        f"{'work':<15}{'stock':>10}{'ours':>10}{'ratio':>8}{'CPU':>8}{'recorded':>10}"
    )
    for name in args.works or WORKS:
        torch.set_num_threads(args.threads)
        torch.manual_seed(0)
        try:
            now = measure(WORKS[name], args.size, vars(args))
        except NotRun as e:
            print(f"{name:<15}not run: {e}", flush=True)
            continue
        found[name] = now
        was = recorded.get(name, {}).get("ratio")
        beside = f"{was:>10.2f} ({now['ratio'] / was:.2f})" if was else f"{'-':>10}"
        numbers = f"{now['stock']:>10.4g}{now['ours']:>10.4g}{now['ratio']:>8.2f}"
        print(f"{name:<15}{numbers}{now['cpu_ratio']:>8.2f}{beside}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.modules["harness"] = sys.modules["__main__"]  # the works take Pair from here
    main()
