"""What a search may cost is known before anything starts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.search import cost
from espnet_topdown.search.request import SearchRequest
from espnet_topdown.search.strategies import Space


def nodes(seconds: float = 36.0, n: int = 5, **options: object) -> SimpleNamespace:
    request = SearchRequest(Path("exp"), Path("out"), **options)
    spans = {1: {"train": {"time": seconds - 6}, "valid": {"time": 6.0}}}
    base = SimpleNamespace(folder=Path("exp"), stats=spans, config={"max_epoch": 100})
    space = Space(n, n - 1, epochs=request.epochs, width=request.width)
    return SimpleNamespace(
        request=request, base=base, space=space, max_frozen=n - 1, stack=None
    )


@pytest.mark.parametrize(
    "options, count",
    [
        ({}, 4),
        ({"strategy": "full"}, 15),
        ({"strategy": "full", "controls": ("joint", "warm")}, 17),
        ({"controls": ("bottom_up",)}, 8),
        ({"strategy": "epoch", "epochs": (5, 9)}, 3),
    ],
)
def test_trainings_are_counted(options: dict, count: int) -> None:
    assert cost.trainings(nodes(**options)) == count


def test_hours(tmp_path: Path) -> None:
    asked = nodes(strategy="full", max_jobs=5)
    assert cost._hours(asked) == ", hours unknown"
    asked.base.folder = tmp_path
    (tmp_path / "checkpoint.pth").touch()
    assert cost.seconds_per_epoch(asked.base) == 36.0
    assert cost._hours(asked) == ", at most about 3.0 hours"  # 15 / 5 x 100 x 36 s
    asked.request = dataclasses.replace(asked.request, max_epoch=10)
    assert cost._hours(asked) == ", at most about 18 minutes"


def test_more_than_expected_needs_a_yes() -> None:
    with pytest.raises(TopDownError, match="E_BUDGET.*15 trainings.*is 9.*--yes true"):
        cost.check_budget(nodes(strategy="full", max_jobs_total=9))
    cost.check_budget(nodes(strategy="full", max_jobs_total=9, yes=True))
    cost.check_budget(nodes(strategy="full", max_jobs_total=15))
