"""SIGKILL a search, or one of its jobs, anywhere: the same command continues.

The work runs in a forked child that kills itself just before its k-th effect on the
world (a file opened for writing, a rename, a folder, a link, a started job, an fsync).
Launcher, driver, locks and jobs are the real ones; only the training is a fake. Some
points of the search are tried by default, with TOPDOWN_KILL_POINTS=all every one.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import shlex
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fake_slurm
import finished_search
import pytest
from dying import in_child, killing

from espnet_topdown.jobs.prepare import prepare
from espnet_topdown.jobs.run import run_job
from espnet_topdown.jobs.spec import spec_by_hand
from espnet_topdown.models.experiment import known_options
from espnet_topdown.models.tasks import find_task
from espnet_topdown.records import Journal, check_seal, read_seal
from espnet_topdown.scoring import decode
from espnet_topdown.search.driver import run_search
from espnet_topdown.search.request import SearchRequest

pytestmark = [  # it reads the option names of ESPnet's trainer
    pytest.mark.espnet,
    pytest.mark.timeout(300),
]
OUT = Path("exp/search")
FAKE_JOB = Path(__file__).parent / "fixtures" / "fake_job.py"
ERRORS = {"root": "m3", "m3": 50, "m1.2": 40, "m1.1.1": 41}
LAST = 90  # a search of three models has fewer effects than that
EVERY = 1 if os.environ.get("TOPDOWN_KILL_POINTS") == "all" else 8


def launched_by(module: str) -> str:
    """The launcher, with a fake in place of the job: LOG python -m module options."""
    words = shlex.join([sys.executable, str(FAKE_JOB)])
    launcher = f"{shlex.quote(sys.executable)} -m {module}"
    script = f'log=$1; shift 4; exec {launcher} "$log" {words} "$@"'
    return shlex.join(["bash", "-c", script, "-"])


@pytest.fixture
def work(toy_experiment, tmp_path, monkeypatch) -> Callable[[], object]:
    """A search of three models."""
    asr = find_task("asr")
    known_options(asr.options_of), known_options(asr.trainer)  # before the forks
    monkeypatch.setenv("FAKE_DIR", str(tmp_path))
    monkeypatch.setenv("FAKE_SECONDS", "0.02")
    monkeypatch.setenv("PYTHONPATH", str(FAKE_JOB.parents[2]))
    (tmp_path / "errors.json").write_text(json.dumps(ERRORS))
    (tmp_path / "work").write_text("")
    cmd = launched_by("espnet_topdown.cmd.local")
    return functools.partial(run_search, SearchRequest(toy_experiment, OUT, cmd=cmd))


def effects(log: Path) -> int:
    return int(re.findall(r"(\d+) effects", log.read_text())[-1])


def kill_and_continue(work: Callable[[], object], point: int, log: Path) -> None:
    status = in_child(killing(work, point), log)
    if status == 0:
        assert effects(log) < point < LAST
    else:
        assert status == 128 + signal.SIGKILL, log.read_text()
        assert in_child(work, log) == 0, log.read_text()


def lines(path: Path) -> Counter:
    return Counter(path.read_text().split("\n")[:-1])


def check_search(folder: Path) -> None:
    """The result is the right one, and nothing was done twice."""
    result = json.loads((OUT / "result.json").read_text())
    assert (result["best"], result["path"]) == ("m1.2", ["m3", "m1.2", "m1.1.1"])
    assert {n: v["errors"] for n, v in result["nodes"].items()} == {
        node: errors for node, errors in ERRORS.items() if node != "root"
    }
    assert os.readlink(OUT / "best") == "m1.2"
    work = lines(folder / "work")
    assert set(work.values()) == {1}, "finished work was repeated"
    events = Journal(OUT / "journal.jsonl").events()
    assert [e["seq"] for e in events] == list(range(len(events)))
    scored = Counter(e["node"] for e in events if e["event"] == "scored")
    assert scored == {"m3": 1, "m1.2": 1, "m1.1.1": 1}


@pytest.mark.parametrize("point", range(1, LAST, EVERY))
def test_a_killed_search_continues(work, tmp_path, point: int) -> None:
    kill_and_continue(work, point, tmp_path / "driver.log")
    check_search(tmp_path)


def test_a_search_killed_again_and_again_ends(work, tmp_path: Path) -> None:
    log, killed = tmp_path / "driver.log", 0
    while in_child(killing(work, 30), log) != 0:
        killed += 1
        assert killed < 9, log.read_text()
    assert killed >= 2
    check_search(tmp_path)


@pytest.mark.parametrize("point", range(6, LAST, EVERY if EVERY == 1 else 40))
def test_a_killed_search_attaches_to_its_jobs(
    work, tmp_path: Path, monkeypatch, point: int
) -> None:
    """The same search, its jobs through our launcher and a simulated scheduler."""
    path = fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path))
    monkeypatch.setenv("TOPDOWN_CLUSTER_ASK", "0.5")
    monkeypatch.setenv("TOPDOWN_CLUSTER_GRACE", "2")
    cmd = launched_by("espnet_topdown.cmd.slurm")
    request = dataclasses.replace(work.args[0], cmd=cmd)
    log = tmp_path / "driver.log"
    kill_and_continue(functools.partial(run_search, request), point, log)
    check_search(tmp_path)
    jobs = (tmp_path / "submissions").read_text().splitlines()
    assert len(jobs) == 3, "nothing is submitted twice"


@pytest.mark.nightly
def test_a_job_killed_anywhere_ends_as_if_it_had_not_been(
    toy_experiment, tmp_path: Path, monkeypatch
) -> None:
    """Its trainer and its scorer are fakes."""
    monkeypatch.setattr(decode, "validation_score", finished_search.validation_score)
    job, log, epochs = OUT / "m1.2", tmp_path / "job.log", Path("work")
    spec = spec_by_hand(toy_experiment, "softmax", folder=job)
    prepare(dataclasses.replace(spec, trainer=finished_search.FAKE), job)
    prepared = tmp_path / "prepared"
    shutil.copytree(job, prepared, symlinks=True)
    work = functools.partial(run_job, job)

    def contents() -> dict[str, bytes]:
        varying = (".lock", "checkpoint.pth", ".done")  # pickles vary, .done is of them
        names = {p.name for p in job.iterdir() if p.suffix != ".tmp"}.difference(
            varying
        )
        return {name: (job / name).read_bytes() for name in names}

    assert in_child(killing(work, 0), log) == 0, log.read_text()
    total, wanted = effects(log), contents()
    assert total > 20 and "4epoch.pth" in wanted
    for point in range(1, total + 1):
        shutil.rmtree(job)
        shutil.copytree(prepared, job, symlinks=True)
        epochs.write_text("")
        assert in_child(killing(work, point), log) == 128 + signal.SIGKILL
        assert in_child(work, log) == 0, log.read_text()
        assert contents() == wanted, f"killed at {point} of {total}"
        assert read_seal(job) and check_seal(job) == []
        repeated = sum(lines(epochs).values()) - len(lines(epochs))
        assert repeated <= 1, "at most the epoch that was under way"
