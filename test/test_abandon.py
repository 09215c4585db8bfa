from __future__ import annotations

from pathlib import Path

import pytest

from espnet_topdown.abandon import Rule, abandoned, should_stop, write_rule
from espnet_topdown.errors import TopDownError

ACCEPTED = {1: 9.0, 2: 6.0, 3: 5.0, 4: 5.5, 5: 4.0}


@pytest.mark.parametrize(
    "own, mode, stop",
    [
        ([9, 8, 7], "min", True),  # 7 > 5 + 20 %
        ([9, 8, 6], "min", False),  # exactly at the margin
        ([99, 99], "min", False),  # within the grace
        ([9, 5.5, 30], "min", False),  # its best so far counts, not its last
        ([9, 8, 8, 8, 8, 8, 8], "min", True),  # longer than the accepted one
        ([9, 8, 7], "max", False),
        ([1, 1, 1], "max", True),
    ],
)
def test_when_it_trails(own: list[float], mode: str, stop: bool) -> None:
    mine = dict(enumerate(own, 1))
    assert Rule(0.2, 3).trails(mine, ACCEPTED, mode) == stop


@pytest.mark.parametrize("text", ["0.1", "0.1:0", "-1:3", "a:b", "0.1:5:6", ""])
def test_bad_rules(text: str) -> None:
    with pytest.raises(TopDownError, match="E_RANGE.*MARGIN:GRACE"):
        Rule.parse(text)


def test_a_job_is_told_and_leaves_a_mark(tmp_path: Path) -> None:
    stats = {e: {"valid": {"loss": v}} for e, v in enumerate([9, 8, 7], 1)}
    assert not should_stop(tmp_path, stats), "off without a rule"
    write_rule(tmp_path, Rule(0.2, 3), ("valid", "loss", "min"), ACCEPTED)
    assert not should_stop(tmp_path, {e: stats[e] for e in (1, 2)})
    assert abandoned(tmp_path) == 0
    assert should_stop(tmp_path, stats)
    assert abandoned(tmp_path) == 3


@pytest.mark.espnet
def test_the_trainers_reporter_asks_every_epoch(tmp_path: Path) -> None:
    from espnet_topdown.trainer.reporter import TopDownReporter

    reporter = TopDownReporter()
    reporter.folder = tmp_path
    write_rule(tmp_path, Rule(0.2, 3), ("valid", "loss", "min"), ACCEPTED)
    asked = []
    for epoch, loss in enumerate([9.0, 8.0, 7.0], 1):
        reporter.set_epoch(epoch)
        with reporter.observe("valid") as sub:
            sub.register({"loss": loss})
            sub.next()
        asked.append(reporter.check_early_stopping(10**9, "valid", "loss", "min"))
    assert asked == [False, False, True]
