"""What is read from a search folder beside what report/expected/*.txt shows of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_search import write_decode, write_search

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json, write_json, write_yaml
from espnet_topdown.search.state import read_state


@pytest.fixture
def search(tmp_path: Path) -> Path:
    """A finished search with a test set, two controls and a failed candidate."""
    return write_search(tmp_path / "exp" / "asr_base_topdown")


def test_the_baseline_of_stock_espnet_has_a_log_only(search: Path):
    home = search.parent / "asr_base"
    (home / "curve.jsonl").unlink()
    line = "4epoch results: [valid] cer_ctc=0.2, time=3 seconds"
    (home / "train.log").write_text(line)
    assert read_state(search).joint.epochs == 4
    (home / "train.log").unlink()
    base = read_state(search).joint
    assert (base.epochs, base.seconds) == (None, None)


def test_sets_below_org_and_the_validation_set_again(search: Path):
    decode = search / "m5" / "decode_ctc_greedy"
    write_decode(decode / "org" / "dev93", "dev93", 5, 3, files=False)
    write_decode(decode / "dev", "dev", 5, 3, files=False)
    write_decode(search / "m5" / "decode_beam" / "test", "test", 5, 3, files=False)
    assert read_state(search).test_sets == (
        ("ctc_greedy", "org/dev93"),
        ("ctc_greedy", "test"),
        ("beam", "test"),
    )


def test_a_set_decoded_before_the_model_was_trained_on(search: Path):
    path = search / "control.joint" / "score.json"
    assert read_state(search).find("control.joint").tests
    write_json(path, {**read_json(path), "epoch": 12})
    assert not read_state(search).find("control.joint").tests
    write_json(path, {**read_json(path), "model_file": "12epoch.pth"})
    assert read_state(search).find("control.joint").tests, "a choice of the user's"


def test_decisions_without_a_journal_come_from_the_path(search: Path):
    (search / "journal.jsonl").unlink()
    report = read_state(search)
    assert report.find("m1.1.3").status == "accepted"
    assert report.find("m1.1.1.2").status == "rejected"


def test_what_control_warm_copied_of_a_base_that_froze_a_layer(search: Path):
    job = {"control": "warm", "frozen": ["softmax"]}
    job |= dict.fromkeys(("frozen_params", "frozen_in_base"), ["a.w"])
    (search / "control.warm").mkdir(exist_ok=True)
    write_yaml(search / "control.warm" / "retrain.yaml", job)
    warm = read_state(search).find("control.warm")
    assert (warm.copied, warm.frozen) == (("softmax",), ())


@pytest.mark.parametrize(
    "name, text, code",
    [
        ("result.json", "{", "E_JSON"),
        ("m1.4/score.json", "[]", "E_SCORE"),
        ("m1.4/score.json", '{"cer": {"ref": 9}}', "E_SCORE"),
    ],
)
def test_broken_files_are_named(search: Path, name, text, code):
    (search / name).write_text(text)
    with pytest.raises(TopDownError, match=f"{code}: .*{search / name}"):
        read_state(search)
