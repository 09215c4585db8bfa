"""The way to the disk: strict YAML and JSON, whole files, durable files, locks."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from espnet_topdown import files
from espnet_topdown.cmd._submission import Submission
from espnet_topdown.cmd.local import parse
from espnet_topdown.cmd.node import _write_status
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import (
    Lock,
    holder_name,
    lock_holder,
    read_json,
    read_yaml,
    supports_locks,
    write_bytes,
    write_json,
    write_yaml,
)
from espnet_topdown.models.weights import save_weights
from espnet_topdown.records import Journal


@pytest.mark.parametrize(
    "text, data",
    [
        ("lr: 1e-3\nt: [1e5, 1.0e5]", {"lr": "1e-3", "t": ["1e5", "1.0e5"]}),
        ("lr: 1.0e-3\nn: 5", {"lr": 0.001, "n": 5}),
        ("\ufeffa: b", {"a": "b"}),
        ("name: 1e-3x", {"name": "1e-3x"}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
    ],
)
def test_what_is_read(tmp_path, text, data):
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_yaml(path) == data
    read_yaml(path)["a"] = 0
    assert read_yaml(path) == data, "what was read before is not shared"
    path.write_text("z: [3]\n")
    assert read_yaml(path) == {"z": [3]}, "nor stale"


TOO_LARGE = b" " * (files.MAX_BYTES + 1)


@pytest.mark.parametrize(
    "raw, message, status",
    [
        (b"a: {b: 1, b: 2}", "E_YAML_DUP", 78),
        (b"a: \xff", "E_UTF8: .*line 1", 65),
        (b"a: " + b"[" * 3000 + b"]" * 3000, "E_YAML: .*too deep", 78),
        pytest.param(TOO_LARGE, "E_TOO_LARGE.*8000001 bytes", 65, id="too large"),
    ],
)
def test_what_is_refused(tmp_path, raw, message, status):
    """More of it is in test/catalogue.yaml, rows 19 to 24."""
    path = tmp_path / "a.yaml"
    path.write_bytes(raw)
    with pytest.raises(TopDownError, match=message) as e:
        read_yaml(path)
    assert e.value.status == status


def test_broken_json_names_the_line(tmp_path):
    (tmp_path / "a.json").write_text('{\n"a": \n}')
    with pytest.raises(TopDownError, match="E_JSON: .*line 3"):
        read_json(tmp_path / "a.json")


def test_what_is_written_is_read(tmp_path):
    shared = [1, 2]
    words = ["1e-3", "no", "~", "null", "*a", "&a", "ñ", "a: b", "# c"]
    data = {"z": shared, "a": shared, "words": words}
    write_yaml(tmp_path / "a.yaml", data)
    assert read_yaml(tmp_path / "a.yaml") == data
    text = (tmp_path / "a.yaml").read_text(encoding="utf-8")
    assert text.index("z:") < text.index("a:") and "&id" not in text and "ñ" in text


def test_a_link_replaces_a_link_and_what_a_killed_process_left(tmp_path):
    best, left = tmp_path / "best", tmp_path / f".best.{os.getpid()}.tmp"
    best.symlink_to("m5"), left.symlink_to("m3")
    files.link("m1.4", best)
    assert os.readlink(best) == "m1.4" and os.listdir(tmp_path) == ["best"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "a.json"
    write_bytes(path, b"old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        *((files.Path, "open") if call == "write" else (os, call)), full
    )
    with pytest.raises(TopDownError, match="E_DISK.*No space left.*need 3 B") as e:
        write_bytes(path, b"new")
    monkeypatch.undo()
    assert e.value.status == 74
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: write_bytes(folder / "none" / "a.json", b"x"),
        lambda folder: Lock(folder / "file" / "lock").__enter__(),
        lambda folder: Journal(folder / "none" / "journal.jsonl").append("x"),
    ],
)
def test_a_folder_that_cannot_be_written(tmp_path, write):
    (tmp_path / "file").touch()
    with pytest.raises(TopDownError, match="E_CREATE") as e:
        write(tmp_path)
    assert e.value.status == 73


# Durable means: write, fsync, rename, fsync of the folder, in this order. A killed
# process loses nothing that it has written, so that only the order of the calls shows
# whether a power failure would.


def a_submission(root: Path) -> None:
    made = Submission(parse([str(root / "a.log"), "true"]))
    made.folder.mkdir(parents=True)
    made.prepare("SLURM_ARRAY_TASK_ID")


def a_checkpoint(root: Path) -> None:
    from espnet_topdown.trainer._checkpoints import save  # imports ESPnet

    save({"w": torch.zeros(3)}, root / "1epoch.pth")


@pytest.fixture
def calls(monkeypatch, tmp_path):  # pytest writes when it makes the first folder
    """The names of the calls, as they come."""
    seen: list[str] = []
    fsync, replace, write = os.fsync, os.replace, os.write

    def synced(fd):
        is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        seen.append("fsync folder" if is_folder else f"fsync {os.fstat(fd).st_size}")
        fsync(fd)

    def replaced(a, b, **options):
        seen.append(f"rename {os.stat(a).st_size}")
        replace(a, b, **options)

    def written(fd, data):
        seen.append("write")
        return write(fd, data)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "write", written)
    return seen


@pytest.mark.parametrize(
    "write, names",
    [
        (lambda root: write_json(root / "a.json", {"a": 1}), ["a.json"]),
        (lambda root: save_weights({"w": torch.ones(3)}, root / "a.pth"), ["a.pth"]),
        (a_checkpoint, ["1epoch.pth"]),
        (lambda root: _write_status(root / "rc.1", 0), ["rc.1"]),
        (a_submission, ["q/*/request.json", "q/*/job.sh"]),
    ],
)
def test_a_file_is_durable(
    calls: list[str], tmp_path: Path, write: Callable, names: list[str]
) -> None:
    write(tmp_path)
    sizes = [next(tmp_path.glob(name)).stat().st_size for name in names]
    steps = [[f"fsync {n}", f"rename {n}", "fsync folder"] for n in sizes]
    assert calls == sum(steps, [])


def test_a_journal_is_durable(calls: list[str], tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append("search_open")
    assert calls == ["write", f"fsync {path.stat().st_size}", "fsync folder"]
    calls.clear()
    journal.append("started", node="m3")
    assert calls == ["write", f"fsync {path.stat().st_size}"]


# One holder of a file at a time, for as long as the lock's lifetime says.

HOLD = """
import sys, time
from pathlib import Path
from espnet_topdown.files import Lock
from espnet_topdown.errors import TopDownError
try:
    with Lock(Path(sys.argv[1]), sys.argv[2], doing="this and that"):
        print("held", flush=True)
        time.sleep(30)
except TopDownError as e:
    print(e.status, e, flush=True)
"""


@pytest.mark.parametrize("lifetime", ["family", "process"])
def test_of_many_starters_one_gets_the_lock(tmp_path: Path, lifetime: str) -> None:
    path = tmp_path / "a b" / "lock"
    words = [sys.executable, "-c", HOLD, str(path), lifetime]
    children = [
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    try:
        lines = [child.stdout.readline() for child in children]
        (winner,) = [c for c, line in zip(children, lines) if line == "held\n"]
        lines.remove("held\n")
        said = re.compile(rf"75 E_LOCKED.*pid {winner.pid} on .*\(this and that\)")
        assert all(said.match(line) for line in lines)
        assert lock_holder(path)["pid"] == winner.pid
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert lock_holder(path) == {}, "the dead do not hold it, though it has their name"
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
        assert lock.acquire() == free
    finally:
        os.kill(worker, signal.SIGKILL)
        os.close(write)
    with Lock(tmp_path / "lock", lifetime, wait_seconds=10):
        pass


def test_lock_is_free_after_the_block_and_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(RuntimeError), Lock(path):
        raise RuntimeError
    with Lock(path):  # a program that is started does not inherit it
        child = subprocess.Popen(["sleep", "30"])
        assert json.loads(path.read_text())["pid"] == os.getpid()
    try:
        assert path.read_text() == "" and Lock(path).acquire()
    finally:
        child.kill()
        child.wait()
    assert holder_name({}) == "another process"  # one that has not signed yet
    os.truncate(path, 0)  # or cannot: a full disk
    with pytest.raises(TopDownError, match="E_LOCKED: .* held by another process"):
        Lock(path, wait_seconds=1.5).__enter__()


@pytest.mark.parametrize("lifetime, call", [("family", "flock"), ("process", "lockf")])
def test_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch, caplog, lifetime, call
) -> None:
    def unsupported(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    assert supports_locks(tmp_path) and not supports_locks(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(fcntl, call, unsupported)
    with Lock(tmp_path / "lock", lifetime):
        pass
    assert "W_LOCK_NOT_ENFORCED" in caplog.text
    monkeypatch.setattr(fcntl, "flock", lambda fd, how: None)
    assert not supports_locks(tmp_path), "nor where a second holder is let in"
