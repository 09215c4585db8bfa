"""Write data/{train,dev,test} of a made-up language of tones, one tone a letter."""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np

RATE = 8000
WORDS = ["ab", "ba", "cab", "abc", "bac", "ca"]
SIZES = {"train": 8, "dev": 3, "test": 3}


def sound(text: str, rng: np.random.Generator) -> np.ndarray:
    """0.12 s of a tone for every letter, a pause for a space, and some noise."""
    t = np.arange(int(0.12 * RATE)) / RATE
    tones = [
        0.3 * np.sin(2 * np.pi * 200 * (ord(c) - 95) * t) * (c != " ") for c in text
    ]
    clean = np.concatenate(tones)
    return clean + 0.01 * rng.standard_normal(len(clean))


def write_wav(path: Path, samples: np.ndarray) -> None:
    """16-bit mono."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as f:
        f.setparams((1, 2, RATE, 0, "NONE", ""))
        f.writeframes((samples * 32767).astype("<i2").tobytes())


def write_corpus(data: Path) -> None:
    """Write all sets below ``data``."""
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        lists = {"wav.scp": "", "text": "", "utt2spk": ""}
        utts = [f"spk-{name}{n:02d}" for n in range(size)]
        for utt in utts:
            text = " ".join(rng.choice(WORDS, 4))
            path = data / "wav" / f"{utt}.wav"
            samples = sound(text, rng)
            if not path.exists():
                write_wav(path, samples)
            lists["wav.scp"] += f"{utt} {path}\n"
            lists["text"] += f"{utt} {text}\n"
            lists["utt2spk"] += f"{utt} spk\n"
        lists["spk2utt"] = f"spk {' '.join(utts)}\n"
        (data / name).mkdir(parents=True, exist_ok=True)
        for file, lines in lists.items():
            (data / name / file).write_text(lines)


if __name__ == "__main__":
    write_corpus(Path(sys.argv[1]))
