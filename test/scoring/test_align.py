from __future__ import annotations

import random
import tracemalloc

import pytest

from espnet_topdown.scoring._align import count, paths

# Counts printed by sclite 2.10. Each of the five other orders of preference among
# equally good alignments gives other counts in one of these.
GOLDEN = [
    ("abccbbbcbb", "aacaacbc", (4, 4, 2, 0)),
    ("ababcbbacccb", "babacababac", (7, 3, 2, 1)),
    ("bcabbbbaca", "aabcaba", (4, 3, 3, 0)),
    ("abcccbbbac", "ccaaaabcbbbb", (5, 4, 1, 3)),
    ("cbbabababc", "cabccaabccb", (6, 3, 1, 2)),
    ("cbbcaaabca", "bbbbbcbbbac", (4, 6, 0, 1)),
    ("", "", (0, 0, 0, 0)),
    ("", "ab", (0, 0, 0, 2)),
    ("ab", "", (0, 0, 2, 0)),
    ("ab", "ab", (2, 0, 0, 0)),
    ("abc", "ABx", (2, 1, 0, 0)),
    ("Áb", "áB", (1, 1, 0, 0)),  # A-Z are folded and nothing else
]


@pytest.mark.parametrize("ref, hyp, want", GOLDEN)
def test_counts_are_those_of_sclite(ref: str, hyp: str, want: tuple) -> None:
    got = count(next(paths([(ref, hyp)])))
    assert (got.corr, got.sub, got.dele, got.ins) == want
    assert got.ref == len(ref) == got.corr + got.sub + got.dele
    assert len(hyp) == got.corr + got.sub + got.ins


def full_table(ref: list, hyp: list) -> str:
    """The same choices from a whole table of costs, cell by cell."""
    ref, hyp = ([token.lower() for token in side] for side in (ref, hyp))
    n, m = len(ref), len(hyp)
    cost = [[3 * (i + j) for j in range(m + 1)] for i in range(n + 1)]
    for i, a in enumerate(ref, 1):
        for j, b in enumerate(hyp, 1):
            diagonal = cost[i - 1][j - 1] + 4 * (a != b)
            cost[i][j] = min(diagonal, cost[i - 1][j] + 3, cost[i][j - 1] + 3)
    steps, i, j = [], n, m
    while i or j:
        wrong = i and j and ref[i - 1] != hyp[j - 1]
        if i and j and cost[i][j] == cost[i - 1][j - 1] + 4 * wrong:
            steps.append("S" if wrong else "C")
            i, j = i - 1, j - 1
        elif j and cost[i][j] == cost[i][j - 1] + 3:
            steps.append("I")
            j -= 1
        else:
            steps.append("D")
            i -= 1
    return "".join(reversed(steps))


def changed(rng: random.Random, text: list, rate: float, letters: str) -> list:
    """Some tokens replaced, left out, or said twice; a whole part moved at times."""
    made = [rng.choice(["", rng.choice(letters), c + c]) for c in text]
    made = [m if rng.random() < rate else c for c, m in zip(text, made)]
    cut = rng.randrange(len(made) + 1) if rng.random() < 0.3 else 0
    return list("".join([*made[cut:], *made[:cut]]))


@pytest.mark.parametrize("cells", [1 << 22, 2000, 1], ids=["all kept", "few", "least"])
def test_the_path_is_that_of_the_full_table(corpus, monkeypatch, cells: int) -> None:
    """Also where several cost the same, with any band, however much of it is kept."""
    monkeypatch.setattr("espnet_topdown.scoring._align._CELLS", cells)
    rng, like = random.Random(cells), corpus(500, seed=cells, longest=20)
    pairs = [(like.ref[utt], like.hyp[utt]) for utt in like.ref]
    for n in range(1200):
        letters = "abcdefgh"[: rng.choice([2, 3, 8])]
        pairs.append(tuple(rng.choices(letters, k=rng.randrange(16)) for _ in "rh"))
        if n % 8 == 0:
            ref = rng.choices(letters, k=rng.randrange(20, 90))
            rate = rng.choice([0.02, 0.2, 0.6])
            pairs.append((ref, changed(rng, ref, rate, letters)))
    assert list(paths(pairs)) == [full_table(*pair) for pair in pairs]


def test_an_hour_as_one_utterance_fits_into_memory() -> None:
    """Rows, not the product of the lengths; 6,000 letters took 1.2 GB once."""
    rng = random.Random(1)
    ref = rng.choices("abcdefgh", k=6_000)
    hyp = ["x", *ref[3:], "a", "b"]
    tracemalloc.start()
    (got,) = paths([(ref, hyp)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got.count("C") == 5_997 and peak < 60e6
