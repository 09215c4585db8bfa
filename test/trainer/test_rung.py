"""A training that waits at rungs is the uninterrupted one, bit for bit."""

from __future__ import annotations

import pytest
from trained_state import everything, options

from espnet_topdown.abandon import set_rung
from espnet_topdown.jobs.run import is_paused
from espnet_topdown.models.experiment import Experiment

pytestmark = pytest.mark.espnet
PLATEAU = {"scheduler": "reducelronplateau", "scheduler_conf": {"patience": 0}}


@pytest.mark.parametrize("patience", [None, 3])
def test_identical(train, tmp_path, patience):
    conf = options("rnn", **PLATEAU, max_epoch=4, patience=patience)
    whole = everything(train("whole", **conf))
    parts = tmp_path / "parts"
    parts.mkdir()
    for rung in (1, 3, 0):
        set_rung(parts, rung)
        train("parts", **conf)
        assert Experiment(parts).last_epoch == (rung or 4)
        assert is_paused(parts) == (rung > 0)
    found = everything(parts)
    assert len(whole) > 20 and found.keys() == whole.keys()
    assert [n for n in whole if whole[n] != found[n]] == []


def test_another_length_would_not_be_identical(train):
    """The comparison can fail: what the scheduler knows is in it."""
    conf = options("rnn", **PLATEAU)
    one = everything(train("one", max_epoch=2, **conf))
    more = everything(train("more", max_epoch=3, **conf))
    assert one != more
