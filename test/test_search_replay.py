"""bench/search_replay.py: what cheaper searches would have done."""

from __future__ import annotations

import benches
import pytest

from espnet_topdown.search.composition import Composition
from espnet_topdown.search.strategies import Space


@pytest.fixture(scope="module")
def bench():
    return benches.load("search_replay")


CURVES = {  # the trainer's value after each epoch, and the errors at the end
    "m4": ([9, 6, 5, 4], 50),
    "m1.3": ([9, 5, 3], 48),
    "m2.2": ([9, 8, 3, 2], 40),
    "m3.1": ([9, 8, 8], 51),
    "m1.1.2": ([9, 4, 2], 47),
    "m1.2.1": ([9, 5, 4, 3], 49),
    "m2.1.1": ([9, 5, 1], 39),
    "m1.1.1.1": ([9, 2], 48),
}


@pytest.fixture
def record(bench):
    trained = {}
    for name, (values, errors) in CURVES.items():
        by_epoch = {e: float(v) for e, v in enumerate(values, 1)}
        seconds = dict.fromkeys(by_epoch, 60.0)
        node = Composition.parse(name)
        trained[node] = bench.Training(by_epoch, seconds, errors, ref=100)
    return bench.Recorded("made up", Space(4, 3), trained)


@pytest.mark.parametrize(
    "rule, epochs, best",
    [
        (
            "--search full",
            {"m1.3": 3, "m2.2": 4, "m3.1": 3, "m1.1.2": 3, "m1.2.1": 4, "m2.1.1": 3}
            | {"m1.1.1.1": 2},
            "m2.1.1",
        ),
        ("--search greedy", {"m1.3": 3, "m1.1.2": 3, "m1.1.1.1": 2}, "m1.1.2"),
        (
            "--search beam --width 1",
            {"m1.3": 3, "m2.2": 4, "m3.1": 3, "m2.1.1": 3},
            "m2.1.1",
        ),
    ],
)
def test_rules(bench, record, rule, epochs, best):
    found = bench.replay(record, bench.parse_rule(rule))
    assert {str(c): e for c, e in found.epochs.items()} == epochs
    assert str(found.best) == best


def test_a_smaller_search(bench, record):
    small = bench.bounded(record, 1)
    found = bench.replay(small, bench.parse_rule("--search full"))
    assert {str(c): e for c, e in found.epochs.items()} == {"m1.3": 3}
    assert str(found.best) == "m1.3"


def test_what_is_not_recorded_is_not_known(bench, record):
    del record.trained[Composition.parse("m3.1")]
    found = bench.replay(record, bench.parse_rule("--search full"))
    assert found.best is None and [str(c) for c in found.lacking] == ["m3.1"]
    assert str(bench.replay(record, bench.parse_rule("--search greedy")).best)
    rows = bench.table([record, record], ["--search full", "--search greedy"])
    assert "| ? / ? | ? / ? |" in rows[2] and "not known" in rows[2]
    assert "| 3 / 3 | 8 / 8 | 8 / 8 | m1.1.2 47 / m1.1.2 47 |" in rows[3]
    assert rows[3].endswith("8 epochs, 8 min, dev 47.00 % |")
