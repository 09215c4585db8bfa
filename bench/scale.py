"""python bench/scale.py DIR --utterances 1000000; .. DIR --candidates 200

Writes lists of so many made-up utterances, unsorted, all of the same second of noise,
with ``hyp`` beside ``text``; then ``/usr/bin/time -v espnet-topdown score --ref
DIR/text --hyp DIR/hyp``, ``filter_data DIR OUT --fs 8k`` and so on. With
``--candidates`` it writes a finished search of so many, for ``status`` and ``report``.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import itertools
import random
import sys
import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path

from harness import Pair

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


def write_search(folder: Path, candidates: int) -> None:
    """The compositions of as many layers as are needed, with made-up numbers."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "test" / "fixtures"))
    import made_up_search as made

    n = 5 + max(0, candidates.bit_length() - 4)
    made.LAYERS[:] = ["softmax", *(f"blstm{i}" for i in reversed(range(n - 1)))]
    names = [f"m{n}"]
    for number in range(1, candidates + 1):
        cuts = [i + 1 for i in range(n - 1) if number >> i & 1]
        parts = [b - a for a, b in zip([0, *cuts], [*cuts, n])]
        names.append("m" + ".".join(map(str, parts)))
        made.MODELS[names[-1]] = (cuts[-1], 100 + number % 50)
    made.MODELS[names[0]] = (0, 131)
    made.write_search(folder / "search", tuple(names), failed=False, finished=False)
    made.write_result(folder / "search", names[1])


def pairs(verb: str, size: int) -> Iterator[Pair]:
    """A verb beside Python's compiler, which no change of ours makes faster."""
    from espnet_topdown.__main__ import main

    tmp = tempfile.TemporaryDirectory()
    folder = Path(tmp.name, "data")
    source = inspect.getsource(argparse)
    if verb in ("report", "status"):
        write_search(folder, size)
    else:
        write(folder, size)

    def ours() -> None:
        words = {
            "filter_data": [folder, f"{tmp.name}/out", "--fs", "8k"],
            "validate_data": ["--train", folder, "--fs", "8k"],
        }
        with contextlib.redirect_stdout(io.StringIO()):
            main([verb, *map(str, words.get(verb, [folder / "search"]))])

    yield Pair(lambda: [compile(source, "", "exec") for _ in range(20)], ours)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--utterances", type=int, default=1_000_000)
    parser.add_argument("--candidates", type=int)
    args = parser.parse_args()
    if args.candidates:
        write_search(args.folder, args.candidates)
    else:
        write(args.folder, args.utterances)
