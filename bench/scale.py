"""python bench/scale.py DIR --utterances 1000000

Writes lists of so many made-up utterances, unsorted, all of the same second of noise,
with ``hyp`` beside ``text``; then ``/usr/bin/time -v espnet-topdown score --ref
DIR/text --hyp DIR/hyp``, ``filter_data DIR OUT --fs 8k`` and so on.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import wave
from pathlib import Path

LISTS = ("wav.scp", "text", "hyp", "utt2spk", "utt2num_samples")


def write(folder: Path, utterances: int, wrong: float = 0.1) -> None:
    """A word is changed, left out or followed by another with probability ``wrong``."""
    folder.mkdir(parents=True)
    rng = random.Random(0)
    with wave.open(str(folder / "one.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 8000, "NONE", ""))
        sound.writeframes(rng.randbytes(16000))
    letters = "ETAOINSHRDLU"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 8))) for _ in range(5000)]
    often = list(itertools.accumulate(1 / (i + 1) for i in range(5000)))
    with contextlib.ExitStack() as stack:
        lists = [stack.enter_context((folder / n).open("w")) for n in LISTS]
        for i in rng.sample(range(utterances), utterances):
            said, spoken = rng.choices(words, cum_weights=often, k=9), []
            for word in said:
                dice, at = rng.random() / wrong, rng.randrange(len(word))
                if dice < 0.6:
                    change = rng.choice(["", "E", "TA"])
                    spoken.append(word[:at] + change + word[at + 1 :])
                elif not dice < 0.8:
                    spoken += [word, rng.choice(words)] if dice < 1 else [word]
            speaker = f"s{i // 1000:04d}"
            values = (f"{folder}/one.wav", " ".join(said), " ".join(spoken))
            for file, value in zip(lists, (*values, speaker, "8000")):
                file.write(f"{speaker}-u{i:07d} {value}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--utterances", type=int, default=1_000_000)
    args = parser.parse_args()
    write(args.folder, args.utterances)
