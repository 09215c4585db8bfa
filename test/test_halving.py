from __future__ import annotations

import functools
import json
import math
import os
import shlex
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

import benches
import pytest
import torch
from dying import in_child, killing
from toys import rnn_weights, write_data, write_experiment

from espnet_topdown import status
from espnet_topdown.abandon import rung_of, set_rung, should_stop, why_stopped
from espnet_topdown.composition import Composition
from espnet_topdown.errors import TopDownError
from espnet_topdown.halving import Halving
from espnet_topdown.journal import Journal, Lock
from espnet_topdown.report.rows import read_search
from espnet_topdown.report.story import stopped
from espnet_topdown.request import SearchRequest
from espnet_topdown.yaml_io import read_json

OUT = Path("exp/search")
JOB = Path(__file__).parent / "fixtures" / "fake_rung_job.py"
M = Composition.parse

# --- what is decided: pure


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


# --- a whole search

LOSSES = {  # by epoch, of six
    "m1.3": [9, 5, 4, 3, 3, 3],
    "m2.2": [9, 6, 3, 2, 1, 1],
    "m3.1": [8, 7, 1, 1, 1, 1],  # too late: stopped after epoch 2
    "m1.1.2": [9, 9, 9, 9, 9, 9],
    "m1.2.1": [9, 8, 8, 8, 8, 8],
    "m2.1.1": [9, 7, 7, 6, 5, 4],
}
ERRORS = {"m4": 50, "m1.3": 48, "m2.2": 40, "m3.1": 49, "m2.1.1": 41}
LAST = 160  # a search with rungs has fewer effects than that


@pytest.fixture
def request_(tmp_path, monkeypatch) -> SearchRequest:
    """Four layers, six epochs a retraining, compared after 2 and after 4."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKE_DIR", str(tmp_path))
    data = {
        f"{phase}_data_path_and_name_and_type": write_data(Path("data", phase), [phase])
        for phase in ("train", "valid")
    }
    base = write_experiment(Path("exp/joint"), rnn_weights(3), **data)
    (tmp_path / "errors.json").write_text(json.dumps(ERRORS))
    (tmp_path / "work").write_text("")
    write_curves(tmp_path, LOSSES)
    python, job = shlex.quote(sys.executable), shlex.quote(str(JOB))
    script = (  # LOG python -m module options -> LOG python fake_rung_job options
        f'log=$1; shift 4; exec {python} -m espnet_topdown.cmd.local "$log"'
        f' {python} {job} "$@"'
    )
    cmd = shlex.join(["bash", "-c", script, "-"])
    monkeypatch.setenv("PYTHONPATH", str(JOB.parents[2]))
    options = {"strategy": "full", "max_epoch": 6, "halving": "2:2", "max_jobs": 2}
    return SearchRequest(base, OUT, cmd=cmd, **options)


def write_curves(folder: Path, losses: dict[str, list[float]]) -> None:
    """The checkpoint that each node has after each epoch."""
    (folder / "states").mkdir(exist_ok=True)
    (folder / "curves.json").write_text(json.dumps(losses))
    for node, values in losses.items():
        for last in range(1, len(values) + 1):
            stats = {
                e: {"valid": {"loss": float(values[e - 1])}} for e in range(1, last + 1)
            }
            state = {"model": {}, "reporter": {"stats": stats, "epoch": last}}
            torch.save(state, folder / "states" / f"{node}.{last}.pth")


def run(request: SearchRequest) -> dict:
    from espnet_topdown.driver import run_search

    return run_search(request)


def epochs(folder: Path) -> dict[str, int]:
    lines = [x.split() for x in (folder / "work").read_text().splitlines()]
    done = Counter(x[0] for x in lines if x[1] == "epoch")
    assert all(c == 1 for c in Counter(map(tuple, lines)).values()), "done twice"
    return dict(done)


def check(folder: Path) -> None:
    """What the search above comes to, however often it was interrupted."""
    result = read_json(OUT / "result.json")
    assert result["best"] == "m2.2"
    assert epochs(folder) == {"m1.3": 4, "m2.2": 6, "m3.1": 2, "m2.1.1": 6}
    nodes = {n: v["errors"] for n, v in result["nodes"].items()}
    assert nodes == ERRORS
    events = Journal(OUT / "journal.jsonl").events()
    rungs = [
        (e["level"], e["epoch"], e["stopped"]) for e in events if e["event"] == "rung"
    ]
    assert rungs == [(2, 2, ["m3.1"]), (2, 4, ["m1.3"])]
    scored = Counter(e["node"] for e in events if e["event"] == "scored")
    assert scored == dict.fromkeys(ERRORS, 1)


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
    import dataclasses

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
    import dataclasses

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
    import dataclasses

    run(request_)
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED.*halving was 2:2, now 3:"):
        run(dataclasses.replace(request_, halving="3:2"))


@pytest.mark.espnet
@pytest.mark.parametrize(
    "option, errors", [("--halving 2:2", {}), ("--proxy 0.34", {"m2.2": 60})]
)
def test_a_replay_of_the_full_search_says_the_same(request_, tmp_path, option, errors):
    """bench/search_replay.py on all trainings, against the search that has rungs."""
    import dataclasses

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


# --- killed at each position of the journal, and between


ALL = os.environ.get("TOPDOWN_KILL_POINTS") == "all"
EVENTS = (
    ("started", "paused", "trained", "rung", "scored") if ALL else ("paused", "rung")
)
EVERY = 1 if ALL else 40


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
