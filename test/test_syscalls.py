"""Kill, or fail, every file system call of a search: what is there stays true.

A child process runs a whole search (the real driver, jobs, journal; only training and
decoding are fakes). strace attaches to it and kills it at the n-th call that concerns
files, or lets that call, or all from it on, fail with ENOSPC or EIO. A sample of the
points is tried; with TOPDOWN_KILL_POINTS=all every one. TOPDOWN_CAMPAIGN_LOG=FILE gets
the figures.
"""

from __future__ import annotations

import collections
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from finished_search import make_base, make_search, search_here

from espnet_topdown.errors import TopDownError
from espnet_topdown.journal import Journal
from espnet_topdown.result import RESULT, is_finished
from espnet_topdown.seal import check_seal

pytestmark = [pytest.mark.espnet, pytest.mark.slow, pytest.mark.timeout(3600)]
CALLS = "openat,write,pwrite64,fsync,rename,mkdir,unlink,flock,ftruncate,symlink"
WRITES = "write,pwrite64,fsync,rename,mkdir,ftruncate,symlink"
ALL = os.environ.get("TOPDOWN_KILL_POINTS") == "all"
SEARCH = Path("exp/search")
figures: dict[str, list[float]] = collections.defaultdict(list)


@pytest.fixture(scope="module", autouse=True)
def tell():
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    yield
    if "TOPDOWN_CAMPAIGN_LOG" in os.environ:
        with open(os.environ["TOPDOWN_CAMPAIGN_LOG"], "a") as f:
            f.write(json.dumps(figures) + "\n")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    make_search(tmp_path_factory.mktemp("once"))  # all is imported before the forks
    root = tmp_path_factory.mktemp("base")
    make_base(root)
    return root


def run(folder: Path, *strace: str) -> int:
    """The search in a fork, under strace if options are given; its exit status."""
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.chdir(folder)
            log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(log, 1), os.dup2(log, 2)
            os.read(ready, 1)
            search_here()
            status = 0
        except TopDownError as e:
            os.write(2, f"{e}\n".encode())
            status = e.status
        except BaseException as e:
            os.write(2, f"{type(e).__name__}: {e}\n".encode())
        finally:
            os._exit(status)
    tracer = attach(child, folder, strace) if strace else None
    os.write(go, b"x")
    _, how = os.waitpid(child, 0)
    os.close(ready), os.close(go)
    if tracer is not None:
        tracer.wait(timeout=20)
    return 128 + os.WTERMSIG(how) if os.WIFSIGNALED(how) else os.WEXITSTATUS(how)


def attach(child: int, folder: Path, options: tuple[str, ...]) -> subprocess.Popen:
    call = ["strace", "-p", str(child), "-o", str(folder / "trace"), *options]
    tracer = subprocess.Popen(call, stderr=subprocess.PIPE, text=True)
    line = tracer.stderr.readline()
    if "attached" not in line:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.skip(f"strace may not attach here: {line.strip()}")
    return tracer


def points(calls: list, count: int) -> list:
    """``count`` of the calls, evenly; all of them at night."""
    return calls[:: 1 if ALL else max(1, len(calls) // count)]


def calls(base: Path, tmp_path: Path, names: str) -> list[tuple[str, int]]:
    """The calls of one search: their names, each with its own count, as strace has."""
    folder = fresh(base, tmp_path)
    assert run(folder, "-e", f"trace={names}") == 0, (folder / "log").read_text()
    traced = (folder / "trace").read_text().splitlines()
    check(folder)
    seen: collections.Counter = collections.Counter()
    found = []
    for line in traced:
        name = line.partition("(")[0]
        if name in names.split(","):
            seen[name] += 1
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
    here = os.getcwd()
    os.chdir(folder)
    try:
        for done in SEARCH.glob("*/.done"):
            assert done.stat().st_size > 20 and check_seal(done.parent) == []
        if (SEARCH / RESULT).exists():
            json.loads((SEARCH / RESULT).read_text())
            assert is_finished(SEARCH)
    finally:
        os.chdir(here)


def check(folder: Path) -> None:
    """The search has ended with the right result, and fsck finds nothing."""
    from espnet_topdown.fsck import fsck

    here = os.getcwd()
    os.chdir(folder)
    try:
        result = json.loads((SEARCH / RESULT).read_text())
        assert (result["best"], result["path"][-1]) == ("m1.2", "m1.1.1")
        assert os.readlink(SEARCH / "best") == "m1.2"
        report = fsck(SEARCH, repair=True)
        assert report.found == []
        work = collections.Counter(Path("work").read_text().split("\n")[:-1])
        # one line an epoch: two retrainings of four
        repeated = sum(work.values()) - 8
        assert 0 <= repeated <= 1, work
        figures["epochs repeated"].append(repeated)
    finally:
        os.chdir(here)


def test_killed_at_a_call(base, tmp_path):
    known = calls(base, tmp_path, CALLS)
    assert len(known) > 150
    for name, n in points(known, 16):
        folder = fresh(base, tmp_path)
        how = f"inject={name}:signal=SIGKILL:when={n}"
        status = run(folder, "-e", f"trace={CALLS}", "-e", how)
        if status == 0:  # a run has a few calls more or less than another
            figures["not reached"].append(n)
            continue
        assert status == 128 + signal.SIGKILL, (name, n)
        legal(folder)
        begun = time.perf_counter()
        assert run(folder) == 0, f"{name} {n}: {(folder / 'log').read_text()[-2000:]}"
        figures["recovery seconds"].append(time.perf_counter() - begun)
        check(folder)
        figures["killed at a call"].append(n)
    figures["calls"].append(len(known))
    assert len(figures["killed at a call"]) > 2 * len(figures["not reached"])


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("how", ["once", "from then on"])
def test_a_call_that_fails(base, tmp_path, error, how):
    known = calls(base, tmp_path, WRITES)
    for name, n in points(known, 4):
        folder = fresh(base, tmp_path)
        when = f"{n}{'+' if how == 'from then on' else ''}"
        inject = f"inject={name}:error={error}:when={when}"
        status = run(folder, "-e", f"trace={WRITES}", "-e", inject)
        assert status in (0, 70, 73, 74, 75), (name, n)
        legal(folder)
        if status == 0:  # the call was of no importance, such as a line on the screen
            check(folder)
        assert run(folder) == 0, f"{name} {n}: {(folder / 'log').read_text()[-2000:]}"
        check(folder)
        figures[f"{error}, {how}"].append(status)
