"""Processes that train one model: how they are started, stopped and judged."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from espnet_topdown import distributed
from espnet_topdown.distributed import Workers, calls, train_together
from espnet_topdown.errors import TopDownError

INIT = Path("/exp/init")
COMMON = "--multiprocessing_distributed true".split()
FILE = f"--dist_init_method file://{INIT}".split()
SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "3"}


def test_one_node_leaves_it_to_espnet() -> None:
    (line,) = calls(["train"], Workers(1, 4), INIT, {})
    assert line == ["train", "--ngpu", "4", *COMMON]


def test_nodes_of_slurm_by_one_srun() -> None:
    (line,) = calls(["train", "--x"], Workers(2, 4), INIT, SLURM)
    assert line[0] == "srun" and line[line.index("train") :][:2] == ["train", "--x"]
    for word in (
        "--nodes=2",
        "--ntasks=2",
        "--cpus-per-task=3",
        "--kill-on-bad-exit=1",
    ):
        assert word in line[: line.index("train")]
    assert line[-2:] == ["--dist_launcher", "slurm"]
    assert "nccl" in line and FILE[1] in line
    (line,) = calls(["train"], Workers(2, 0), INIT, SLURM)
    assert "gloo" in line


def test_processes_here_have_a_rank_each() -> None:
    first, second = calls(["train"], Workers(2, 0), INIT, {})
    assert first[:-1] == second[:-1]
    assert (first[-2:], second[-2:]) == (["--dist_rank", "0"], ["--dist_rank", "1"])
    assert "gloo" in first and first[first.index("--dist_world_size") + 1] == "2"


@pytest.mark.parametrize(
    ("workers", "environ", "what"),
    [
        (Workers(3, 0), SLURM, "has 2 nodes, --num_nodes asks for 3"),
        (Workers(2, 1), {}, "no job of Slurm's"),
        (Workers(2, 0), {"PE_HOSTFILE": "x"}, "no job of Slurm's"),
    ],
)
def test_nodes_that_are_not_there(workers, environ, what) -> None:
    with pytest.raises(TopDownError, match=f"E_NODES.*{what}") as caught:
        calls(["train"], workers, INIT, environ)
    assert caught.value.status == 76


@pytest.mark.parametrize("workers", [Workers(0), Workers(1, -1)])
def test_numbers_that_make_no_sense(workers) -> None:
    with pytest.raises(TopDownError, match="E_RANGE"):
        workers.check()


@pytest.mark.parametrize(
    ("workers", "cmd", "launcher", "job"),
    [
        (Workers(), "a.pl --mem 1G", "a.pl --mem 1G", ""),
        (Workers(2, 0), ["a"], "a --num_nodes 2 --gpu 0", "--num_nodes 2 --ngpu 0"),
        (
            Workers(2, 4),
            "a --gpu 4",
            "a --gpu 4 --num_nodes 2",
            "--num_nodes 2 --ngpu 4",
        ),
        (Workers(1, 1), "a --gpu 1", "a --gpu 1", "--ngpu 1"),
    ],
)
def test_what_the_launcher_and_the_job_are_told(workers, cmd, launcher, job) -> None:
    assert workers.launcher(cmd) == launcher.split()
    assert workers.job_options == job.split()
    assert Workers(2).several and Workers(1, 2).several and not Workers(1, 1).several


SCRIPT = """import pathlib, signal, sys, time
rank = sys.argv[sys.argv.index('--dist_rank') + 1]
init = sys.argv[sys.argv.index('--dist_init_method') + 1][len('file://'):]
pathlib.Path(init).touch()
{body}
"""


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """Run two processes of a made-up trainer."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)

    def run(body: str) -> None:
        (tmp_path / "train.py").write_text(SCRIPT.format(body=body))
        monkeypatch.chdir(tmp_path)
        command = [sys.executable, "-S", "train.py"]
        train_together(command, tmp_path / "exp", Workers(2, 0))

    return run


def test_both_end_well(trainer, tmp_path) -> None:
    trainer("pathlib.Path(f'ended.{rank}').touch()")
    assert (tmp_path / "ended.0").exists() and (tmp_path / "ended.1").exists()
    assert list((tmp_path / "exp").iterdir()) == [], "the meeting point is removed"


@pytest.mark.parametrize(("code", "status"), [(65, 65), (1, 70), (66, 66)])
def test_one_that_fails_ends_the_other(trainer, tmp_path, monkeypatch, code, status):
    monkeypatch.setattr(distributed, "GRACE_SECONDS", 0.3)
    with pytest.raises(TopDownError, match="E_TRAINING") as caught:
        trainer(f"if rank == '1': sys.exit({code})\ntime.sleep(60)")
    assert caught.value.status == status
    assert list((tmp_path / "exp").iterdir()) == []


def test_a_signal_is_passed_on(trainer, tmp_path) -> None:
    def tell() -> None:
        while len(list(tmp_path.glob("ready.*"))) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=tell, daemon=True).start()
    body = "signal.signal(signal.SIGUSR2, lambda *a: sys.exit(75))\n"
    body += "pathlib.Path(f'ready.{rank}').touch()\ntime.sleep(60)"
    with pytest.raises(TopDownError, match="E_PREEMPTED.*SIGTERM") as caught:
        trainer(body)
    assert caught.value.status == 75


def test_no_srun(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TopDownError, match="no 'srun' here"):
        train_together(["train"], tmp_path, Workers(2, 0))
