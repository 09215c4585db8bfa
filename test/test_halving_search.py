"""Only the best of a level go on: whole searches whose trainings wait at rungs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import benches
import pytest
import rung_search
from rung_search import ERRORS, LOSSES, OUT, check, epochs, run, write_curves

from espnet_topdown.abandon import set_rung, why_stopped
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import Lock
from espnet_topdown.records import Journal
from espnet_topdown.report.rows import read_search
from espnet_topdown.report.story import stopped
from espnet_topdown.search import status
from espnet_topdown.search.request import SearchRequest


@pytest.fixture
def request_(tmp_path, monkeypatch) -> SearchRequest:
    return rung_search.request(tmp_path, monkeypatch)


@pytest.mark.espnet
def test_only_the_best_of_a_level_go_on(request_, tmp_path, caplog):
    with caplog.at_level("INFO"):
        result = run(request_)
    check(tmp_path)
    assert result["reason"] == (
        "all 5 models that were asked for are trained, 2 of them stopped at a rung"
    )
    said = "compared after epochs 2, 4, the best 1/2 goes on: at most 26 epochs "
    assert "candidates are " + said + "instead of 42" in caplog.text
    why = why_stopped(Journal(OUT / "journal.jsonl").events())
    assert why == {
        "m3.1": "stopped at rung 2: valid loss 7, m1.3 with 5, m2.2 with 6 went on",
        "m1.3": "stopped at rung 4: valid loss 3, m2.2 with 2 went on",
    }
    screen = status.screen(OUT)
    report = read_search(OUT)
    for node, text in why.items():
        assert f"{ERRORS[node]} errors, {text}" in screen
        assert (report.node(node).status, report.node(node).why) == ("stopped", text)
    assert len(stopped(report)) == 2 and "M_{3,1} was stopped at rung 2" in str(
        stopped(report)
    )


@pytest.mark.espnet
@pytest.mark.parametrize(
    "options, losses, trained, out",
    [
        # one rung, at a third of the epochs; only the best goes on
        (
            {"halving": "", "proxy": "0.34"},
            {},
            {"m1.3": 6, "m2.2": 2, "m3.1": 2, "m1.1.2": 2, "m1.2.1": 6},
            ["m2.2", "m3.1", "m1.1.2"],
        ),
        # a beam compares its own level
        (
            {"strategy": "beam", "halving": "3:2"},
            {},
            {"m1.3": 6, "m2.2": 2, "m3.1": 2, "m1.1.2": 2, "m1.2.1": 6},
            ["m2.2", "m3.1", "m1.1.2"],
        ),
        # one that has ended before the rung still counts
        (
            {"halving": "", "proxy": "0.5"},
            {"m1.3": [9, 2]},
            {"m1.3": 2, "m2.2": 3, "m3.1": 6},
            ["m1.3", "m2.2"],
        ),
        # all have ended before it: nothing is left to save
        (
            {"halving": "", "proxy": "0.5"},
            {"m1.3": [9, 2], "m2.2": [4], "m3.1": [3]},
            {"m1.3": 2, "m2.2": 1, "m3.1": 1, "m1.1.2": 3, "m1.2.1": 3, "m2.1.1": 6},
            ["m1.2.1", "m1.1.2"],
        ),
    ],
    ids=["proxy", "beam", "one ended", "all ended"],
)
def test_rungs_of_searches(request_, tmp_path, options, losses, trained, out):

    all_ = {**LOSSES, "m1.1.1.1": [5] * 6}
    write_curves(tmp_path, {**all_, **losses})
    errors = {**ERRORS, "m1.3": 30, "m1.2.1": 20, "m1.1.2": 25, "m2.1.1": 26}
    (tmp_path / "errors.json").write_text(json.dumps(errors))
    run(dataclasses.replace(request_, max_frozen=3, **options))
    done = epochs(tmp_path)
    assert {n: e for n, e in done.items() if n != "m1.1.1.1"} == trained
    events = Journal(OUT / "journal.jsonl").events()
    assert [n for e in events if e["event"] == "rung" for n in e["stopped"]] == out


@pytest.mark.espnet
def test_a_waiting_training_is_shown(request_, tmp_path):
    for node in ("m1.3", "m2.2"):
        (OUT / node).mkdir(parents=True)
    (OUT / "search.yaml").write_text("strategy: full\n")
    journal = Journal(OUT / "journal.jsonl")
    journal.append("started", node="m1.3")
    journal.append("started", node="m2.2")
    journal.append("paused", node="m1.3")
    set_rung(OUT / "m1.3", 2)
    with Lock(OUT / "lock"):
        screen = status.screen(OUT)
    assert "m1.3   waiting" in screen and "at rung 2, until the others" in screen
    assert "m2.2   started" in screen


@pytest.mark.espnet
@pytest.mark.parametrize(
    "options, message",
    [
        ({"strategy": "greedy"}, "one candidate at a time"),
        ({"proxy": "0.5"}, "two answers to the same question"),
        ({"halving": "2"}, "is not ETA:MIN_EPOCHS"),
        ({"halving": "2:6"}, "compares after epoch 6, a retraining has 6"),
        ({"halving": "", "proxy": "2"}, "is not a fraction"),
        ({"trainer": "espnet2.bin.asr_train"}, "ESPnet's own trainer cannot"),
    ],
)
def test_refusals(request_, options, message):

    with pytest.raises(TopDownError, match=f"E_RANGE.*{message}.*Do: "):
        run(dataclasses.replace(request_, **options))
    assert not OUT.exists(), "before anything is written"


@pytest.mark.espnet
def test_a_journal_that_was_cut_is_written_again(request_, tmp_path):
    run(request_)
    journal = OUT / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    first = next(i for i, x in enumerate(lines) if b'"rung"' in x)
    journal.write_bytes(b"".join(lines[:first]))
    (OUT / "result.json").unlink()
    run(request_)
    check(tmp_path)


@pytest.mark.espnet
def test_another_halving_may_not_use_the_folder(request_):

    run(request_)
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED.*halving was 2:2, now 3:"):
        run(dataclasses.replace(request_, halving="3:2"))


@pytest.mark.espnet
@pytest.mark.parametrize(
    "option, errors", [("--halving 2:2", {}), ("--proxy 0.34", {"m2.2": 60})]
)
def test_a_replay_of_the_full_search_says_the_same(request_, tmp_path, option, errors):
    """bench/search_replay.py on all trainings, against the search that has rungs."""

    write_curves(tmp_path, {**LOSSES, "m1.1.1.1": [5] * 6})
    (tmp_path / "errors.json").write_text(json.dumps({**ERRORS, **errors}))
    name, value = option.lstrip("-").split()
    rule = {"halving": "", name: value}
    real = run(dataclasses.replace(request_, output_dir=Path("exp/rungs"), **rule))
    wanted = epochs(tmp_path)
    (tmp_path / "work").write_text("")
    run(dataclasses.replace(request_, halving=""))
    assert len(epochs(tmp_path)) == 7, "nothing is left out of the full search"
    bench = benches.load("search_replay")
    found = bench.replay(bench.read_recorded(OUT), bench.parse_rule(option))
    assert {str(c): e for c, e in found.epochs.items()} == wanted
    assert str(found.best) == real["best"]
