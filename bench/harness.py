"""python bench/harness.py [WORK ...] --threads 2

Ratios of stock ESPnet to ours (of sclite for scores, of the authors' formulation for
AWD-LSTM, of ``--search full`` for a search, of the joint step for one with top layers
frozen, of Python's own compiler for verbs that have no stock), each pair in one
process, with the same weights and inputs; results that differ end the run. The table
shows the ratio now and what was recorded (bench/recorded.json); above 1, ours is
faster. ``--json FILE`` gets the figures, in the form in which they are recorded.

LSTM and Transformer: stock runs first, then ours with freed memory kept, as our trainer
does. Else blocks above 32 MiB go back to the system as soon as they are free.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
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
    check: Callable[[Any, Any], Any] | None = None
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
        keep_memory=True,
        on=("device",),
    ),
    "transformer_recipe": Work(
        "training:transformer",
        {"n": 8, "seconds": (4.7, 5.1), "blocks": (12, 6), "recipe": True},
        {"n": 2, "seconds": (0.5, 0.6), "blocks": (1, 1), "recipe": True},
        keep_memory=True,
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
    **{
        verb: Work("scale:pairs", {"verb": verb, "size": n}, {"verb": verb, "size": 9})
        for verb, n in {
            "filter_data": 20_000,
            "validate_data": 5_000,
            "report": 200,
            "status": 200,
        }.items()
    },
}


def _frozen(name: str, stack: str) -> Work:
    work = WORKS[name]
    more = {"inner": work.make.partition(":")[2], "stack": stack}
    full = {**work.full, **more}
    if "n" in full:  # of many depths
        full["n"] //= 4
    tiny = {**work.tiny, **more}
    return Work("training:frozen", full, tiny, on=work.on)


WORKS |= {
    "frozen_lstm_ctc": _frozen("lstm_ctc", "asr_rnn"),
    "frozen_lstm_ctc_att": _frozen("lstm_ctc_att", "asr_rnn"),
    "frozen_transformer": _frozen("transformer", "asr_transformer"),
    "frozen_awd_lstm": _frozen("awd_lstm", "lm_awd_lstm"),
}


def measure(work: Work, size: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run the pairs of a work.

    Returns:
        Medians of stock and ours, added up over the pairs, the ratio of the two, that
        of the seconds of CPU, the commit and the date; of several pairs in turns also
        the ratio of the seconds of CPU of each: median, least and largest of its turns.

    Raises:
        NotRun: Where something is missing.
        SystemExit: When the results of a pair differ.
    """
    pairs = _pairs(work, size, given)
    if work.keep_memory:
        from espnet_topdown.trainer.fast.process import keep_memory

        old = [_run((pair.stock, work.repeat_stock))[0] for pair in pairs]
        keep_memory()
        new = [_run((pair.ours, work.repeat))[0] for pair in pairs]
    else:
        repeat = (work.repeat_stock, work.repeat)
        both = [_run(*zip((p.stock, p.ours), repeat)) for p in pairs]
        old, new = map(list, zip(*both))
    for pair, was, now in zip(pairs, old, new):
        if pair.check:
            pair.check(was.out, now.out)
    if pairs[0].counted:
        stock, ours = (sum(x.out for x in side) for side in (old, new))
        cpu, ours_cpu = stock, ours
    else:
        stock, ours = (sum(x.median(0) for x in side) for side in (old, new))
        cpu, ours_cpu = (sum(x.median(1) for x in side) for side in (old, new))
    call = f"git -C {shlex.quote(str(HERE))} rev-parse --short HEAD"  # if it is there
    done = subprocess.run(call, shell=True, capture_output=True, text=True)
    cpu_ratio = cpu / max(ours_cpu, 0.01)
    numbers = dict(stock=stock, ours=ours, ratio=stock / ours, cpu_ratio=cpu_ratio)
    found: dict[str, Any] = {key: float(f"{x:.4g}") for key, x in numbers.items()}
    if len(pairs) > 1 and not work.keep_memory:
        found["pairs"] = [_ratios(was, now) for was, now in zip(old, new)]
    return {**found, "commit": done.stdout.strip(), "date": time.strftime("%Y-%m-%d")}


def _pairs(work: Work, size: str, given: dict[str, Any]) -> list[Pair]:
    module, _, name = work.make.partition(":")
    more = {key: given[key] for key in work.on}
    make: Callable[..., Iterator[Pair]]
    make = getattr(importlib.import_module(module), name)
    return list(make(**getattr(work, size), **more))


def profile(work: Work, size: str, given: dict[str, Any]) -> None:
    """Print where the time of stock and of ours goes, of the last pair."""
    from torch.profiler import profile

    from espnet_topdown.trainer.fast.process import keep_memory

    pair = _pairs(work, size, given)[-1]
    for side in (pair.stock, pair.ours):
        side()  # warms up
        with profile() as seen:
            side()
        print(seen.key_averages().table("self_cpu_time_total", row_limit=24))
        if work.keep_memory:
            keep_memory()


Call = tuple[Callable[[], Any], int]


@dataclass
class Timed:
    """Seconds and seconds of CPU, children's too, of each turn; the last result."""

    turns: list[tuple[float, float]]
    out: Any = None

    def median(self, kind: int) -> float:
        """Of seconds (0) or seconds of CPU (1)."""
        return statistics.median(turn[kind] for turn in self.turns)


def _ratios(old: Timed, new: Timed) -> list[float]:
    each = [a / max(b, 1e-4) for (_, a), (_, b) in zip(old.turns, new.turns)]
    return [round(x, 3) for x in (statistics.median(each), min(each), max(each))]


def _run(*calls: Call) -> list[Timed]:
    """Call each so many times, in turns: what else the machine does slows all of them.

    The first turn warms up and does not count.
    """
    found = [Timed([]) for _ in calls]
    for turn in range(max(n for _, n in calls) + 1):
        for side, (call, n) in zip(found, calls):
            if turn <= n:
                clock, cpu = time.perf_counter(), _cpu_seconds()
                side.out = call()
                seconds = time.perf_counter() - clock
                side.turns += [(seconds, _cpu_seconds() - cpu)] if turn else []
    return found


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    return time.process_time() + sum(os.times()[2:4])


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
    add("--profile", action="store_true", help="torch's profile instead of ratios")
    add("--json", type=Path, help="gets the figures")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Measure and print."""
    from espnet_topdown.trainer.fast.process import limit_spinning

    args = get_parser().parse_args(cmd)
    if unknown := set(args.works) - set(WORKS):
        raise SystemExit(f"no work {', '.join(unknown)}; take of {', '.join(WORKS)}")
    limit_spinning()  # the same for both
    import torch

    recorded = (
        json.loads((HERE / "recorded.json").read_text()) if args.size == "full" else {}
    )
    found: dict[str, Any] = {}
    print(f"torch {torch.__version__}, {args.threads} threads, size {args.size}")
    print(
        f"{'work':<20}{'stock':>10}{'ours':>10}{'ratio':>8}{'CPU':>8}{'recorded':>10}"
    )
    for name in args.works or WORKS:
        torch.set_num_threads(args.threads)
        torch.manual_seed(0)
        if args.profile:
            profile(WORKS[name], args.size, vars(args))
            continue
        try:
            now = measure(WORKS[name], args.size, vars(args))
        except NotRun as e:
            print(f"{name:<20}not run: {e}", flush=True)
            continue
        found[name] = now
        was = recorded.get(name, {}).get("ratio")
        beside = f"{was:>10.2f} ({now['ratio'] / was:.2f})" if was else f"{'-':>10}"
        numbers = f"{now['stock']:>10.4g}{now['ours']:>10.4g}{now['ratio']:>8.2f}"
        print(f"{name:<20}{numbers}{now['cpu_ratio']:>8.2f}{beside}", flush=True)
        for i, (middle, low, high) in enumerate(now.get("pairs", ()), 1):
            print(f"{'':<20}pair {i}: CPU {middle:.3f} [{low:.3f}, {high:.3f}]")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.modules["harness"] = sys.modules["__main__"]  # the works take Pair from here
    main()
