"""One holder of a file at a time, for as long as the lock's lifetime says."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import Lock, has_locks, holder, name_of

HOLD = """
import sys, time
from espnet_topdown.files import Lock
from espnet_topdown.errors import TopDownError
try:
    with Lock(*sys.argv[1:3], doing="this and that"):
        print("held", flush=True)
        time.sleep(30)
except TopDownError as e:
    print(e.status, e, flush=True)
"""
LIFETIMES = ("family", "process")


def start(path: Path, lifetime: str) -> subprocess.Popen:
    words = [sys.executable, "-c", HOLD, str(path), lifetime]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("lifetime", LIFETIMES)
def test_of_many_starters_one_gets_the_lock(tmp_path: Path, lifetime: str) -> None:
    path = tmp_path / "a b" / "lock"
    children = [start(path, lifetime) for _ in range(4)]
    try:
        said = [child.stdout.readline() for child in children]
        winners = [c for c, s in zip(children, said) if s == "held\n"]
        assert len(winners) == 1
        losers = [s for s in said if s != "held\n"]
        assert all(s.startswith("75 E_LOCKED") for s in losers)
        assert all(f"pid {winners[0].pid} on " in s for s in losers)
        assert all("(this and that)" in s for s in losers)
        assert holder(path)["pid"] == winners[0].pid
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert holder(path) == {}, "the dead do not hold it, though it has their name"
    with Lock(path, lifetime):
        pass


@pytest.mark.parametrize("lifetime, free", [("family", False), ("process", True)])
def test_what_a_fork_keeps_of_a_killed_holder(tmp_path, lifetime, free) -> None:
    """A fork, as a loader's worker is, is of the family and another process."""
    read, write = os.pipe()
    first = os.fork()
    if first == 0:
        with Lock(tmp_path / "lock", lifetime):
            worker = os.fork()
            if worker:
                os.write(write, b"%d\n" % worker)
            time.sleep(60)
        os._exit(0)
    with os.fdopen(read) as pipe:
        worker = int(pipe.readline())
    try:
        with pytest.raises(TopDownError, match="E_LOCKED"):
            Lock(tmp_path / "lock", lifetime).__enter__()
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
        lock = Lock(tmp_path / "lock", lifetime)
        assert lock.take() == free
    finally:
        os.kill(worker, signal.SIGKILL)
        os.close(write)
    with Lock(tmp_path / "lock", lifetime, wait_seconds=10):
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


def test_programs_that_are_started_do_not_inherit_the_lock(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock"):
        child = subprocess.Popen(["sleep", "30"])
    try:
        with Lock(tmp_path / "lock"):
            pass
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("lifetime, call", [("family", "flock"), ("process", "lockf")])
def test_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch, caplog, lifetime, call
) -> None:
    def unsupported(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, call, unsupported)
    with Lock(tmp_path / "lock", lifetime):
        pass
    assert "W_LOCK_NOT_ENFORCED" in caplog.text


def test_whether_a_folder_has_locks(tmp_path: Path, monkeypatch) -> None:
    assert has_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not has_locks(tmp_path / "none")
    monkeypatch.setattr(fcntl, "flock", lambda fd, how: None)
    assert not has_locks(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "exp").touch()
    with pytest.raises(TopDownError, match="E_CREATE") as e:
        Lock(tmp_path / "exp" / "lock").__enter__()
    assert e.value.status == 73


def test_a_holder_that_has_not_signed_yet() -> None:
    assert name_of({}) == "another process"
