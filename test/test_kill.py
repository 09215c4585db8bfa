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
from pathlib import Path

import fake_slurm
import pytest
from dying import in_child, killing

from espnet_topdown.records import Journal, check_seal, read_seal
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


@pytest.fixture
def request_(toy_experiment, tmp_path, monkeypatch) -> SearchRequest:
    from espnet_topdown.models.experiment import known_options
    from espnet_topdown.models.tasks import find_task

    asr = find_task("asr")
    known_options(asr.options_of), known_options(asr.trainer)  # before the forks
    monkeypatch.setenv("FAKE_DIR", str(tmp_path))
    monkeypatch.setenv("FAKE_SECONDS", "0.02")
    monkeypatch.setenv("PYTHONPATH", str(FAKE_JOB.parents[2]))
    (tmp_path / "errors.json").write_text(json.dumps(ERRORS))
    (tmp_path / "work").write_text("")
    python, job = shlex.quote(sys.executable), shlex.quote(str(FAKE_JOB))
    script = (  # LOG python -m module options -> LOG python fake_job options
        f'log=$1; shift 4; exec {python} -m espnet_topdown.cmd.local "$log"'
        f' {python} {job} "$@"'
    )
    return SearchRequest(
        toy_experiment, OUT, cmd=shlex.join(["bash", "-c", script, "-"])
    )


def effects(log: Path) -> int:
    return int(re.findall(r"(\d+) effects", log.read_text())[-1])


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


def run_search(request: SearchRequest) -> object:
    from espnet_topdown.search import driver

    return driver.run_search(request)


@pytest.mark.parametrize("point", range(1, LAST, EVERY))
def test_a_killed_search_continues(
    request_: SearchRequest, tmp_path: Path, point: int
) -> None:
    log = tmp_path / "driver.log"
    search = functools.partial(run_search, request_)
    status = in_child(killing(search, point), log)
    if status == 0:
        assert effects(log) < point < LAST
    else:
        assert status == 128 + signal.SIGKILL, log.read_text()
        assert in_child(search, log) == 0, log.read_text()
    check_search(tmp_path)


def test_a_search_killed_again_and_again_ends(
    request_: SearchRequest, tmp_path: Path
) -> None:
    log = tmp_path / "driver.log"
    search = functools.partial(run_search, request_)
    killed = 0
    while in_child(killing(search, 30), log) != 0:
        killed += 1
        assert killed < 9, log.read_text()
    assert killed >= 2
    check_search(tmp_path)


@pytest.fixture
def slurm(
    request_: SearchRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SearchRequest:
    """The same search, its jobs through our launcher and a simulated scheduler."""
    path = fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path))
    monkeypatch.setenv("TOPDOWN_CLUSTER_ASK", "0.5")
    monkeypatch.setenv("TOPDOWN_CLUSTER_GRACE", "2")
    python, job = shlex.quote(sys.executable), shlex.quote(str(FAKE_JOB))
    script = (
        f'log=$1; shift 4; exec {python} -m espnet_topdown.cmd.slurm "$log"'
        f' {python} {job} "$@"'
    )
    cmd = shlex.join(["bash", "-c", script, "-"])
    return dataclasses.replace(request_, cmd=cmd)


@pytest.mark.parametrize("point", range(6, LAST, EVERY if EVERY == 1 else 40))
def test_a_killed_search_attaches_to_its_jobs(
    slurm: SearchRequest, tmp_path: Path, point: int
) -> None:
    log = tmp_path / "driver.log"
    search = functools.partial(run_search, slurm)
    status = in_child(killing(search, point), log)
    if status != 0:
        assert status == 128 + signal.SIGKILL, log.read_text()
        assert in_child(search, log) == 0, log.read_text()
    check_search(tmp_path)
    jobs = (tmp_path / "submissions").read_text().splitlines()
    assert len(jobs) == 3, "nothing is submitted twice"


@pytest.fixture
def job(toy_experiment, monkeypatch) -> Path:
    """A prepared retraining whose trainer and scorer are fakes."""
    from espnet_topdown.jobs.prepare import prepare
    from espnet_topdown.jobs.spec import RetrainSpec
    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.scoring import decode

    monkeypatch.syspath_prepend(str(FAKE_JOB.parent))
    counts = {"ref": 9, "corr": 9, "sub": 0, "del": 0, "ins": 0}
    score = {"utts": 1, "cer": counts, "wer": counts, "ter": counts}
    monkeypatch.setattr(decode, "validation_score", lambda *args, **more: dict(score))
    folder = Path("exp/search/m1.2")
    spec = RetrainSpec.make(
        Experiment(toy_experiment),
        name="m1.2",
        frozen_from=toy_experiment / "4epoch.pth",
        frozen=("softmax",),
        seed=1000,
        trainer="fake_trainer",
    )
    prepare(spec, folder)
    return folder


@pytest.mark.nightly
def test_a_job_killed_anywhere_ends_as_if_it_had_not_been(
    job: Path, tmp_path: Path
) -> None:
    from espnet_topdown.jobs.run import run_job

    log, work = tmp_path / "job.log", Path("work")
    prepared = tmp_path / "prepared"
    shutil.copytree(job, prepared, symlinks=True)
    run = functools.partial(run_job, job)
    assert in_child(killing(run, 0), log) == 0, log.read_text()
    total = effects(log)
    names = [p.name for p in job.glob("*")]
    varying = (".lock", "checkpoint.pth", ".done")  # pickles vary, .done is of them
    names = [n for n in names if n not in varying]
    wanted = {name: (job / name).read_bytes() for name in names}
    assert total > 20 and check_seal(job) == [] and "4epoch.pth" in wanted
    for point in range(1, total + 1):
        shutil.rmtree(job)
        shutil.copytree(prepared, job, symlinks=True)
        work.write_text("")
        assert in_child(killing(run, point), log) == 128 + signal.SIGKILL
        assert in_child(run, log) == 0, log.read_text()
        found = {p.name: p.read_bytes() for p in job.glob("*") if p.name in wanted}
        assert found == wanted, f"killed at {point} of {total}"
        assert read_seal(job) and check_seal(job) == []
        repeated = sum(lines(work).values()) - len(lines(work))
        assert repeated <= 1, "at most the epoch that was under way"
