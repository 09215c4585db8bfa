"""One prepared job, without a training."""

from __future__ import annotations

import sys
import types

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.job import run_job
from espnet_topdown.journal import Lock
from espnet_topdown.yaml_io import write_yaml


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


def test_one_process_a_job(folder):
    with Lock(folder / ".lock"), pytest.raises(TopDownError, match="E_LOCKED"):
        run_job(folder)
