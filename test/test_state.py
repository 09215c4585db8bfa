"""What is read from a search folder, whatever state it is in."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_search import LAYERS, write_decode, write_search

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import write_json, write_yaml
from espnet_topdown.search.state import read_state


@pytest.fixture
def search(tmp_path: Path) -> Path:
    """A finished search with a test set, two controls and a failed candidate."""
    return write_search(tmp_path / "exp" / "asr_base_topdown")


def test_a_finished_search(search: Path):
    report = read_state(search)
    assert report.status == "finished"
    assert report.best is report.find("m1.1.3")
    assert [(n.name, n.role, n.status) for n in report.candidates] == [
        ("m5", "joint", "done"),
        ("m1.4", "candidate", "accepted"),
        ("m1.1.3", "candidate", "accepted"),
        ("m1.1.1.2", "candidate", "rejected"),
        ("m2.3", "candidate", "failed"),
        ("control.joint", "control", "done"),
        ("control.warm", "control", "done"),
    ]
    assert report.test_sets == (("ctc_greedy", "test"),)


def test_one_model(search: Path):
    node = read_state(search).find("m1.1.3")
    assert node.frozen == ("softmax", "blstm3")
    assert node.epochs == 12
    assert node.seconds == pytest.approx(12 * 5.5)
    assert node.valid.epoch == 11
    assert node.valid.utts == 46
    assert node.tests["ctc_greedy", "test"].utts == 60
    assert (
        node.valid.counts["cer"].errors
        < node.tests["ctc_greedy", "test"].counts["cer"].errors
    )


def test_the_baseline_is_read_where_it_was_trained(search: Path):
    base = read_state(search).joint
    assert (base.seed, base.epochs) == (1, 12)


def test_the_baseline_of_stock_espnet_has_a_log_only(search: Path):
    home = search.parent / "asr_base"
    (home / "curve.jsonl").unlink()
    line = "4epoch results: [valid] cer_ctc=0.2, time=3 seconds"
    (home / "train.log").write_text(line)
    assert read_state(search).joint.epochs == 4
    (home / "train.log").unlink()
    base = read_state(search).joint
    assert (base.epochs, base.seconds) == (None, None)


def test_copied_layers_are_not_called_frozen(search: Path):
    warm = read_state(search).find("control.warm")
    assert (warm.frozen, warm.copied) == ((), ("softmax",))


def test_a_node_without_a_folder_is_known_by_its_name(search: Path):
    node = read_state(search).find("m2.3")
    assert node.frozen == ("softmax", "blstm3")
    assert (node.valid, node.seed, node.epochs) == (None, None, None)
    assert node.why == "exit status 70"


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


def test_a_running_search(tmp_path: Path):
    folder = write_search(
        tmp_path / "exp" / "s", models=("m5", "m1.4"), finished=False, failed=False
    )
    running = folder / "m1.1.3"
    running.mkdir()
    write_yaml(running / "retrain.yaml", {"node": "m1.1.3", "frozen": LAYERS[:2]})
    write_json(running / "progress.json", {"epoch": 3, "max_epoch": 14})
    report = read_state(folder)
    assert (report.status, report.best, report.finished) == ("interrupted", None, None)
    node = report.find("m1.1.3")
    assert (node.status, node.why, node.epochs) == ("interrupted", "epoch 3 of 14", 3)


def test_a_search_that_has_only_been_asked_for(tmp_path: Path):
    folder = write_search(tmp_path / "s", models=(), finished=False, failed=False)
    report = read_state(folder)
    assert report.status == "not run"
    assert [(n.name, n.status) for n in report.candidates] == [("m5", "not run")]


def test_decisions_without_a_journal_come_from_the_path(search: Path):
    (search / "journal.jsonl").unlink()
    report = read_state(search)
    assert report.find("m1.1.3").status == "accepted"
    assert report.find("m1.1.1.2").status == "rejected"


@pytest.mark.parametrize(
    "name, text, code",
    [
        ("search.yaml", None, "E_NO_SEARCH"),
        ("result.json", "{", "E_JSON"),
        ("m1.4/score.json", "[]", "E_SCORE"),
        ("m1.4/score.json", '{"cer": {"ref": 9}}', "E_SCORE"),
        ("journal.jsonl", "{}\n", "E_JOURNAL_CORRUPT"),
    ],
)
def test_broken_files_are_named(search: Path, name, text, code):
    path = search / name
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(TopDownError) as error:
        read_state(search)
    assert error.value.code == code
    assert str(search) in str(error.value)
