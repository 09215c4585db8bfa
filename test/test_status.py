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
from record import unpack

from espnet_topdown.cli import _clean as clean
from espnet_topdown.cli.main import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import Lock, lock_holder
from espnet_topdown.records import Journal
from espnet_topdown.report import write
from espnet_topdown.scoring import decode

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def search(tmp_path: Path, monkeypatch) -> Path:
    """A search that was stopped while its second retraining ran."""
    monkeypatch.chdir(tmp_path)
    unpack("interrupted")
    state = {"epoch": 3, "max_epoch": 40, "eta_seconds": 300.0}
    Path("exp/search/m1.1.1/progress.json").write_text(json.dumps(state))
    return Path("exp/search")


def finish(folder: Path) -> None:
    """Another search, in its place."""
    shutil.rmtree("exp")
    unpack("finished")


def submit(folder: Path, waits: str = "") -> None:
    place = folder / "m1.1.1" / "q" / "train.log-1"
    place.mkdir(parents=True)
    job = {"token": "t", "job": "17", "log": "x"}
    (place / "submit.json").write_text(json.dumps({**job, "waits": waits}))


def hold(folder: Path, log: str) -> Lock:
    (folder / "m1.1.1" / "train.log").write_text(log)
    lock = Lock(folder / "lock")
    lock.acquire()
    return lock


def begin(folder: Path) -> Lock:
    """A control that the launcher has started, behind it one that waits its turn."""
    held = hold(folder, "")
    for name in ("control.joint", "control.warm"):
        Journal(folder / "journal.jsonl").append("started", node=name)
    (folder / "control.joint").mkdir()
    (folder / "control.joint" / "train.log").write_text("#\n")
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
    for name in (".done", "score.json"):
        (folder / "m3" / name).unlink()
    (folder / "m3" / "train.log").touch()


def stopped(folder: Path) -> None:
    begin(folder).release()


def failed(folder: Path) -> None:
    journal = Journal(folder / "journal.jsonl")
    journal.append("failed", node="m1.1.1", status=70)


WAITS = "# Waiting for a place: held by pid 7 (x in /y) (Sun)\n"


@pytest.mark.parametrize(
    "change, args, line",
    [
        (None, [], "interrupted; the same command continues"),
        (None, [], r"m1\.2 +accepted .* 7 errors"),
        (None, [], r"m1\.1\.1 +interrupted +3/40 +the same command continues"),
        (scoring, [], r"greedy, interrupted; the same command(.*\n)+m3 +interrupted"),
        (hold, [""], r"running \(pid \d+ on "),
        (hold, [""], r"m1\.1\.1 +running +3/40 +5 min +this machine"),
        (hold, [WAITS], r"m1\.1\.1 +waiting .*for a place: held by pid 7 \(x in /y\)"),
        (begin, [], r"control\.joint +running +this machine +no epoch yet"),
        (begin, [], r"control\.warm +waiting +for its turn"),
        (stopped, [], r"(?s)joint +interrupted(?!.*warm)"),
        (submit, [], "trainings run on the cluster; the same command takes them over"),
        (submit, [], r"m1\.1\.1 +running +3/40 +5 min +job 17"),
        (submit, ["PENDING, Why"], r"m1\.1\.1 +waiting .*job 17 +for PENDING, Why"),
        (silent, [], r"m1\.1\.1 +running .*silent for \d+ min"),
        (failed, [], r"m1\.1\.1 +failed .*status 70, see .*m1\.1\.1/train\.log"),
        (finish, [], r"finished, best m1\.2 \(m1\.1\.1 is worse: 41 > 40"),
    ],
)
def test_the_screen(search: Path, change: Callable | None, args, line, capsys) -> None:
    held = change(search, *args) if change else None
    main(["status", str(search)])
    assert re.search(line, capsys.readouterr().out)
    if held:
        held.release()


@pytest.mark.parametrize("verb", ["status", "cancel", "du", "clean", "report", "fsck"])
def test_a_folder_that_is_no_search(verb: str, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, str(tmp_path)])
    assert caught.value.code == 66
    assert "E_NO_SEARCH" in capsys.readouterr().err


def test_du_counts_every_file_once(search: Path, capsys) -> None:
    finish(search)
    (search / "m1.2" / "big").write_bytes(b"x" * 2_000_000)
    main(["du", str(search)])
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.split() == ["2.0", "MB", "m1.2"], "best is a link to it"
    assert last.split()[0] in ("2.0", "2.1", "2.2")


@pytest.mark.parametrize(
    "words, answer, gone",
    [
        ("", "y", True),
        ("--yes", "", True),
        ("--keep best", "", False),
        ("", "no", False),
        ("", "nobody to ask", False),
    ],
)
def test_clean_asks_first(search: Path, monkeypatch, words, answer, gone) -> None:
    def ask(question: str) -> str:
        if answer == "nobody to ask":
            raise EOFError
        return answer

    finish(search)
    monkeypatch.setattr("builtins.input", ask)
    before = set(search.rglob("*"))
    main(["clean", str(search), *words.split()])
    others = re.compile(r".*/(m1\.1\.1|control\.\w+)/(\d+epoch|checkpoint)\.pth")
    models = {p for p in before if others.fullmatch(str(p))}
    assert before - set(search.rglob("*")) == (models if gone else set())


def test_clean_refuses_what_is_not_finished_or_runs(search: Path, monkeypatch) -> None:
    with pytest.raises(TopDownError, match="E_UNFINISHED"):
        clean.removable(search)
    finish(search)
    before, lock = set(search.rglob("*.pth")), Lock(search / "lock")
    monkeypatch.setattr("builtins.input", lambda question: lock.acquire() and "y")
    with pytest.raises(SystemExit, match="75"):
        main(["clean", str(search)])  # it began while the question was open
    assert set(search.rglob("*.pth")) == before
    with pytest.raises(TopDownError, match="E_LOCKED"):
        clean.removable(search)
    lock.release()
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
    monkeypatch.chdir(tmp_path)
    unpack("finished")
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
    assert [c[0] for c in calls] == [s for s in sets for _ in names]
    assert report == Path("exp/search")
    places = {name: f"exp/search/{name}/decode_ctc_greedy/test" for name in names}
    experiments = {place: Path("exp/search", name) for name, place in places.items()}
    experiments[places["m3"]] = Path("exp/joint")
    test = [(place, exp) for folder, place, exp, _ in calls if folder == sets[0]]
    assert test[0][0] == places["m3"] and dict(test) == experiments
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
    [
        ("", 64),
        ("--wav_scp a", 64),
        ("--data a --wav_scp", 64),
        ("--data a --text a/text", 64),
        ("--data a --model_file 1", 64),
        ("--data a", 78),
    ],
)
def test_decode_which_set(asked: list, capsys, words: str, status: int) -> None:
    Path("exp/search/result.json").unlink()  # E_UNFINISHED
    with pytest.raises(SystemExit) as e:
        main(["decode", "exp/search", *words.split()])
    assert e.value.code == status and asked == []
