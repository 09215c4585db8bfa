"""Best minus the others, with intervals."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_up_search import write_search

from espnet_topdown.files import read_json, write_json
from espnet_topdown.report.rows import REASONS, comparisons
from espnet_topdown.scoring.align import align
from espnet_topdown.scoring.bootstrap import paired_bootstrap
from espnet_topdown.scoring.counts import Counts, write_counts
from espnet_topdown.scoring.sclite import read_trn
from espnet_topdown.search.state import read_state


def test_every_comparison_with_the_interval_of_the_scorer(search: Path):
    found = comparisons(read_state(search))
    assert [(g.other, g.unit.name) for g in found] == [
        (other, unit)
        for other in ("m5", "control.joint", "control.warm")
        for unit in ("cer", "wer")
    ]
    counts = []
    for node in ("m1.1.3", "m5"):
        folder = search / node / "decode_ctc_greedy/test/score_cer"
        ref, hyp = read_trn(folder / "ref.trn"), read_trn(folder / "hyp.trn")
        counts.append({u: align(ref[u], hyp[u]) for u in ref})
    assert (found[0].low, found[0].high) == paired_bootstrap(*counts)
    assert found[0].low < found[0].difference < found[0].high < 0
    assert found[0].clear and found[0].n == 60


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda path: path.unlink(), "E_MISSING"),
        (lambda path: path.write_text("one (a-a)\n"), "E_UTT_SETS"),
        (
            lambda path: path.write_text(path.read_text().replace("o", "q", 1)),
            "E_SCORE_DIFFERS",
        ),
    ],
)
def test_an_interval_is_never_made_from_other_hypotheses(search: Path, spoil, why):
    spoil(search / "m5/decode_ctc_greedy/test/score_cer/ref.trn")
    first = comparisons(read_state(search))[0]
    assert (first.low, first.high, first.why) == (None, None, why)
    assert first.clear is None
    assert len(REASONS[why]) > 20
    assert first.difference < 0


def test_parts_that_hubscr_scored(search: Path):
    """Their counts are of single segments, and lie in counts.tsv as all others."""
    for node, wrong in (("m1.1.3", (0, 0, 1)), ("m5", (2, 1, 1))):
        part = search / node / "decode_ctc_greedy/test"
        shutil.rmtree(part / "score_wer")
        score = read_json(part / "score.json")
        score["wer"] = {"ref": 30, "corr": 30 - sum(wrong), "sub": sum(wrong)}
        score["wer"].update({"del": 0, "ins": 0, "err_utts": 3})
        write_json(part / "score.json", score)
        segments = {f"en_1_a-{i}": Counts(10, 10 - n, n) for i, n in enumerate(wrong)}
        write_counts(part / "score_wer", segments)
    first = next(g for g in comparisons(read_state(search)) if g.unit.name == "wer")
    assert first.low is not None and first.low <= first.difference <= first.high <= 0


def test_nothing_to_compare(tmp_path: Path):
    undecoded = write_search(tmp_path / "a" / "s", tests=False)
    assert comparisons(read_state(undecoded)) == ()
    unfinished = write_search(tmp_path / "b" / "s", finished=False)
    assert comparisons(read_state(unfinished)) == ()


def test_a_joint_model_that_stays_the_best_is_compared_too(search: Path):
    result = read_json(search / "result.json")
    write_json(search / "result.json", {**result, "best": "m5", "path": ["m5", "m1.4"]})
    found = comparisons(read_state(search))
    others = [g.other for g in found if g.unit.name == "cer"]
    assert others == ["m1.4", "m1.1.3", "m1.1.1.2", "control.joint", "control.warm"]
    assert all(g.low < g.difference < g.high for g in found)
    assert found[0].difference > 0
