"""The lock of a search folder admits one process."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_topdown import records as journal_module
from espnet_topdown.errors import TopDownError
from espnet_topdown.records import Lock

HOLD = """
import sys, time
from espnet_topdown.records import Lock
from espnet_topdown.errors import TopDownError
try:
    with Lock(sys.argv[1]):
        print("held", flush=True)
        time.sleep(30)
except TopDownError as e:
    print(e.status, e, flush=True)
"""


def holder(path: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )


def test_of_many_starters_one_gets_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a b" / "lock"
    children = [holder(path) for _ in range(6)]
    try:
        said = [child.stdout.readline() for child in children]
        winners = [c for c, s in zip(children, said) if s == "held\n"]
        assert len(winners) == 1
        losers = [s for s in said if s != "held\n"]
        assert all(s.startswith("75 E_LOCKED") for s in losers)
        assert all(f"pid {winners[0].pid} on " in s for s in losers)
    finally:
        for child in children:
            child.kill()
            child.communicate()
    with Lock(path):  # the dead do not hold it
        pass


def test_lock_is_free_after_the_block_and_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(RuntimeError), Lock(path):
        with pytest.raises(TopDownError, match=f"E_LOCKED.*pid {os.getpid()} "):
            Lock(path).__enter__()
        raise RuntimeError
    with Lock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert path.read_text() == ""


def test_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock"):
        child = subprocess.Popen(["sleep", "30"])
    try:
        with Lock(tmp_path / "lock"):
            pass
    finally:
        child.kill()
        child.wait()


def test_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unsupported(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(journal_module.fcntl, "flock", unsupported)
    with Lock(tmp_path / "lock"):
        pass
    assert "W_LOCK_NOT_ENFORCED" in caplog.text


def test_whether_a_folder_has_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert journal_module.has_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not journal_module.has_locks(tmp_path / "none")
    monkeypatch.setattr(journal_module.fcntl, "flock", lambda fd, how: None)
    assert not journal_module.has_locks(tmp_path)
