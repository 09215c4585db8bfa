from __future__ import annotations

import math

import pytest

from espnet_topdown.abandon import rung_of, set_rung, should_stop
from espnet_topdown.errors import TopDownError
from espnet_topdown.halving import Halving
from espnet_topdown.search.composition import Composition

M = Composition.parse


@pytest.mark.parametrize(
    "halving, proxy, epochs, wanted",
    [
        ("", "", 60, None),
        ("2:10", "", 60, Halving((10, 20, 40), 2)),
        ("2:10", "", 40, Halving((10, 20), 2)),  # 40 would be the end
        ("4:10", "", 41, Halving((10, 40), 4)),
        ("3:1", "", 2, Halving((1,), 3)),
        ("", "0.25", 60, Halving((15,), math.inf)),
        ("", ".1", 4, Halving((1,), math.inf)),
    ],
)
def test_rungs(halving, proxy, epochs, wanted):
    assert Halving.parse(halving, proxy, epochs) == wanted


@pytest.mark.parametrize(
    "halving, proxy, message",
    [
        ("2", "", "ETA:MIN_EPOCHS.*2:10"),
        ("1:10", "", "ETA 2 or more"),
        ("2:0", "", "ETA:MIN_EPOCHS"),
        ("2:10:3", "", "ETA:MIN_EPOCHS"),
        ("2:60", "", "compares after epoch 60, a retraining has 60"),
        ("", "1.0", "between 0 and 1"),
        ("", "0.0", "between 0 and 1"),
        ("", "25", "between 0 and 1"),
        ("", "0.999", "compares after epoch 60"),
    ],
)
def test_bad_rungs(halving, proxy, message):
    with pytest.raises(TopDownError, match=f"E_RANGE.*{message}"):
        Halving.parse(halving, proxy, 60)


@pytest.mark.parametrize(
    "eta, values, mode, out",
    [
        (2, {"m1.3": 5, "m2.2": 4, "m3.1": 3}, "min", ["m1.3"]),
        (2, {"m1.3": 5, "m2.2": 4, "m3.1": 3}, "max", ["m3.1"]),
        (3, {"m1.3": 5, "m2.2": 4, "m3.1": 3}, "min", ["m2.2", "m1.3"]),
        (math.inf, {"m1.3": 5, "m2.2": 5}, "min", ["m2.2"]),  # a tie
        (2, {"m1.3": math.nan, "m2.2": 5}, "min", ["m1.3"]),
        (2, {"m1.3": math.nan, "m2.2": math.nan}, "min", ["m2.2"]),
        (2, {"m1.3": 5}, "min", []),
        (9, {"m1.3": 5}, "min", []),
    ],
)
def test_who_goes_on(eta, values, mode, out):
    lost = Halving((1,), eta).stopped({M(k): v for k, v in values.items()}, mode)
    assert [str(c) for c in lost] == out


@pytest.mark.parametrize(
    "halving, n, epochs, survivors",
    [
        (Halving((10, 20, 40), 2), 3, 30 + 20 + 20 + 20, 1),
        (Halving((10, 20, 40), 2), 1, 60, 1),
        (Halving((15,), math.inf), 4, 4 * 15 + 45, 1),
        (Halving((10,), 2), 8, 80 + 4 * 50, 4),
    ],
)
def test_what_a_level_costs(halving, n, epochs, survivors):
    assert (halving.epochs(n, 60), halving.survivors(n)) == (epochs, survivors)


def test_a_training_pauses_at_its_rung(tmp_path):
    stats = {e: {"valid": {"loss": 1.0}} for e in (1, 2)}
    assert not should_stop(tmp_path, stats), "off without a rung"
    set_rung(tmp_path, 3)
    assert not should_stop(tmp_path, stats)
    set_rung(tmp_path, 2)
    assert "waits at its rung" in should_stop(tmp_path, stats)
    assert not (tmp_path / "abandoned.json").exists()
    set_rung(tmp_path, 0)
    assert not should_stop(tmp_path, stats) and rung_of(tmp_path) == 0
