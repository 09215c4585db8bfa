"""One prepared job, without a training."""

from __future__ import annotations

import sys
import types

import pytest
from toys import rnn_weights, write_experiment

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import Lock, write_yaml
from espnet_topdown.jobs.run import is_trained, run_job


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A job whose trainer does nothing."""
    trainer = types.SimpleNamespace(main=lambda words: None)
    monkeypatch.setitem(sys.modules, "idle_trainer", trainer)
    write_yaml(tmp_path / "retrain.yaml", {"trainer": "idle_trainer"})
    return tmp_path


def test_a_trainer_that_ends_too_early(folder):
    with pytest.raises(TopDownError, match="E_TRAINING: .*before the last epoch") as e:
        run_job(folder)
    assert e.value.status == 70
    assert not (folder / ".done").exists()


@pytest.mark.parametrize(
    "epochs, more, ended",
    [
        (4, {"patience": None}, True),
        (5, {"patience": None}, False),
        (5, {"patience": 1}, False),
        (4, {"patience": 1}, True),
        (4, {}, True),  # of a base whose config has no such key
    ],
)
def test_trained_to_its_end(tmp_path, epochs, more, ended):
    """Every epoch was better than the one before, so that no patience has run out."""
    exp = write_experiment(tmp_path / "exp", rnn_weights(), epochs=4)
    write_yaml(exp / "train.yaml", {"max_epoch": epochs, **more})
    assert is_trained(exp) is ended


def test_one_process_a_job(folder):
    with Lock(folder / ".lock"), pytest.raises(TopDownError, match="E_LOCKED"):
        run_job(folder)
