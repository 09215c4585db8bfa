from __future__ import annotations

import datetime
import json
import math

import pytest

from espnet_topdown.trainer import _progress as module
from espnet_topdown.trainer._progress import ProgressWriter, TopDownReporter

pytestmark = pytest.mark.espnet
LOSS = [["valid", "loss", "min"]]


def reporter(losses, seconds=2.0):
    """After the epochs that have these losses."""
    made = TopDownReporter(len(losses))
    for epoch, loss in enumerate(losses, 1):
        time = datetime.timedelta(seconds=seconds / 2)
        made.stats[epoch] = {
            "train": {"loss": 1.0, "time": time, "total_count": 9, "iter_time": 0.1},
            "valid": {"loss": loss, "time": time, "acc": math.nan},
        }
    return made


def read(folder):
    return json.loads((folder / "progress.json").read_text())


def test_nan_is_left_out(tmp_path):
    ProgressWriter(tmp_path, 3, LOSS).epoch(reporter([math.nan]))
    assert read(tmp_path)["valid"] == {} and read(tmp_path)["best_epoch"] is None


def test_inside_an_epoch(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    progress = ProgressWriter(tmp_path, 10, LOSS)
    progress.start_epoch(1)
    progress.batch(1, 40)
    assert not (tmp_path / "progress.json").exists()
    now[0] += 20
    progress.batch(10, 40)  # 80 s an epoch, 9.75 epochs left
    state = read(tmp_path)
    assert (state["epoch"], state["batch"], state["batches"]) == (0, 10, 40)
    assert state["eta_seconds"] == pytest.approx(80 * 9.75)
    progress.epoch(reporter([1.0], seconds=60))
    now[0] += 11
    progress.batch(20, 40)
    assert read(tmp_path)["eta_seconds"] == pytest.approx(60 * 8.5)

    progress = ProgressWriter(tmp_path, 10, LOSS)  # goes on after epoch 7
    progress.start_epoch(8)
    now[0] += 20
    progress.batch(10, 40)
    assert read(tmp_path)["epoch"] == 7
    assert read(tmp_path)["eta_seconds"] == pytest.approx(80 * 2.75)


@pytest.mark.parametrize(
    "losses, best", [([math.nan, 2.0, 1.0], 3), ([0.5, math.nan], 1)], ids=str
)
def test_reporter_ranks_nan_last(losses, best):
    made = reporter(losses)
    assert made.get_best_epoch("valid", "loss", "min") == best
    assert made.has("valid", "loss") and not made.has("valid", "acc")


def test_never_computed():
    made = reporter([math.nan, math.nan])
    assert not made.has("valid", "loss")
    assert made.sort_epochs("valid", "loss", "min") == [1, 2]  # early stopping asks
    with pytest.raises(KeyError):
        made.sort_epochs("valid", "wer", "min")
