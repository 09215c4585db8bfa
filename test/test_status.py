"""status, cancel, du and clean read nothing but the search's folder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_slurm
import pytest

from espnet_topdown.bin.main import main
from espnet_topdown.cli import clean, status
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import Lock, holder
from espnet_topdown.records import Journal

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def search(tmp_path: Path) -> Path:
    """A search that was stopped while its second retraining ran."""
    folder = tmp_path / "topdown"
    for node in ("m3", "m1.2", "m1.1.1"):
        (folder / node).mkdir(parents=True)
    (folder / "search.yaml").write_text("strategy: greedy\n")
    journal = Journal(folder / "journal.jsonl")
    journal.append("search_open")
    for node, errors, verdict in (("m3", 50, None), ("m1.2", 40, "accepted")):
        journal.append("started", node=node)
        journal.append("trained", node=node)
        journal.append("scored", node=node, errors=errors, verdict=verdict)
        (folder / node / ".done").write_text("")
    journal.append("started", node="m1.1.1")
    state = {"epoch": 3, "max_epoch": 40, "eta_seconds": 300.0}
    (folder / "m1.1.1" / "progress.json").write_text(json.dumps(state))
    return folder


def finish(folder: Path) -> None:
    (folder / "m1.1.1" / ".done").write_text("")
    nodes = {n: {} for n in ("m3", "m1.2", "m1.1.1")}
    result = {"best": "m1.2", "path": ["m3", "m1.2", "m1.1.1"], "reason": "m1.1.1 ..."}
    (folder / "result.json").write_text(json.dumps({**result, "nodes": nodes}))
    for node in ("m1.2", "m1.1.1"):
        for name in ("checkpoint.pth", "4epoch.pth", "frozen.pth"):
            (folder / node / name).write_bytes(b"x" * 1000)
        (folder / node / "valid.loss.best.pth").symlink_to("4epoch.pth")


def test_the_screen_of_a_stopped_search(search: Path) -> None:
    text = status.screen(search)
    assert "interrupted; the same command continues" in text
    assert re.search(r"m1\.2 +accepted .*40 errors", text)
    assert re.search(r"m1\.1\.1 +interrupted +3/40", text)


def test_the_screen_of_a_running_search(search: Path) -> None:
    with Lock(search / "lock"):
        text = status.screen(search)
    assert f"running (pid {os.getpid()} on " in text
    assert re.search(r"m1\.1\.1 +running +3/40 +5 min +this machine", text)


def test_the_screen_says_what_a_training_waits_for(search: Path) -> None:
    by = "a place, TOPDOWN_SLOTS=1: held by pid 7 on vm since 10:00 (x in /y)"
    (search / "m1.1.1" / "train.log").write_text(f"# Waiting for {by} (Sun)\n")
    with Lock(search / "lock"):
        assert re.search(r"m1\.1\.1 +waiting .*for a place", status.screen(search))
        assert by in status.screen(search)
    place = search / "m1.1.1" / "q" / "train.log-1"
    place.mkdir(parents=True)
    (search / "m1.1.1" / "train.log").unlink()
    text = '{"token": "t", "job": "17", "log": "x", "waits": "PENDING, Priority"}'
    (place / "submit.json").write_text(text)
    text = status.screen(search)
    assert re.search(r"m1\.1\.1 +waiting .*job 17 +for PENDING, Priority", text)


def test_the_screen_names_jobs_failures_and_results(search: Path) -> None:
    place = search / "m1.1.1" / "q" / "train.log-1"
    place.mkdir(parents=True)
    (place / "submit.json").write_text('{"token": "t", "job": "17", "log": "x"}')
    assert re.search(r"m1\.1\.1 +running +3/40 +5 min +job 17", status.screen(search))
    Journal(search / "journal.jsonl").append("failed", node="m1.1.1", status=70)
    assert re.search(r"m1\.1\.1 +failed .*status 70, see", status.screen(search))
    finish(search)
    assert "finished, best m1.2" in status.screen(search)


@pytest.mark.parametrize("command", ["status", "cancel", "du", "clean"])
def test_a_folder_that_is_no_search(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, str(tmp_path)])
    assert caught.value.code == 66
    assert "E_NO_SEARCH" in capsys.readouterr().err


def test_a_lock_whose_holder_was_killed_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path) == {}
    with Lock(path):
        assert holder(path)["pid"] == os.getpid()
    path.write_text('{"pid": 1, "host": "x"}')
    assert holder(path) == {}


def test_du_counts_every_file_once(search: Path, capsys: pytest.CaptureFixture) -> None:
    finish(search)
    (search / "m1.1.1" / "big").write_bytes(b"x" * 2_000_000)
    main(["du", str(search)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["2.0", "MB", "m1.1.1"]
    assert lines[-1].split()[-1] == "all"


@pytest.mark.parametrize("answer, gone", [("y", True), ("", False), ("no", False)])
def test_clean_asks_first(
    search: Path, monkeypatch: pytest.MonkeyPatch, answer: str, gone: bool
) -> None:
    finish(search)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    before = {p for p in search.rglob("*")}
    main(["clean", str(search), "--keep", "best"])
    missing = {str(p.relative_to(search)) for p in before - set(search.rglob("*"))}
    wanted = {"m1.1.1/checkpoint.pth", "m1.1.1/4epoch.pth"}
    assert missing == (wanted if gone else set())


def test_clean_without_anybody_to_ask(
    search: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(question: str) -> str:
        raise EOFError

    finish(search)
    monkeypatch.setattr("builtins.input", nobody)
    main(["clean", str(search)])
    assert (search / "m1.1.1" / "checkpoint.pth").exists()


def test_clean_refuses_what_is_not_finished_or_runs(search: Path) -> None:
    with pytest.raises(TopDownError, match="E_UNFINISHED"):
        clean.removable(search)
    finish(search)
    with Lock(search / "lock"), pytest.raises(TopDownError, match="E_LOCKED"):
        clean.removable(search)
    with pytest.raises(TopDownError, match="E_RANGE"):
        clean.removable(search, "all")


SEARCHING = """import sys, time
from pathlib import Path
from espnet_topdown.cmd.process import StopRequests
from espnet_topdown.files import Lock
with Lock(Path(sys.argv[1]) / "lock"), StopRequests() as stop:
    while True:
        stop.check(), time.sleep(0.05)
"""


def test_cancel_ends_the_search(search: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    line = [sys.executable, "-c", SEARCHING, str(search)]
    running = subprocess.Popen(line, env=env)
    deadline = time.monotonic() + 20
    while not holder(search / "lock"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert clean.cancel(search) == [f"search (pid {running.pid}): told to stop"]
    assert running.wait(30) == 128 + signal.SIGTERM
    assert clean.cancel(search) == ["nothing runs here"]


def test_cancel_ends_jobs_that_were_left_behind(
    search: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path))
    place = search / "m1.1.1" / "q" / "train.log-1"
    place.mkdir(parents=True)
    (place / "submit.json").write_text('{"token": "t", "job": "17", "log": "x"}')
    assert clean.cancel(search) == ["m1.1.1: job 17: cancelled"]
    assert "scancel 17" in (tmp_path / "calls").read_text()


def test_cancel_on_another_machine(
    search: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lock(search / "lock"):
        monkeypatch.setattr(clean.socket, "gethostname", lambda: "elsewhere")
        with pytest.raises(TopDownError, match="E_LOCKED.*on that machine"):
            clean.cancel(search)
