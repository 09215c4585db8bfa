"""A search with rungs killed at each position of the journal, and between."""

from __future__ import annotations

import functools
import os
import shutil
import signal
from collections import Counter

import pytest
import rung_search
from dying import in_child, killing
from rung_search import OUT, check, run

from espnet_topdown.records import Journal
from espnet_topdown.search.request import SearchRequest

LAST = 160  # a search with rungs has fewer effects than that
ALL = os.environ.get("TOPDOWN_KILL_POINTS") == "all"
EVENTS = (
    ("started", "paused", "trained", "rung", "scored") if ALL else ("paused", "rung")
)
EVERY = 1 if ALL else 40


@pytest.fixture
def request_(tmp_path, monkeypatch) -> SearchRequest:
    from espnet_topdown.jobs.spec import STOCK_TRAINER, TRAINER
    from espnet_topdown.models.experiment import known_options

    known_options(STOCK_TRAINER), known_options(TRAINER)  # imported before the forks
    return rung_search.request(tmp_path, monkeypatch)


@pytest.mark.espnet
@pytest.mark.timeout(300)
def test_killed_after_every_line_of_the_journal(request_, tmp_path, monkeypatch):
    """The driver dies right after an event is written, once for each event there is."""
    log, seen, append = tmp_path / "driver.log", tmp_path / "seen", Journal.append
    seen.touch()

    def dying(self, event, **fields):
        record = append(self, event, **fields)
        line = f"{event} {fields.get('node')} {fields.get('epoch')}"
        if event in EVENTS and line not in seen.read_text().splitlines():
            with seen.open("a") as f:
                f.write(line + "\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return record

    monkeypatch.setattr(Journal, "append", dying)
    while in_child(functools.partial(run, request_), log) != 0:
        assert len(seen.read_text().splitlines()) < 40, log.read_text()
    died = Counter(x.split()[0] for x in seen.read_text().splitlines())
    assert died["rung"] == 2 and died["paused"]
    check(tmp_path)


@pytest.mark.espnet
@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", range(60, LAST, EVERY))
def test_killed_anywhere(request_, tmp_path, point):
    log = tmp_path / "driver.log"
    search = functools.partial(run, request_)
    killed = in_child(killing(search, point), log)
    assert killed in (0, 128 + signal.SIGKILL), log.read_text()
    if killed:
        assert in_child(search, log) == 0, log.read_text()
    check(tmp_path)
    shutil.rmtree(OUT)
