"""What a launcher writes and reads where nothing is submitted."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from espnet_topdown.cmd.local import parse
from espnet_topdown.cmd.process import StopRequests
from espnet_topdown.cmd.submission import Submission
from espnet_topdown.cmd.task import Task
from espnet_topdown.errors import TopDownError


def submission(folder: Path) -> Submission:
    return Submission(parse([str(folder / "a.log"), "true"]))


def test_no_folder_can_be_made(tmp_path):
    (tmp_path / "q").write_text("a file")
    with pytest.raises(TopDownError, match="E_CREATE: cannot write .*/q/") as e:
        submission(tmp_path).lock(0)
    assert e.value.status == 73


def test_one_launcher_a_call(tmp_path):
    with submission(tmp_path).lock(0):
        with pytest.raises(TopDownError, match=f"E_LOCKED.*pid {os.getpid()}.*a.log"):
            submission(tmp_path).lock(0).__enter__()
    with submission(tmp_path).lock(0):
        pass


def test_a_log_that_cannot_be_written(tmp_path, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TopDownError, match="E_DISK: cannot write .*a.log") as e:
        Task(str(tmp_path / "a.log"), ["true"]).start()
    assert e.value.status == 74


def test_the_logs_of_earlier_runs_move_on(tmp_path):
    log = tmp_path / "a.log"
    files = []
    for n in range(3):
        task = Task(str(log), ["echo", str(n)])
        task.start()
        files.append(os.stat(log).st_ino)
        task.process.wait()
        assert task.ended() and task.status == 0
    names = [log, tmp_path / "a.log.1", tmp_path / "a.log.2"]
    assert [p.stat().st_ino for p in names] == files[::-1]
    assert [Task(str(p), []).tail(1) for p in names] == [["2"], ["1"], ["0"]]


def test_nothing_is_begun_after_a_signal():
    begun = []
    with StopRequests() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit, match="143"):
            stop.call(begun.append, 1)
    assert begun == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_may_be_interrupted(number, request):
    before = signal.signal(number, signal.SIG_DFL)  # nohup has it ignored
    request.addfinalizer(lambda: signal.signal(number, before))
    went_on = []

    def work() -> None:
        os.kill(os.getpid(), number)
        went_on.append(1)

    with StopRequests() as stop:
        with pytest.raises(SystemExit, match=str(128 + number)):
            stop.call(work)
        with pytest.raises(SystemExit):
            stop.call(work)
    assert went_on == []
