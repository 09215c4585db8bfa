"""python bench/score.py

How long CER and WER of a set of the size of WSJ eval92 take (333 utterances, 33,341
characters), beside sclite where it is installed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from espnet_topdown.scoring.counts import total  # noqa: E402
from espnet_topdown.scoring.score import count_set, write_scores  # noqa: E402
from espnet_topdown.scoring.units import UNITS  # noqa: E402

UTTS, CHARACTERS = 333, 33_341 + 332  # and a blank between utterances


def corpus(error: float, seed: int = 0) -> tuple[dict[str, str], dict[str, str]]:
    """References of the right size, and hypotheses with that part of letters wrong."""
    rng = random.Random(seed)
    letters = rng.choices("ETAOINSHRDLU", k=CHARACTERS)
    letters[5::6] = " " * len(letters[5::6])
    cuts = [6 * round(i * CHARACTERS / UTTS / 6) for i in range(UTTS)] + [
        CHARACTERS + 1
    ]
    lines = ["".join(letters[a : b - 1]) for a, b in zip(cuts, cuts[1:])]
    ref = {f"u{i:03d}": line for i, line in enumerate(lines)}
    hyp = {
        utt: "".join("" if rng.random() < error else c for c in text)
        for utt, text in ref.items()
    }
    return ref, hyp


def sclite_seconds(ref: dict[str, str], hyp: dict[str, str]) -> float | None:
    """The time that sclite takes for the same two scores."""
    tool = shutil.which("sclite") or shutil.which("sclite", path="/usr/lib/sctk/bin")
    if tool is None:
        return None
    spent = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for cut in UNITS.values():
            write_scores(Path(folder), ref, hyp, cut, {})
            trns = ["-r", f"{folder}/ref.trn", "trn", "-h", f"{folder}/hyp.trn", "trn"]
            start = time.perf_counter()
            subprocess.run(
                [tool, *trns, "-i", "rm", "-o", "all", "stdout"],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            spent += time.perf_counter() - start
    return spent


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--error", type=float, default=0.1)
    args = parser.parse_args()
    ref, hyp = corpus(args.error)
    start = time.perf_counter()
    counts = {u: total(count_set(ref, hyp, cut).values()) for u, cut in UNITS.items()}
    ours = time.perf_counter() - start
    for unit, c in counts.items():
        print(f"{unit} {c.percent:.1f} %: {c}")
    theirs = sclite_seconds(ref, hyp)
    print(f"ours {ours:.2f} s, sclite {f'{theirs:.2f} s' if theirs else 'not found'}")


if __name__ == "__main__":
    main()
