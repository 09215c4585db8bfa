from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def sclite():
    """Run sclite as asr.sh does: (ref.trn, hyp.trn) -> what it prints."""
    # of NIST's scoring toolkit, where Debian, Kaldi and ESPnet put it
    roots = [os.environ.get(k) for k in ("KALDI_ROOT", "MAIN_ROOT")]
    folders = [f"{root}/tools/sctk/bin" for root in roots if root]
    path = os.pathsep.join([os.environ["PATH"], "/usr/lib/sctk/bin", *folders])
    tool = shutil.which("sclite", path=path)
    if tool is None:
        pytest.skip("sclite is not installed (Debian: sctk)")

    def run(ref: Path, hyp: Path) -> str:
        files = ["-r", str(ref), "trn", "-h", str(hyp), "trn", "-i", "rm"]
        line = [tool, *files, "-o", "all", "stdout"]
        return subprocess.run(line, capture_output=True, text=True).stdout

    return run


@pytest.fixture(scope="session")
def mini_an4(shared) -> Path:
    """A genuine ESPnet recipe folder."""
    return shared / "espnet_mini_an4"


class Corpus:
    """Random references and hypotheses with 5 to 120 % of errors, some empty."""

    def __init__(self, n_utts: int, seed: int, longest: int = 40) -> None:
        rng = random.Random(seed)
        self.ref: dict[str, list[str]] = {}
        self.hyp: dict[str, list[str]] = {}
        self.speaker: dict[str, str] = {}
        for i in range(n_utts):
            utt = f"u{i:05d}"
            ref = rng.choices("ABCDEFGHij", k=rng.randrange(longest))
            self.ref[utt] = ref
            self.hyp[utt] = corrupted(ref, rng.choice([0.05, 0.2, 0.5, 0.8, 1.2]), rng)
            self.speaker[utt] = f"s{i * 5 // n_utts}"


def corrupted(ref: list[str], rate: float, rng: random.Random) -> list[str]:
    hyp = []
    for token in ref:
        x = rng.random() * 3
        if x < rate:  # deleted
            continue
        hyp.append(rng.choice("abcdefghIJ") if x < 2 * rate else token)
        if x > 3 - rate:  # something inserted
            hyp.append(rng.choice("abcdefghIJ"))
    return hyp


@pytest.fixture(scope="session")
def corpus():
    return Corpus


@pytest.fixture(scope="session")
def scores():
    """Counts in a report by speaker-utterance: (correct, sub, del, ins)."""

    def read(text: str) -> dict[str, tuple[int, ...]]:
        found = re.findall(r"id: \((.*)\)\nScores: \(#C #S #D #I\) (.*)", text)
        return {name: tuple(map(int, counts.split())) for name, counts in found}

    return read
