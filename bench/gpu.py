"""python bench/gpu.py --json gpu.json

On one GPU that nobody else uses, within nine minutes: training steps of the paper's
models, batched greedy decoding of 500 utterances (stock: one at a time), AWD-LSTM at
WikiText-2's sizes (373 steps are an epoch; stock: the authors' formulation over cuDNN's
LSTM), and how many utterances a second 1, 2, 4 and 8 candidates train in all, with and
without MPS. Seconds a step, peak of memory, utilisation. Every work has its part of the
time that is left. One that fails or takes longer is named, with what it had found, and
the next one runs; without a GPU nothing does. At the end there is a table.

``--device cpu --size tiny`` tries the script itself.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import itertools
import json
import logging
import os
import shutil
import signal
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
EPOCH = 373  # AWD-LSTM's steps
GRACE_S = 5.0  # for a work that has to end
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
# Parts of the time.
NAMES = {**dict.fromkeys(WORKS, 1.0), "candidates": 1.5, "candidates_mps": 1.5}


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


def candidates(size: str, device: str, mps: bool) -> Iterator[tuple[str, Any]]:
    """The number of candidates, and the utterances a second in all."""
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
            fit = [p for p in started if "ready\n" in p.stdout]  # others print, too
            for count in counts:
                if count > len(fit):
                    yield str(count), "do not fit"
                    continue
                for p in fit[:count]:
                    p.stdin.write(f"{seconds}\n")
                    p.stdin.flush()
                yield str(count), sum(float(p.stdout.readline()) for p in fit[:count])
        finally:
            for p in started:
                p.kill()
                p.wait()
            if mps:
                subprocess.run([server], env=env, input="quit\n", text=True)


def run(name: str, size: str, device: str) -> Iterator[tuple[str, Any]]:
    """One work in this process: what it finds, piece by piece."""
    if name.startswith("candidates"):
        yield from candidates(size, device, name.endswith("mps"))
        return
    import torch

    seen: list[tuple[float, float]] = []
    if device != "cpu":
        threading.Thread(target=_utilisation, args=(seen,), daemon=True).start()
    work = WORKS[name]
    if size == "tiny":
        work = replace(work, repeat=1, repeat_stock=1)
    torch.manual_seed(0)
    found = measure(work, size, {"device": device})
    if name == "step_awd_lstm":
        found.update({f"{s}_epoch": EPOCH * found[s] for s in ("stock", "ours")})
    for side in ("stock", "ours"):
        times = SEEN.pop(f"{side}_time", [])[1:]  # the first warms up
        busy = [x for at, x in seen if any(a <= at <= b for a, b in times)]
        found[f"{side}_utilisation"] = statistics.fmean(busy) if busy else None
        found[f"{side}_peak_mb"] = max(SEEN.pop(f"{side}_peak_mb", [0.0]))
    yield from {**found, **SEEN}.items()


def _utilisation(seen: list[tuple[float, float]]) -> None:
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    if not shutil.which("nvidia-smi"):
        return
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
    add("--minutes", type=float, default=9.0, help="for all works together")
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
        found: dict[str, Any] = {}
        try:
            for key, value in run(args.work, args.size, args.device):
                found[key] = value
                args.json.write_text(json.dumps(found))
        except NotRun as e:
            args.json.write_text(json.dumps({"not run": str(e)}))
        return
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    if args.device == "cpu":
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(f"torch {torch.__version__}, {gpu}, device {args.device}, size {args.size}")
    figures: dict[str, Any] = {"gpu": gpu, "torch": torch.__version__}
    words = [sys.executable, __file__, "--size", args.size, "--device", args.device]
    names = args.works or list(NAMES)
    for i, name in enumerate(names):
        left = end - time.monotonic()
        left *= NAMES[name] / sum(NAMES[later] for later in names[i:])
        with tempfile.TemporaryDirectory() as tmp:
            out = Path(tmp) / "out.json"
            call = [*words, "--work", name, "--json", str(out)]
            if args.device == "cuda" and gpu == "no GPU":
                found = {"not run": gpu}
            elif left < 3 * GRACE_S:
                found = {"not run": "no time is left"}
            else:
                found = _call(call, out, left)
        figures[name] = found
        shown = {k: f"{x:.4g}" if isinstance(x, float) else x for k, x in found.items()}
        print(f"{name:<17}", *(f"{k} {x}" for k, x in shown.items()), flush=True)
        if args.json:
            args.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\n{table({name: figures[name] for name in names})}")


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Markdown: seconds, MB and percent of stock and ours; or utterances a second."""
    rows = [["work", "stock, s", "ours, s", "ratio", "MB", "GPU, %", "else"]]
    rows.append(["---"] * len(rows[0]))
    pair = ("stock", "ours", "ratio")
    both = [
        [f"{side}_{what}" for side in pair[:2]] for what in ("peak_mb", "utilisation")
    ]
    known = {*pair, *both[0], *both[1], "cpu_ratio", "commit", "date"}
    for name, found in figures.items():
        cells = [_word(found.get(key)) for key in pair]
        cells += [", ".join(_word(found.get(key)) for key in keys) for keys in both]
        more = [f"{key}: {_word(found[key])}" for key in found if key not in known]
        rows.append([name, *cells, "; ".join(more)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value or "-")


def _call(call: list[str], out: Path, seconds: float) -> dict[str, Any]:
    """Run a work for so many seconds at most; all that it has started ends with it."""
    log = out.with_suffix(".log")
    with log.open("w") as f:
        work = subprocess.Popen(call, stdout=f, stderr=f, start_new_session=True)
    failed = f"not ready after {seconds:.0f} s"
    try:
        if work.wait(seconds - 2 * GRACE_S):
            lines = log.read_text(errors="replace").strip().splitlines()
            failed = (lines or ["?"])[-1][:200]
    except subprocess.TimeoutExpired:
        work.terminate()  # it ends MPS
        with contextlib.suppress(subprocess.TimeoutExpired):
            work.wait(GRACE_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(work.pid, signal.SIGKILL)
        work.wait()
    found = dict(json.loads(out.read_text())) if out.is_file() else {}
    return found if work.returncode == 0 else {**found, "failed": failed}


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.modules["gpu"] = sys.modules["__main__"]  # the works take SEEN from here
    main()
