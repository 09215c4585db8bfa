"""python bench/gpu.py --json gpu.json

On one GPU that nobody else uses, within nine minutes: training steps of the paper's
models, batched greedy decoding of 500 utterances (stock: one at a time), AWD-LSTM at
WikiText-2's sizes (373 steps are an epoch; stock: the authors' formulation over cuDNN's
LSTM), and how many utterances a second 1, 2, 4 and 8 candidates train in all, with and
without MPS. Seconds a step, peak of memory, utilisation. A work that fails, or that no
time is left for, is named and the next one runs; without a GPU nothing does.

``--device cpu --size tiny`` tries the script itself.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import itertools
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import NotRun, Pair, Work, measure

COUNTS = (1, 2, 4, 8)
SEEN: dict[str, list[Any]] = {}  # of the pairs that run


def _step(inner: str, full: dict[str, Any], tiny: dict[str, Any]) -> Work:
    sizes = ({"inner": inner, **size} for size in (full, tiny))
    return Work("gpu:watched", *sizes, 20, 20, on=("device",))


def _lstm(ctc_weight: float) -> Work:
    full = {"batches": 1, "n": 30, "seconds": (4.0, 10.0), "cells": 320}
    tiny = {"batches": 1, "n": 2, "seconds": (0.3, 0.5), "cells": 8}
    sizes = ({"ctc_weight": ctc_weight, **size} for size in (full, tiny))
    return _step("training:lstm", *sizes)


WORKS = {
    "step_ctc": _lstm(1.0),
    "step_ctc_att": _lstm(0.2),
    "step_transformer": _step(
        "training:transformer",
        {"n": 32, "seconds": (2.0, 5.1), "blocks": (12, 6)},
        {"n": 2, "seconds": (0.5, 0.6), "blocks": (1, 1)},
    ),
    "step_awd_lstm": _step(
        "training:awd_lstm",
        {"words": 33278, "emb": 400, "hidden": 1150, "columns": 80, "steps": 70},
        {"words": 20, "emb": 4, "hidden": 6, "columns": 2, "steps": 5},
    ),
    "decode": Work(
        "gpu:watched",
        {"inner": "gpu:decode", "n": 500, "seconds": (3.0, 12.0), "cells": 320},
        {"inner": "gpu:decode", "n": 2, "seconds": (0.5, 1.0), "cells": 8},
        repeat=2,
        repeat_stock=1,
        on=("device",),
    ),
}
NAMES = (*WORKS, "candidates", "candidates_mps")


def watched(inner: str, **sizes: Any) -> Iterator[Pair]:
    """The pairs of a work; what differs is noted and does not end the run."""
    module, _, name = inner.partition(":")
    for pair in getattr(importlib.import_module(module), name)(**sizes):
        calls = (
            functools.partial(_watch, *x) for x in vars(pair).items() if callable(x[1])
        )
        yield Pair(*itertools.islice(calls, 2), functools.partial(_note, pair.check))


def _watch(side: str, call: Callable[[], Any]) -> Any:
    import torch

    if not torch.cuda.is_available():
        return call()
    torch.cuda.reset_peak_memory_stats()
    start = time.time()
    out = call()
    torch.cuda.synchronize()
    SEEN.setdefault(f"{side}_time", []).append((start, time.time()))
    peak = torch.cuda.max_memory_allocated() / 1e6
    SEEN.setdefault(f"{side}_peak_mb", []).append(peak)
    return out


def _note(check: Callable[[Any, Any], Any] | None, old: Any, new: Any) -> None:
    try:
        if check:
            check(old, new)
    except SystemExit as e:
        SEEN.setdefault("differs", []).append(str(e)[:200])


def decode(
    n: int, seconds: tuple[float, float], cells: int, device: str
) -> Iterator[Pair]:
    """Our greedy decoding, one utterance at a time beside batches."""
    from recognition import FS, _equal, _paper_model, _sounds

    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.scoring.decode import Recognizer
    from espnet_topdown.scoring.greedy import greedy

    logging.disable(logging.WARNING)
    sounds = _sounds(n, seconds)
    with tempfile.TemporaryDirectory() as tmp:
        weights = _paper_model(Path(tmp), sounds, cells)
        ours = Recognizer(Experiment(Path(tmp)), weights, device)

    def texts(batch_seconds: float) -> dict[str, str]:
        options = {"fs": FS, "batch_seconds": batch_seconds}
        hyps = greedy(ours.model, sounds.items(), **options)
        return {hyp.utt: ours.text(hyp) for hyp in hyps}

    yield Pair(lambda: texts(0.0), lambda: texts(480.0), _equal)


def candidate(size: str, device: str) -> None:
    """Train for as many seconds as each line of the input says; print utterances."""
    from training import lstm

    sizes = getattr(WORKS["step_ctc"], size)
    sizes = {key: x for key, x in sizes.items() if key != "inner"}
    (pair,) = lstm(**sizes, device=device)
    pair.ours()
    print("ready", flush=True)
    for line in sys.stdin:
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < float(line):
            pair.ours()
            steps += 1
        rate = steps * sizes["n"] / (time.perf_counter() - start)
        print(rate, flush=True)


def candidates(size: str, device: str, mps: bool) -> dict[str, float]:
    """Utterances a second in all, by the number of candidates."""
    counts, seconds = (COUNTS, 10.0) if size == "full" else (COUNTS[:2], 0.2)
    server, env = "nvidia-cuda-mps-control", dict(os.environ, OMP_NUM_THREADS="1")
    if mps and not shutil.which(server):
        raise NotRun(f"no {server}")
    call = [sys.executable, __file__, "--candidate", "--size", size, "--device", device]
    started: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory() as tmp:
        if mps:
            env.update(CUDA_MPS_PIPE_DIRECTORY=tmp, CUDA_MPS_LOG_DIRECTORY=tmp)
            subprocess.run([server, "-d"], env=env, check=True)
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        try:
            for _ in range(max(counts)):
                started.append(subprocess.Popen(call, env=env, text=True, **pipes))
            if not all("ready\n" in p.stdout for p in started):  # others print, too
                raise NotRun(f"{max(counts)} candidates do not fit")
            found = {}
            for count in counts:
                for p in started[:count]:
                    p.stdin.write(f"{seconds}\n")
                    p.stdin.flush()
                found[str(count)] = sum(float(_read(p)) for p in started[:count])
            return found
        finally:
            for p in started:
                p.kill()
                p.wait()
            if mps:
                subprocess.run([server], env=env, input="quit\n", text=True)


def _read(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline().strip()


def run(name: str, size: str, device: str) -> dict[str, Any]:
    """One work in this process."""
    if name.startswith("candidates"):
        return candidates(size, device, name.endswith("mps"))
    seen: list[tuple[float, float]] = []
    if device != "cpu":
        threading.Thread(target=_utilisation, args=(seen,), daemon=True).start()
    work = WORKS[name]
    if size == "tiny":
        work = replace(work, repeat=1, repeat_stock=1)
    found = measure(work, size, {"device": device})
    for side in ("stock", "ours"):
        times = SEEN.pop(f"{side}_time", [])[1:]  # the first warms up
        busy = [x for at, x in seen if any(a <= at <= b for a, b in times)]
        found[f"{side}_utilisation"] = statistics.fmean(busy) if busy else None
        found[f"{side}_peak_mb"] = max(SEEN.pop(f"{side}_peak_mb", [0.0]))
    return {**found, **SEEN}


def _utilisation(seen: list[tuple[float, float]]) -> None:
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    call = ["nvidia-smi", "-i", device, "--query-gpu=utilization.gpu"]
    call += ["--format=csv,noheader,nounits"]
    while True:
        out = subprocess.run(call, capture_output=True, text=True).stdout
        if out.strip().isdecimal():
            seen.append((time.time(), float(out)))
        time.sleep(0.2)


def get_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("works", nargs="*", metavar="WORK", help=f"of {', '.join(NAMES)}; all")
    add("--size", choices=("full", "tiny"), default="full")
    add("--device", choices=("cuda", "cpu"), default="cuda")
    add("--minutes", type=float, default=9.0, help="for all; no work begins later")
    add("--json", type=Path, help="gets the figures, after every work")
    add("--work", help=argparse.SUPPRESS)
    add("--candidate", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Run every work in a process of its own, so that its end frees the GPU."""
    args = get_parser().parse_args(cmd)
    end = time.monotonic() + 60 * args.minutes
    if unknown := set(args.works) - set(NAMES):
        raise SystemExit(f"no work {', '.join(unknown)}; take of {', '.join(NAMES)}")
    if args.candidate:
        candidate(args.size, args.device)
        return
    if args.work:
        try:
            found = run(args.work, args.size, args.device)
        except NotRun as e:
            found = {"not run": str(e)}
        args.json.write_text(json.dumps(found))
        return
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"torch {torch.__version__}, {gpu}, device {args.device}, size {args.size}")
    figures: dict[str, Any] = {"gpu": gpu, "torch": torch.__version__}
    words = [sys.executable, __file__, "--size", args.size, "--device", args.device]
    for name in args.works or NAMES:
        found: dict[str, Any] = {}
        left = end - time.monotonic()
        with tempfile.TemporaryDirectory() as tmp:
            out = Path(tmp) / "out.json"
            call = [*words, "--work", name, "--json", str(out)]
            if args.device == "cuda" and gpu == "no GPU":
                found = {"not run": gpu}
            elif left < 10:
                found = {"not run": "no time is left"}
            else:
                found = _call(call, out, left)
        figures[name] = found
        shown = {k: f"{x:.4g}" if isinstance(x, float) else x for k, x in found.items()}
        print(f"{name:<17}", *(f"{k} {x}" for k, x in shown.items()), flush=True)
        if args.json:
            args.json.write_text(json.dumps(figures, indent=1) + "\n")


def _call(call: list[str], out: Path, seconds: float) -> dict[str, Any]:
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"failed": f"not ready after {seconds:.0f} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["?"])[-1][:200]}
    return dict(json.loads(out.read_text()))


if __name__ == "__main__":
    sys.modules["gpu"] = sys.modules["__main__"]  # the works take SEEN from here
    main()
