"""What was finished may not change without notice."""

from __future__ import annotations

import json

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.records import DONE, Journal, check_seal, read_seal, write_seal
from espnet_topdown.search.state import is_finished, sealed_score, write_result

BEST = "valid.loss.best.pth"


@pytest.fixture
def node(tmp_path):
    folder = tmp_path / "m1.2"
    folder.mkdir()
    for name in (
        "retrain.yaml",
        "score.json",
        "frozen.pth",
        "3epoch.pth",
        "4epoch.pth",
    ):
        (folder / name).write_text(json.dumps({"name": name}))
    (folder / BEST).symlink_to("4epoch.pth")
    write_seal(folder)
    return folder


def test_nothing_changed(node):
    assert check_seal(node) == []
    assert read_seal(node)["links"] == {BEST: "4epoch.pth"}


@pytest.mark.parametrize("name", ["retrain.yaml", "score.json", "4epoch.pth", DONE])
def test_a_changed_byte(node, name):
    data = bytearray((node / name).read_bytes())
    data[len(data) // 2] ^= 1
    (node / name).write_bytes(bytes(data))
    with pytest.raises(TopDownError, match="E_DIGEST") as e:
        check_seal(node)
    assert e.value.status == 65


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}'])
def test_a_seal_that_says_nothing(node, text):
    (node / DONE).write_text(text)
    with pytest.raises(TopDownError, match="E_DIGEST.*is damaged"):
        read_seal(node)


def test_a_model_that_is_not_the_best_may_go(node):
    (node / "3epoch.pth").unlink()
    assert check_seal(node) == ["3epoch.pth"]
    (node / "4epoch.pth").unlink()
    with pytest.raises(TopDownError, match="E_DIGEST.*4epoch.pth is gone"):
        check_seal(node)


@pytest.mark.parametrize("text", ["", "trained, verified, scored\n"])
def test_finished_by_a_version_without_digests(node, text):
    (node / DONE).write_text(text)
    assert read_seal(node) == {} and check_seal(node) == []


def test_a_score_that_was_recorded_and_sealed_again(node):
    _, done = sealed_score(node, {})
    assert sealed_score(node, {"done": done})[1] == done
    (node / "score.json").write_text("{}")
    write_seal(node)
    with pytest.raises(TopDownError, match="E_DIGEST.*not the one that was scored"):
        sealed_score(node, {"done": done})


def test_the_result_that_the_journal_speaks_of(tmp_path):
    assert not is_finished(tmp_path)
    result = {"best": "m3", "reason": "x", "nodes": {}}
    write_result(tmp_path, Journal(tmp_path / "journal.jsonl"), result)
    assert is_finished(tmp_path)
    path = tmp_path / "result.json"
    path.write_text(path.read_text().replace("m3", "m4"))
    with pytest.raises(TopDownError, match="E_DIGEST.*not what the search wrote"):
        is_finished(tmp_path)
    path.unlink()
    assert not is_finished(tmp_path)
