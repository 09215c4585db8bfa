"""score.json of a decoder that does not count by itself."""

from __future__ import annotations

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.report.scores import read_score
from espnet_topdown.scoring.set import score_set


@pytest.fixture
def folders(tmp_path):
    """References and a decoded set with one wrong word of three."""
    ref, hyp = tmp_path / "text", tmp_path / "decode_beam" / "test"
    hyp.mkdir(parents=True)
    ref.write_text("a one two\nb three\n")
    (hyp / "text").write_text("a one too\nb three\n")
    return ref, hyp


def test_the_report_reads_what_is_written(folders):
    ref, hyp = folders
    score_set(ref, hyp, "beam", "exp/2epoch.pth")
    score = read_score(hyp / "score.json")
    assert (score.set, score.decoder, score.utts) == ("test", "beam", 2)
    assert (score.counts["wer"].errors, score.counts["wer"].ref) == (1, 3)
    assert (score.counts["cer"].errors, score.counts["cer"].ref) == (1, 12)
    assert score.err_utts == {"cer": 1, "wer": 1}


def test_a_lost_utterance_is_an_error(folders):
    ref, hyp = folders
    (hyp / "text").write_text("a one two\n")
    with pytest.raises(TopDownError, match="E_UTT_SETS"):
        score_set(ref, hyp, "beam", "exp/2epoch.pth")
    assert not (hyp / "score.json").exists()
