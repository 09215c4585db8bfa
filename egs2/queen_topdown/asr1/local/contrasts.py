"""python3 local/contrasts.py: the contrasts of docs/results/queen.md.

Each is one model minus another in test CER, of each base seed that has both (the
interval is over utterances, this seed only) and the mean over seeds with its 95 %
interval over seeds and utterances. Those that are tested have p of the same t
distribution, and p after Holm's correction over all of them. It reads the errors by
utterance in docs/results/queen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import stdtr, stdtrit

from espnet_topdown.errors import command
from espnet_topdown.scoring.bootstrap import paired_bootstrap, seeds_interval
from espnet_topdown.scoring.counts import Counts, read_counts, total

RESULTS = Path(__file__).resolve().parents[4] / "docs/results/queen"
RETURNED = "the model that the search returns"
# ours and the other: what follows the search folder's name
TESTED = {
    "M_{1,4} minus joint": ("/m1.4", "/m5"),
    "M_{1,4} minus restart": ("/m1.4", "/control.restart"),
    "M_{2,3} minus M_{1,4}": ("_two/m2.3", "/m1.4"),
    "random softmax minus M_{1,4}": ("/control.random", "/m1.4"),
    "Algorithm 1 minus M_{1,4}": (RETURNED, "/m1.4"),
    "shrink minus its warm": ("_shrink/m1.4", "_shrink/control.warm"),
}
DESCRIBED = {
    "M_{1,1,3} minus M_{1,4}": ("/m1.1.3", "/m1.4"),
    "shrink minus M_{1,4}": ("_shrink/m1.4", "/m1.4"),
    "shrink minus long, not planned": ("_shrink/m1.4", "/control.long"),
    "shrink's warm minus long, not planned": ("_shrink/control.warm", "/control.long"),
}


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, k in enumerate(np.argsort(ps)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[k]))
        adjusted[k] = largest
    return adjusted


def read_arm(results: Path, arm: str) -> dict[int, dict[str, Counts]]:
    """The counts of a model's characters on test, by the base seeds that have it."""
    seeds = {}
    block = "block2" if arm == RETURNED else "block?"  # block 1 searched one level
    for search in sorted(results.glob(f"{block}_*/asr_queen_seed*_topdown")):
        name = arm
        if arm == RETURNED:
            name = "/" + json.loads((search / "result.json").read_text())["best"]
        scored = Path(f"{search}{name}/decode_ctc_greedy/test/score_cer")
        if scored.exists():
            seeds[int("".join(filter(str.isdigit, search.name)))] = read_counts(scored)
    return seeds


def difference(a: Mapping[str, Counts], b: Mapping[str, Counts]) -> str:
    """One seed's difference; its interval over utterances holds this seed fixed."""
    rates = [total(side.values()).rate for side in (a, b)]
    low, high = paired_bootstrap(a, b)
    return f"{rates[0] - rates[1]:+.2f} ({low:+.2f} to {high:+.2f})"


@command
def main(cmd: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(cmd)
    rows, ps = [], []
    for name, pair in (TESTED | DESCRIBED).items():
        sides = [read_arm(args.results, arm) for arm in pair]
        both = sorted(sides[0].keys() & sides[1].keys())
        a, b = ([side[seed] for seed in both] for side in sides)
        each = ", ".join(difference(x, y) for x, y in zip(a, b))
        mean, low, high = seeds_interval(a, b)
        error = (high - low) / 2 / stdtrit(len(a) - 1, 0.975)
        ps.append(float(2 * stdtr(len(a) - 1, -abs(mean) / error)) if error else 1.0)
        mean_and_ends = f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"
        rows.append(f"| {name} | {len(a)} | {each} | {mean_and_ends} |")
    print("| contrast, test CER | seeds | each seed | mean | p | Holm |")
    print("|---|---:|---:|---:|---:|---:|")
    for row, p, adjusted in zip(rows, ps, holm(ps[: len(TESTED)])):
        print(f"{row} {p:.4f} | {adjusted:.4f} |")
    print("\n| described, test CER | seeds | each seed | mean |")
    print("|---|---:|---:|---:|")
    print(*rows[len(TESTED) :], sep="\n")


if __name__ == "__main__":
    main()
