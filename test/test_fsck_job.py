"""What is checked in one node, each check on its own: a digest often finds it first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from made_up_search import write_decode

from espnet_topdown.cli import fsck_job
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import write_json, write_yaml
from espnet_topdown.jobs import run
from espnet_topdown.models.weights import save_weights
from espnet_topdown.records import write_seal
from espnet_topdown.scoring.counts import summary, write_counts
from espnet_topdown.scoring.score import write_scores

RIGHT = {"ref": 9, "corr": 7, "sub": 1, "del": 1, "ins": 2}


@pytest.mark.parametrize(
    "change",
    [{"corr": 8}, {"sub": 1.0}, {"ins": -1}, {"del": True}, {"ref": 8}, {"ins": "2"}],
)
def test_counts_that_cannot_be(change):
    fsck_job.check_counts(RIGHT, Path("x"))
    fsck_job.check_counts({"nll": 1.0}, Path("x"))  # a perplexity
    with pytest.raises(TopDownError, match="E_SCORE: x: .* does not add up"):
        fsck_job.check_counts({**RIGHT, **change}, Path("x"))


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A finished job of a search, scored with four errors."""
    folder = tmp_path / "m1.2"
    folder.mkdir()
    write_yaml(tmp_path / "search.yaml", {"criterion": "cer"})
    write_yaml(folder / "retrain.yaml", {"trainer": ""})
    write_json(folder / "score.json", {"cer": RIGHT, "utts": 3})
    write_seal(folder)
    return folder


@pytest.mark.parametrize(
    "score, event, message",
    [
        ({"cer": RIGHT}, {"errors": 4}, None),
        ({"cer": RIGHT}, None, None),
        ({"cer": RIGHT}, {"errors": 5}, "has 4 errors, the journal 5"),
        ({"cer": {**RIGHT, "corr": 6}}, {"errors": 4}, "does not add up"),
        ({"cer": RIGHT, "wer": {**RIGHT, "ref": 0}}, {"errors": 4}, "does not add up"),
        ({"cer": {"sum": 1}}, {"errors": 4}, None),  # a perplexity has no integers
    ],
)
def test_a_score_and_the_journal(node, score, event, message):
    write_json(node / "score.json", score)
    write_seal(node)
    if message is None:
        assert fsck_job.scored(node, event) == 1
        return
    with pytest.raises(TopDownError, match=f"E_SCORE: .*{message}"):
        fsck_job.scored(node, event)


@pytest.mark.parametrize("check", [fsck_job.scored, fsck_job.sealed])
def test_a_seal_that_is_another_one(node, check):
    with pytest.raises(TopDownError, match="E_DIGEST: .*not the one that was scored"):
        check(node, {"errors": 4, "done": "0" * 64})


@pytest.mark.parametrize("check", [fsck_job.scored, fsck_job.sealed])
def test_a_score_that_is_not_the_sealed_one(node, check):
    write_json(node / "score.json", {"cer": RIGHT})
    with pytest.raises(TopDownError, match="E_DIGEST: .*score.json has changed"):
        check(node, {"errors": 4})


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_link_to_nowhere(node):
    (node / "latest.pth").symlink_to("7epoch.pth")
    with pytest.raises(TopDownError, match="E_LINK: .*7epoch.pth is not there"):
        fsck_job.archives(node, None)


def test_a_damaged_archive(node):
    """Weights that no seal names, such as a checkpoint's predecessor."""
    save_weights({"a": torch.zeros(99)}, node / "1epoch.pth")
    assert fsck_job.archives(node, None) == 1
    data = bytearray((node / "1epoch.pth").read_bytes())
    data[len(data) // 2] ^= 1
    (node / "1epoch.pth").write_bytes(bytes(data))
    with pytest.raises(TopDownError, match="E_DIGEST: .*1epoch.pth.* stored checksum"):
        fsck_job.archives(node, None)


def test_decoded_sets(tmp_path):
    place = tmp_path / "test"
    assert not fsck_job.decoded(place)
    write_decode(place, "test", 5, 7, files=True)
    assert fsck_job.decoded(place)
    path = place / "score.json"
    counts = json.loads(path.read_text())["cer"]
    edit(path, cer={**counts, "sub": counts["sub"] + 1})
    with pytest.raises(TopDownError, match="E_SCORE: .* cer is .* gives"):
        fsck_job.decoded(place)
    edit(path, cer=counts, utts=4)
    with pytest.raises(TopDownError, match="E_UTT_SETS: .*utterances differ"):
        fsck_job.decoded(place)
    edit(path, utts=5, hyp_sha256="0" * 64)
    (place / "text").write_text("u1 hello\n")
    with pytest.raises(TopDownError, match="E_SCORE: .*text is not what"):
        fsck_job.decoded(place)


def test_a_decoded_set_with_speakers(tmp_path):
    """An id in a .trn file begins with the speaker, one in counts.tsv does not."""
    ref, hyp = {"u1": "a b", "u2": "a"}, {"u1": "a c", "u2": "a"}
    folder, spk = tmp_path / "score_wer", {"u1": "zoe", "u2": "anna"}
    counts = write_scores(folder, ref, hyp, str.split, spk)
    write_json(tmp_path / "score.json", {"utts": 2, "wer": summary(counts)})
    assert fsck_job.decoded(tmp_path)
    write_counts(folder, {"u1": counts["u2"], "u2": counts["u1"]})
    with pytest.raises(TopDownError, match="E_SCORE: .*counts.tsv is not what"):
        fsck_job.decoded(tmp_path)


def test_reference_and_hypotheses_of_other_utterances(tmp_path):
    place = tmp_path / "test"
    write_decode(place, "test", 5, 7, files=True)
    path = place / "score_cer" / "hyp.trn"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(TopDownError, match="E_UTT_SETS"):
        fsck_job.decoded(place)


@pytest.mark.parametrize("key", ["cer", "utts", "hyp_sha256"])
def test_decoding_again(node, monkeypatch, key):
    old = {"cer": RIGHT, "utts": 3, "hyp_sha256": "a"}
    write_json(node / "score.json", old)
    monkeypatch.setattr(run, "score", lambda folder, made: {**old, "seconds": 1})
    assert fsck_job.decode_again(node)
    monkeypatch.setattr(run, "score", lambda folder, made: {**old, key: 0})
    with pytest.raises(TopDownError, match=f"E_SCORE: .*again gives {key} 0, not"):
        fsck_job.decode_again(node)
    (node / ".done").unlink()
    assert not fsck_job.decode_again(node)
