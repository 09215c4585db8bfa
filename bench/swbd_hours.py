"""python bench/swbd_hours.py

An estimate, not a measurement: GPU hours of rows W and W.td on one H100. A step takes
the longer of two times: that of its arithmetic, and that of starting its kernels one
after another, which is what small batches wait for. Both rates are assumptions
(options). Replace the estimate by `seconds_per_epoch` of exp/*/progress.json.
"""

from __future__ import annotations

import argparse
import math

UTTS, HOURS = 190_000, 286.0  # of train_nodup; the first is a guess (hours / 5.4 s)
FRAMES, TOKENS = 25, 4.0  # a second: encoder states, subwords (3 words)
WIDTH, INNER, UNITS, BLOCKS, DECODER = 256, 2048, 2000, 12, 6
FOLD, BATCH = 5.12, 32


def operations(seconds: float) -> float:
    """Of forward and backward of an utterance."""
    states, tokens = FRAMES * seconds, TOKENS * seconds
    front = 2 * 39 * WIDTH * 9 + 19 * WIDTH * WIDTH * 9 + 19 * WIDTH * WIDTH
    block = 4 * WIDTH**2 + 2 * WIDTH * INNER
    macs = states * (front + BLOCKS * (block + 2 * states * WIDTH))
    macs += tokens * DECODER * (block + 2 * WIDTH**2 + 2 * (states + tokens) * WIDTH)
    macs += states * DECODER * 2 * WIDTH**2 + (states + tokens) * WIDTH * UNITS
    return 3 * 2 * macs


def steps_and_operations() -> tuple[float, float]:
    """Of an epoch; lengths are taken as exponential, up to 20 s."""
    mean = HOURS * 3600 / UTTS
    steps = total = 0.0
    grid = [i / 10 for i in range(1, 200)]
    weights = [math.exp(-s / mean) for s in grid]
    for seconds, weight in zip(grid, weights):
        utts = UTTS * weight / sum(weights)
        steps += utts / (BATCH // (1 + int(seconds / FOLD)))
        total += utts * operations(seconds)
    return steps, total


def main() -> None:
    """Print the estimate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--tflops", type=float, default=25.0, help="fp32 that matrix products reach")
    add("--kernels", type=int, default=4000, help="of a step, forward and backward")
    add("--us", type=float, default=12.0, help="microseconds to start one")
    add("--epochs", type=int, default=100)
    args = parser.parse_args()
    steps, total = steps_and_operations()
    arithmetic, starting = (
        total / args.tflops / 1e12,
        steps * args.kernels * args.us / 1e6,
    )
    epoch = 1.03 * max(arithmetic, starting)  # with validation
    print(f"{steps:.0f} steps and {total / 1e15:.1f} PFLOP an epoch")
    print(f"arithmetic {arithmetic:.0f} s, starting kernels {starting:.0f} s an epoch")
    hours = args.epochs * epoch / 3600
    print(f"ESTIMATE: {epoch:.0f} s an epoch, {hours:.0f} GPU hours for {args.epochs}")


if __name__ == "__main__":
    main()
