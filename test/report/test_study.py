"""Differences with intervals, alone and over seeds; what may not be compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_up_search import write_decode

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json, read_yaml, write_json, write_yaml
from espnet_topdown.report._study import (
    REASONS,
    UNITS,
    Difference,
    differences,
    read_study,
    utterance_counts,
)
from espnet_topdown.scoring._align import count, paths
from espnet_topdown.scoring._sclite import read_trn
from espnet_topdown.scoring.bootstrap import paired_bootstrap, seeds_interval
from espnet_topdown.scoring.counts import Counts, total, write_counts

TEST = ("ctc_greedy", "test")
PLACE = "decode_ctc_greedy/test"


def of(folders: list[Path], ours: str, other: str, unit: str = "cer") -> Difference:
    return next(
        d
        for d in differences(read_study(folders))
        if (d.ours.name, d.other.name, d.unit.name) == (ours, other, unit)
    )


def names(folders: list[Path]) -> list[str]:
    every = differences(read_study(folders))
    return [f"{d.ours.name} {d.other.name}" for d in every if d.unit.name == "cer"]


def test_a_search_is_compared_with_the_interval_of_the_scorer(search: Path):
    controls = ["control.joint", "control.warm"]
    assert names([search]) == [f"m1.1.3 {name}" for name in ("m5", *controls)]
    counts = []
    for name in ("m1.1.3", "m5"):
        folder = search / name / PLACE / "score_cer"
        ref, hyp = read_trn(folder / "ref.trn"), read_trn(folder / "hyp.trn")
        ops = paths((ref[u], hyp[u]) for u in ref)
        counts.append(dict(zip(ref, map(count, ops))))
    d = of([search], "m1.1.3", "m5")
    assert (d.low, d.high) == paired_bootstrap(*counts)
    assert d.low < d.value < d.high < 0 and d.clear and d.n == 60
    result = read_json(search / "result.json")
    write_json(search / "result.json", {**result, "best": "m5"})
    others = ("m1.4", "m1.1.3", "m1.1.1.2", *controls)
    assert names([search]) == [f"m5 {name}" for name in others]
    (search / "result.json").unlink()
    assert names([search]) == []


def test_seeds_are_compared_over_seeds_and_utterances(three: list[Path]):
    retrained = ["m1.4", "m1.1.3", "m1.1.1.2", "control.joint", "control.warm"]
    pairs = [f"{name} m5" for name in ("best", *retrained)]
    pairs += [f"{name} {c}" for name in ("best", "m1.4") for c in retrained[3:]]
    assert names(three[::-1]) == pairs  # any order
    study = read_study(three)
    assert {s: c.name for s, c in study.best.members.items()} == {
        1: "m1.1.3",
        2: "m1.1.3",
        3: "m5",
    }
    d = of(three, "m1.1.3", "m5")
    scores = [g.scores(TEST, UNITS["cer"]).values() for g in (d.ours, d.other)]
    sides = [[utterance_counts(s, "cer") for s in of_seeds] for of_seeds in scores]
    assert (d.value, d.low, d.high) == pytest.approx(seeds_interval(*sides))
    pooled = [{u: total(c[u] for c in by) for u in by[0]} for by in sides]
    low, high = paired_bootstrap(*pooled)  # holds the seeds fixed
    assert d.low < low < d.value < high < d.high
    assert (d.better, of(three, "best", "m5").better) == (3, 2)
    shutil.rmtree(three[1] / "m1.1.3/decode_ctc_greedy")
    assert of(three, "m1.1.3", "m5").seeds == (1, 3), "left out on both sides"
    (three[2] / "m5/score.json").unlink()  # it was not scored yet
    assert list(read_study(three).joint.members) == [1, 2]


def without_files(folder: Path) -> None:
    shutil.rmtree(folder / "score_cer")


def one_utterance(folder: Path) -> None:
    (folder / "score_cer/ref.trn").write_text("one (a-a)\n")


def other_words(folder: Path) -> None:
    path = folder / "score_cer/ref.trn"
    path.write_text(path.read_text().replace("o", "q", 1))


def fewer_utterances(folder: Path) -> None:
    """Their sums would be of different sets."""
    shutil.rmtree(folder)
    write_decode(folder, "test", 59, 120, True)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    "spoil, why",
    [
        (without_files, "E_MISSING"),
        (one_utterance, "E_UTT_SETS"),
        (other_words, "E_SCORE_DIFFERS"),
        (fewer_utterances, "E_UTT_SETS"),
    ],
)
def test_an_interval_is_never_of_other_hypotheses(three, several, spoil, why):
    spoil(three[0] / "m5" / PLACE)
    d = of(three if several else three[:1], "m1.1.3", "m5")
    assert (d.low, d.high, d.why, d.clear) == (None, None, why, None)
    assert len(REASONS[why]) > 20 and d.value != 0


def test_parts_that_hubscr_scored(search: Path):
    """Their counts are of single segments, and lie in counts.tsv as all others."""
    for name, wrong in (("m1.1.3", (0, 0, 1)), ("m5", (2, 1, 1))):
        part = search / name / PLACE
        shutil.rmtree(part / "score_wer")
        score = read_json(part / "score.json")
        score["wer"] = {"ref": 30, "corr": 30 - sum(wrong), "sub": sum(wrong)}
        score["wer"].update({"del": 0, "ins": 0, "err_utts": 3})
        write_json(part / "score.json", score)
        segments = {f"en_1_a-{i}": Counts(10, 10 - n, n) for i, n in enumerate(wrong)}
        write_counts(part / "score_wer", segments)
    d = of([search], "m1.1.3", "m5", "wer")
    assert d.low is not None and d.low <= d.value <= d.high <= 0


def same_seed(folders: list[Path]) -> None:
    write_yaml(folders[1].parent / "asr_base/config.yaml", {"seed": 1})


def no_seed(folders: list[Path]) -> None:
    (folders[1].parent / "asr_base/config.yaml").unlink()
    path = folders[1] / "m5/retrain.yaml"
    write_yaml(path, {k: v for k, v in read_yaml(path).items() if k != "seed"})


def other(name: str, value: object):
    def change(folders: list[Path]) -> None:
        path = folders[0 if value == "ppl" else 1] / "search.yaml"
        write_yaml(path, {**read_yaml(path), name: value})

    return change


def other_valid(folders: list[Path]) -> None:
    path = folders[1] / "m5/score.json"
    score = read_json(path)
    score["cer"]["ref"] += 1
    write_json(path, score)


def unscored(folders: list[Path]) -> None:
    for folder in folders:
        (folder / "m5/score.json").unlink()


@pytest.mark.parametrize(
    "change, status, message",
    [
        (same_seed, 65, "have the same seed, 1.*Do: give finished searches"),
        (no_seed, 66, "the seed of its joint training"),
        (other("criterion", "wer"), 65, "differ in their criterion: cer and wer"),
        (other("decoder", "beam"), 65, "in their decoder: ctc_greedy and beam"),
        (other("layers", ["a", "b"]), 65, "differ in their layers"),
        (other_valid, 65, "differ in their validation set"),
        (other("criterion", "ppl"), 65, "language models.*--row table4"),
        (unscored, 66, "no joint model was scored"),
    ],
)
def test_searches_that_are_no_seeds(three: list[Path], change, status, message):
    change(three)
    with pytest.raises(TopDownError, match=f"E_SEEDS: .*{message}") as e:
        read_study(three)
    assert e.value.status == status
