"""Best minus the others, with intervals."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_search import write_search

from espnet_topdown.report.gains import gains
from espnet_topdown.report.rows import read_search
from espnet_topdown.score.align import align
from espnet_topdown.score.significance import paired_bootstrap
from espnet_topdown.score.trn import read_trn


def test_every_comparison_with_the_interval_of_the_scorer(search: Path):
    found = gains(read_search(search))
    assert [(g.other, g.unit) for g in found] == [
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
    assert found[0].clear


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
    first = gains(read_search(search))[0]
    assert (first.low, first.high, first.why) == (None, None, why)
    assert not first.clear
    assert first.difference < 0


def test_nothing_to_compare(tmp_path: Path):
    undecoded = write_search(tmp_path / "a" / "s", tests=False)
    assert gains(read_search(undecoded)) == ()
    unfinished = write_search(tmp_path / "b" / "s", finished=False)
    assert gains(read_search(unfinished)) == ()
