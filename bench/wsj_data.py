"""python bench/wsj_data.py

How fast one core makes data directories from WSJ's discs: finding files, decoding
shorten, FLAC, normalisation. Made-up discs with utterances of 7 seconds that compress
as speech does; memory at a quarter of the size shows whether it grows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "test" / "fixtures")]

import shorten  # noqa: E402
import wsj_tree  # noqa: E402

STEPS = ("lists", "convert", "sets")
CHILD = """
import sys
sys.path.insert(0, 'egs2/wsj_topdown/asr1/local')
from prepare_wsj import main
main(sys.argv[1:])
status = open("/proc/self/status").read().split()
print(status[status.index("VmHWM:") + 1])
"""
DIFFERENT = 30  # recordings; the others are copies of these


@dataclass
class Used:
    """What a process used: seconds of the core, seconds, peak memory in MB."""

    core: float
    wall: float
    memory: float


def discs(folder: Path, utterances: int) -> tuple[list[str], float, float]:
    """Made-up discs; also their seconds of audio, and how far it is compressed."""
    d = wsj_tree.describe(utterances - 20, 10, 10, words=24)
    rng = np.random.default_rng(0)
    pool = []
    for i, u in enumerate(d.utterances()[:DIFFERENT]):
        samples = wsj_tree.speak(u.spoken)
        samples = samples + np.rint(rng.normal(0, 100, len(samples))).astype(np.int16)
        label = wsj_tree.LABELS[i % 2]  # what the real discs have
        data = shorten.sphere(samples, f"pcm,embedded-shorten-{label}")
        pool.append((data, len(samples)))
    taken = {u.utt: pool[i % len(pool)] for i, u in enumerate(d.utterances())}
    d.audio = {utt: data for utt, (data, _) in taken.items()}
    used = [u.utt for name, part in d.parts.items() if name for u in part]
    used = [utt for utt in used if not utt.startswith("401")]
    seconds = sum(taken[utt][1] for utt in used) / wsj_tree.RATE
    packed = sum(len(data) - 1024 for data, _ in pool) / sum(2 * n for _, n in pool)
    roots = wsj_tree.write_tree(folder, "dash", d)
    return [str(r) for r in roots], seconds, packed


def run(step: str, roots: list[str], out: Path) -> Used:
    """One step in a process of its own, with one thread."""
    words = ["--step", step, "--output_dir", str(out)]
    if step == "lists":
        words += ["--wsj0", roots[0], "--wsj1", roots[1], "--allow_partial", "true"]
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(done.stderr)
    wall, after = time.perf_counter() - start, os.times()
    core = after.children_user - before.children_user
    core += after.children_system - before.children_system
    return Used(core, wall, int(done.stdout.split()[-1]) / 1024)


def measure(utterances: int) -> None:
    """Print one table."""
    with tempfile.TemporaryDirectory() as folder:
        roots, seconds, packed = discs(Path(folder, "ldc"), utterances)
        out = Path(folder, "data")
        out.mkdir()
        used = {step: run(step, roots, out) for step in STEPS}
        n = len((out / "local" / "wsj" / "wav.scp").read_text().splitlines())
    print(f"{n} utterances, {seconds:.0f} s, shorten at {100 * packed:.0f} %")
    for step, u in used.items():
        took = f"{u.core:7.2f} s of a core, {u.wall:7.2f} s"
        print(f"  {step:8} {took}, {u.memory:.0f} MB")
    core = sum(u.core for u in used.values())
    print(f"  together {n / core:.0f} utterances/s, {seconds / core:.0f}x real time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=2000)
    args = parser.parse_args()
    for n in (args.utterances // 4, args.utterances):
        measure(n)


if __name__ == "__main__":
    main()
