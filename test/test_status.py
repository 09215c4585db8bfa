"""status, cancel, du, clean and decode read nothing but the folder of a search."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import fake_slurm
import pytest

from espnet_topdown.cli import _clean as clean
from espnet_topdown.cli.main import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import Lock, lock_holder
from espnet_topdown.records import Journal
from espnet_topdown.report import write
from espnet_topdown.scoring import decode

REPOSITORY = Path(__file__).parents[1]
GOLDEN = Path(__file__).with_name("golden") / "finished"


@pytest.fixture
def search(tmp_path: Path) -> Path:
    """A search that was stopped while its second retraining ran."""
    folder = tmp_path / "topdown"
    for node in ("m3", "m1.2", "m1.1.1"):
        (folder / node).mkdir(parents=True)
    (folder / "search.yaml").write_text("strategy: greedy\nlayers: [a, b, c]\n")
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


def submit(folder: Path, **more: str) -> None:
    place = folder / "m1.1.1" / "q" / "train.log-1"
    place.mkdir(parents=True)
    job = {"token": "t", "job": "17", "log": "x", **more}
    (place / "submit.json").write_text(json.dumps(job))


def hold(folder: Path, log: str) -> Lock:
    (folder / "m1.1.1" / "train.log").write_text(log)
    lock = Lock(folder / "lock")
    lock.acquire()
    return lock


def begin(folder: Path, log: str = "#\n") -> Lock:
    """A control that the launcher has started, behind it one that waits its turn."""
    held = hold(folder, "")
    for name in ("control.joint", "control.warm"):
        Journal(folder / "journal.jsonl").append("started", node=name)
    (folder / "control.joint").mkdir()
    (folder / "control.joint" / "train.log").write_text(log)
    return held


def silent(folder: Path) -> None:
    path = folder / "m1.1.1" / "progress.json"
    path.write_text(json.dumps({"epoch": 3, "time": "2026-01-01T00:00:00Z"}))
    submit(folder)


def scoring(folder: Path) -> None:
    """It was stopped while the joint model was scored."""
    (folder / "journal.jsonl").unlink()
    Journal(folder / "journal.jsonl").append("started", node="m3")
    for node in ("m1.2", "m1.1.1"):
        shutil.rmtree(folder / node)
    (folder / "m3" / ".done").unlink()
    (folder / "m3" / "train.log").touch()


SCREENS: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: None, "interrupted; the same command continues"),
    (lambda f: None, r"m1\.2 +accepted .*40 errors"),
    (lambda f: None, r"m1\.1\.1 +interrupted +3/40 +the same command continues"),
    (scoring, r"greedy, interrupted; the same command(.*\n)+m3 +interrupted"),
    (lambda f: hold(f, ""), r"running \(pid \d+ on "),
    (lambda f: hold(f, ""), r"m1\.1\.1 +running +3/40 +5 min +this machine"),
    (
        lambda f: hold(f, "# Waiting for a place: held by pid 7 (x in /y) (Sun)\n"),
        r"m1\.1\.1 +waiting .*for a place: held by pid 7 \(x in /y\)",
    ),
    (begin, r"control\.joint +running +this machine +no epoch yet"),
    (begin, r"control\.warm +waiting +for its turn"),
    (lambda f: begin(f).release(), r"(?s)joint +interrupted(?!.*warm)"),
    (submit, "its trainings run on the cluster; the same command takes them over"),
    (submit, r"m1\.1\.1 +running +3/40 +5 min +job 17"),
    (
        lambda f: submit(f, waits="PENDING, Priority"),
        r"m1\.1\.1 +waiting .*job 17 +for PENDING, Priority",
    ),
    (silent, r"m1\.1\.1 +running .*silent for \d+ min"),
    (
        lambda f: Journal(f / "journal.jsonl").append(
            "failed", node="m1.1.1", status=70
        ),
        r"m1\.1\.1 +failed .*status 70, see .*m1\.1\.1/train\.log",
    ),
    (finish, r"finished, best m1\.2 \(m1\.1\.1 \.\.\.\)"),
]


@pytest.mark.parametrize("change, line", SCREENS, ids=[line for _, line in SCREENS])
def test_the_screen(search: Path, change: Callable, line: str, capsys) -> None:
    held = change(search)
    main(["status", str(search)])
    assert re.search(line, capsys.readouterr().out)
    if isinstance(held, Lock):
        held.release()


@pytest.mark.parametrize("verb", ["status", "cancel", "du", "clean", "report", "fsck"])
def test_a_folder_that_is_no_search(verb: str, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, str(tmp_path)])
    assert caught.value.code == 66
    assert "E_NO_SEARCH" in capsys.readouterr().err


def test_du_counts_every_file_once(search: Path, capsys) -> None:
    finish(search)
    (search / "m1.1.1" / "big").write_bytes(b"x" * 2_000_000)
    (search / "best").symlink_to("m1.1.1")
    main(["du", str(search)])
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.split() == last.split()[:2] + ["m1.1.1"] == ["2.0", "MB", "m1.1.1"]


@pytest.mark.parametrize(
    "words, answer, gone",
    [
        ("", "y", True),
        ("--yes", None, True),
        ("--keep best", "", False),
        ("", "no", False),
        ("", None, False),  # nobody to ask
    ],
)
def test_clean_asks_first(
    search: Path, monkeypatch, words: str, answer: str | None, gone: bool
) -> None:
    def ask(question: str) -> str:
        if answer is None:
            raise EOFError
        return answer

    finish(search)
    monkeypatch.setattr("builtins.input", ask)
    before = set(search.rglob("*"))
    main(["clean", str(search), *words.split()])
    missing = {str(p.relative_to(search)) for p in before - set(search.rglob("*"))}
    wanted = {"m1.1.1/checkpoint.pth", "m1.1.1/4epoch.pth"}
    assert missing == (wanted if gone else set())


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
from espnet_topdown.cmd._process import StopRequests
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
    while not lock_holder(search / "lock"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert clean.cancel(search) == [f"search (pid {running.pid}): asked to stop"]
    assert running.wait(30) == 128 + signal.SIGTERM
    assert clean.cancel(search) == ["nothing runs here"]


def test_cancel_ends_jobs_that_were_left_behind(
    search: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    path = fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path))
    submit(search)
    main(["cancel", str(search)])
    assert capsys.readouterr().out == "m1.1.1: job 17: cancelled\n"
    assert "scancel 17" in (tmp_path / "calls").read_text()


def test_cancel_on_another_machine(search: Path, monkeypatch) -> None:
    with Lock(search / "lock"):
        monkeypatch.setattr(clean.socket, "gethostname", lambda: "elsewhere")
        with pytest.raises(TopDownError, match="E_LOCKED.*on that machine"):
            clean.cancel(search)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch) -> list:
    """A finished search in the current folder; gets what is decoded."""
    shutil.copytree(GOLDEN, tmp_path / "exp", symlinks=True)
    monkeypatch.chdir(tmp_path)
    calls: list = []

    def decode_set(exp, model_file, wav_scp, out_dir, text=None, **options) -> dict:
        calls.append((str(wav_scp.parent), str(out_dir), exp, model_file))
        counts = {"ref": 10, "corr": 9, "sub": 1, "del": 0, "ins": 0}
        return {"cer": counts, "wer": counts}

    monkeypatch.setattr(decode, "decode_set", decode_set)
    monkeypatch.setattr(write, "write_report", lambda _, folder: calls.append(folder))
    monkeypatch.setattr("espnet_topdown.cli.installation.check", lambda: None)
    return calls


ALL = {"m3", "m1.2", "m1.1.1", "control.joint", "control.warm"}


@pytest.mark.parametrize(
    "words, names", [("", ALL - {"m1.1.1"}), ("--models all", ALL)]
)
def test_decode_the_models_of_a_search(
    asked: list, capsys, words: str, names: set[str]
) -> None:
    sets = ["dump/raw/test", "dump/raw/org/dev"]
    main(["decode", "exp/search", "--data", *sets, *words.split()])
    *calls, report = asked
    test = [c[1:] for c in calls if c[0] == sets[0]]
    assert [c[0] for c in calls] == [s for s in sets for _ in names]
    assert report == Path("exp/search")
    wanted = {
        f"exp/search/{n}/decode_ctc_greedy/test": Path("exp/search", n) for n in names
    }
    wanted["exp/search/m3/decode_ctc_greedy/test"] = Path("exp/joint")
    assert {place: exp for place, exp, _ in test} == wanted
    assert test[0][0].startswith("exp/search/m3/")
    out = capsys.readouterr().out
    assert "m3 test: CER 10.0 % (1 errors of 10)" in out and "m3 org/dev: " in out
    assert "exp/search/report.html" in out


def test_decode_an_experiment(asked: list, capsys) -> None:
    main(["decode", "exp/joint", "--data", "dump/raw/test", "--model_file", "1"])
    place = "exp/joint/decode_ctc_greedy/test"
    assert asked == [("dump/raw/test", place, Path("exp/joint"), "1")]
    assert capsys.readouterr().out.startswith("test: CER")


@pytest.mark.parametrize(
    "words, status",
    [("", 64), ("--wav_scp a", 64), ("--data a --wav_scp", 64), ("--data a", 78)],
)
def test_decode_which_set(asked: list, capsys, words: str, status: int) -> None:
    Path("exp/search/result.json").unlink()  # E_UNFINISHED
    with pytest.raises(SystemExit) as e:
        main(["decode", "exp/search", *words.split()])
    assert e.value.code == status and asked == []
