"""Kill, or fail, every file system call of a search: what is there stays true.

A child process runs a whole search (the real driver, jobs, journal; only training and
decoding are fakes). strace attaches to it and kills it at the n-th call that concerns
files, or lets that call, or all from it on, fail with ENOSPC or EIO. A sample of the
points is tried; with TOPDOWN_KILL_POINTS=200 so many of each kind, with =all every one.
"""

from __future__ import annotations

import collections
import contextlib
import io
import json
import mmap
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from finished_search import make_search, search_here
from toys import write_joint

from espnet_topdown.errors import command
from espnet_topdown.records import Journal, check_seal
from espnet_topdown.search.state import RESULT, is_finished

POINTS = os.environ.get("TOPDOWN_KILL_POINTS", "")
SECONDS = 24 * 3600 if POINTS else 1800
pytestmark = [
    pytest.mark.espnet,
    pytest.mark.nightly,
    pytest.mark.timeout(SECONDS),
    pytest.mark.skipif(shutil.which("strace") is None, reason="no strace"),
]
CALLS = "openat,write,pwrite64,fsync,rename,mkdir,unlink,flock,ftruncate,symlink"
WRITES = "write,pwrite64,fsync,rename,mkdir,ftruncate,symlink"
ONCE = f"openat,{WRITES}"  # of these, the calls that make a file
SEARCH = Path("exp/search")
SAYS = re.compile(r"^E_DISK: .+: need [1-9]\d* B, free \d+ B at \S+\. Do: ", re.M)
NO_MATTER = re.compile(r"/(log|lock|\.lock)>")  # the screen; the name in a lock


class Stderr(io.TextIOBase):
    """The last words go to memory that is shared with the test, not to a file."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory

    def write(self, text: str) -> int:
        self.memory.write(text.encode()[: len(self.memory) - self.memory.tell()])
        os.write(2, text.encode())
        return len(text)

    def fileno(self) -> int:
        return 2


def run(folder: Path, *strace: str) -> tuple[int, str]:
    """The search in a fork, under strace if options are given: status, last words."""
    ready, go = os.pipe()
    memory = mmap.mmap(-1, 1 << 16)
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.chdir(folder)
            log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(log, 1), os.dup2(log, 2)
            sys.stderr = Stderr(memory)
            os.read(ready, 1)
            command(lambda cmd: search_here())()
            status = 0
        except SystemExit as e:
            status = e.code
        except BaseException as e:
            memory.write(f"{type(e).__name__}: {e}\n".encode())
        finally:
            os._exit(status)
    tracer = attach(child, folder, strace) if strace else None
    os.write(go, b"x")
    _, how = os.waitpid(child, 0)
    os.close(ready), os.close(go)
    if tracer is not None:
        tracer.wait(timeout=20)
    died = os.WIFSIGNALED(how)
    status = 128 + os.WTERMSIG(how) if died else os.WEXITSTATUS(how)
    said = memory[:].rstrip(b"\0").decode(errors="replace")
    return status, said[-2000:]


def attach(child: int, folder: Path, options: tuple[str, ...]) -> subprocess.Popen:
    call = ["strace", "-y", "-p", str(child), "-o", str(folder / "trace"), *options]
    tracer = subprocess.Popen(call, stderr=subprocess.PIPE, text=True)
    line = tracer.stderr.readline()
    if "attached" not in line:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.skip(f"strace may not attach here: {line.strip()}")
    return tracer


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    make_search(tmp_path_factory.mktemp("once"))  # all is imported before the forks
    root = tmp_path_factory.mktemp("base")
    with contextlib.chdir(root):
        write_joint()
    return root


def points(n: int, count: int) -> list[int]:
    """``count`` of ``n`` calls, evenly; at night more, or all."""
    count = n if POINTS == "all" else min(n, int(POINTS or count))
    return [(2 * i + 1) * n // (2 * count) for i in range(count)]


def calls(base: Path, tmp_path: Path, names: str) -> list[tuple[str, int]]:
    """The calls of one search: their names, each with its own count, as strace has."""
    folder = fresh(base, tmp_path)
    status, said = run(folder, "-e", f"trace={names}")
    assert status == 0, said
    traced = (folder / "trace").read_text().splitlines()
    check(folder)
    seen: collections.Counter = collections.Counter()
    found = []
    for line in traced:
        name = line.partition("(")[0]
        if name in names.split(","):
            seen[name] += 1
            if names == CALLS or name != "openat" or "O_CREAT" in line:
                found.append((name, seen[name]))
    return found


def fresh(base: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "w"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder, symlinks=True)
    return folder


def legal(folder: Path) -> None:
    """Before the search goes on: nothing is half-written under its final name."""
    search = folder / SEARCH
    if not search.is_dir():
        return
    Journal(search / "journal.jsonl").events()  # a torn last line is left out
    with contextlib.chdir(folder):
        for done in SEARCH.glob("*/.done"):
            assert done.stat().st_size > 20 and check_seal(done.parent) == []
        if (SEARCH / RESULT).exists():
            json.loads((SEARCH / RESULT).read_text())
            assert is_finished(SEARCH)


def check(folder: Path, kills: int = 1) -> None:
    """The search has ended with the right result, and fsck finds nothing."""
    from espnet_topdown.cli._fsck import fsck

    with contextlib.chdir(folder):
        result = json.loads((SEARCH / RESULT).read_text())
        assert (result["best"], result["path"][-1]) == ("m1.2", "m1.1.1")
        assert os.readlink(SEARCH / "best") == "m1.2"
        assert fsck(SEARCH, repair=True).problems == []
        work = collections.Counter(Path("work").read_text().split("\n")[:-1])
        # one line an epoch: two retrainings of four
        repeated = sum(work.values()) - 8
        assert 0 <= repeated <= kills, work


def killed(folder: Path, name: str, n: int) -> bool:
    """Kill the search at a call; False if it ended before."""
    how = f"inject={name}:signal=SIGKILL:when={n}"
    status, said = run(folder, "-e", f"trace={CALLS}", "-e", how)
    if status == 0:  # a run has a few calls more or less than another
        return False
    assert status == 128 + signal.SIGKILL, f"{name} {n}: {status} {said}"
    legal(folder)
    return True


def continued(folder: Path, kills: int = 1) -> None:
    """The same command, undisturbed, brings the search to its end."""
    status, said = run(folder)
    assert status == 0, said
    check(folder, kills)


@contextlib.contextmanager
def counted(point: object, wrong: list[str]) -> Iterator[None]:
    """One point more; a violation does not end the campaign."""
    try:
        yield
    except AssertionError as e:
        wrong.append(f"{point}: {e}")


@pytest.mark.parametrize("kills, count", [(1, 16), (2, 5)])
def test_killed_at_a_call(base, tmp_path, kills, count):
    """Once, or once more while it continues."""
    known, wrong, done = calls(base, tmp_path, CALLS), [], 0
    assert len(known) > 150
    rng, tried = random.Random(1), points(len(known), count)
    for at in tried:
        later = collections.Counter(name for name, _ in known[at:])
        again = rng.choice(sorted(later.elements()))
        where = [known[at], (again, rng.randint(1, later[again]))][:kills]
        folder = fresh(base, tmp_path)
        with counted(where, wrong):
            done += all(killed(folder, *call) for call in where)
            continued(folder, kills)
    assert not wrong, "\n".join(wrong)
    assert done > len(tried) / 3


def spoilt(folder: Path) -> list[str]:
    """The calls that were made to fail and that matter."""
    lines = (folder / "trace").read_text().splitlines()
    made = {line.partition(" ")[0] for line in lines if line.endswith(" = 0")}
    failed = [line for line in lines if "(INJECTED)" in line]
    failed = [line for line in failed if line.partition(" ")[0] not in made]  # mkdir
    return [line for line in failed if not NO_MATTER.search(line)]


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("how", ["once", "from then on"])
def test_a_call_that_fails(base, tmp_path, error, how):
    """Status 74, with the bytes that are needed and free; then all goes on."""
    names = ONCE if how == "once" else WRITES
    known, wrong = calls(base, tmp_path, names), []
    for name, n in (known[at] for at in points(len(known), 5)):
        folder = fresh(base, tmp_path)
        when = f"{n}{'+' if how == 'from then on' else ''}"
        inject = f"inject={name}:error={error}:when={when}"
        with counted([name, n], wrong):
            status, said = run(folder, "-e", f"trace={names}", "-e", inject)
            legal(folder)
            if spoilt(folder):
                assert status == 74, f"{status} {said} {spoilt(folder)[0]}"
                assert SAYS.search(said), said
            else:  # a line on the screen, or the name in a lock
                assert status in (0, 74), f"{status} {said}"
            continued(folder)
    assert not wrong, "\n".join(wrong)
