"""Jobs through a launcher: their statuses, their number at a time, their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import fake_slurm
import pytest
from launching import REPOSITORY, survivors, wait_until

from espnet_topdown.cmd.launch import Job, backend_cmd, check_launcher, run_jobs
from espnet_topdown.errors import TopDownError

LOCAL = backend_cmd("local")
only_linux = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def shell(folder: Path, name: str, script: str) -> Job:
    return Job(name, folder / f"{name}.log", ["bash", "-c", script])


def test_statuses_come_back_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "a 'b' \"c\"\n$d"
    scripts = {"ok": "true", "bad": "exit 65", "later": "exit 75"}
    scripts["slain"] = "kill -9 $$"
    jobs = [shell(folder, name, script) for name, script in scripts.items()]
    done: list[str] = []
    status = run_jobs(jobs, LOCAL, 2, None, lambda j, s: done.append(j.name))
    assert status == {"ok": 0, "bad": 65, "later": 75, "slain": 1}
    assert sorted(done) == sorted(scripts) and all(job.log.exists() for job in jobs)
    assert run_jobs([], LOCAL, 2) == {}


def test_launcher_line_with_options_and_quotes(tmp_path: Path) -> None:
    launcher = tmp_path / "my launcher"
    launcher.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$3"\n')
    launcher.chmod(0o755)
    job = Job("a", tmp_path / "x y.log", ["cmd", "a b"])
    assert run_jobs([job], f"'{launcher}' --mem 4G", 1) == {"a": 0}
    words = ["--mem", "4G", str(job.log), "cmd", "a b"]
    assert job.log.read_text().splitlines() == words


MEET = "touch {}; until [ -e a ] && [ -e b ]; do sleep 0.02; done"
COUNT = "ls run.* | wc -l; touch run.$$; sleep 0.1; rm run.$$"


@pytest.mark.parametrize(
    "most, script", [(2, MEET), (0, COUNT), (1, COUNT), (2, COUNT)]
)
def test_so_many_jobs_side_by_side(tmp_path: Path, most: int, script: str) -> None:
    inside = f"cd '{tmp_path}'; {script}"
    jobs = [shell(tmp_path, name, inside.format(name)) for name in "abc"]
    assert run_jobs(jobs, LOCAL, most) == {"a": 0, "b": 0, "c": 0}
    seen = [job.log.read_text().splitlines() for job in jobs]
    assert max([0, *(int(n) for s in seen for n in s if n.isdigit())]) < max(1, most)


def test_jobs_that_on_done_returns_are_run_next(tmp_path: Path) -> None:
    order: list[str] = []
    more = {"a": [shell(tmp_path, "a1", "true"), shell(tmp_path, "a2", "exit 3")]}

    def done(job: Job, status: int) -> list[Job] | None:
        order.append(job.name)
        return more.get(job.name)

    first = [shell(tmp_path, "a", "true"), shell(tmp_path, "b", "true")]
    status = run_jobs(first, LOCAL, 1, None, done)
    assert order == ["a", "a1", "a2", "b"]
    assert status == {"a": 0, "a1": 0, "a2": 3, "b": 0}


def test_progress_is_polled_while_a_job_runs(tmp_path: Path) -> None:
    wait = f"until [ -e '{tmp_path}/polled' ]; do sleep 0.05; done"
    poll = (tmp_path / "polled").touch
    assert run_jobs([shell(tmp_path, "a", wait)], LOCAL, 1, poll)


def test_error_in_a_callback_ends_the_jobs(tmp_path: Path) -> None:
    def broken(job: Job, status: int) -> None:
        raise RuntimeError("cannot score")

    jobs = [
        shell(tmp_path, "long", "trap 'exit 3' TERM; sleep 60 & wait"),
        shell(tmp_path, "short", "sleep 0.5"),
    ]
    with pytest.raises(RuntimeError, match="cannot score"):
        run_jobs(jobs, LOCAL, 2, None, broken)
    assert "# Ended (code 3)" in jobs[0].log.read_text()


def test_backends_that_are_not_ours(tmp_path: Path, monkeypatch) -> None:
    """Kaldi's, found in PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TopDownError, match="E_CLUSTER_BACKEND.*'slrum'.*slurm"):
        backend_cmd("slrum")
    with pytest.raises(TopDownError, match="'pbs.pl' is not in PATH"):
        backend_cmd("pbs")
    (tmp_path / "pbs.pl").write_text("#!/bin/sh\n")
    (tmp_path / "pbs.pl").chmod(0o755)
    assert backend_cmd("pbs") == [str(tmp_path / "pbs.pl")]


@pytest.mark.parametrize("word", ["a;b", "$HOME", "it's", "a|b", "*", "a\nb", '"'])
def test_words_that_kaldis_launchers_would_spoil(tmp_path: Path, word: str) -> None:
    launcher = tmp_path / "run.pl"
    launcher.write_text("#!/bin/sh\n")
    launcher.chmod(0o755)
    assert run_jobs([Job("a", tmp_path / "x.log", ["echo", "a b"])], str(launcher))
    with pytest.raises(TopDownError, match="E_UNSAFE_NAME.*run.pl") as caught:
        run_jobs([Job("a", tmp_path / "x.log", ["echo", word])], [str(launcher)], 1)
    assert caught.value.status == 64


DRIVER = """
import sys
from pathlib import Path
from espnet_topdown.cmd.launch import Job, backend_cmd, run_jobs
folder = Path(sys.argv[1])
job = lambda n: Job(n, folder / (n + ".log"),
                    ["bash", "-c", f"touch {n}; sleep {sys.argv[2]} & wait"])
run_jobs([job("a"), job("b"), job("c")], backend_cmd("local"), 2)
"""


@only_linux
@pytest.mark.parametrize("sent, status", [(2, 1), (15, 143), (1, 129), (9, -9)])
def test_a_signal_ends_launchers_and_tasks(tmp_path: Path, sent, status) -> None:
    tag = f"36{os.getpid()}.{sent}"
    line = [sys.executable, "-c", DRIVER, str(tmp_path), tag]
    driver = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.DEVNULL)
    assert wait_until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    driver.send_signal(sent)
    code = driver.wait(timeout=30)
    assert code in (status, -sent)  # Python turns its own INT into the signal again
    assert wait_until(lambda: not survivors(tag), 20 if sent == 9 else 0)
    assert not (tmp_path / "c").exists()


def test_a_signal_interrupts_what_follows_a_job(tmp_path: Path) -> None:
    """Scoring takes its time."""
    scored: list[str] = []

    def score(job: Job, status: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        scored.append(job.name)

    with pytest.raises(SystemExit, match="143"):
        run_jobs([shell(tmp_path, "a", "true")], LOCAL, 1, None, score)
    assert not scored


SLURM = backend_cmd("slurm")


@pytest.mark.parametrize(
    "cmd, ngpu, says",
    [
        (LOCAL, 2, "E_GPU: 2 GPUs are asked for, this machine shows 1"),
        (["/no/such/cmd"], 0, "E_CLUSTER_CMD.*no.such"),
        ("", None, "E_CLUSTER_CMD"),
        ([*backend_cmd("sge"), "--gpu", "1"], 1, "E_CLUSTER_CMD.*'qsub'"),
        ([*LOCAL, "--gpu", "some"], 0, "E_USAGE.*--gpu"),
        (LOCAL, 1, None),
        (LOCAL, 0, None),
        (LOCAL, None, None),
        ([*SLURM, "--gpu", "2"], 1, None),
    ],
)
def test_what_a_launcher_lacks_is_found_before(
    tmp_path: Path, monkeypatch, cmd, ngpu, says
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    commands = fake_slurm.install(tmp_path / "bin")
    (commands / "qsub").unlink()
    monkeypatch.setenv("PATH", str(commands))
    if says is None:
        return check_launcher(cmd, ngpu)
    with pytest.raises(TopDownError, match=says):
        check_launcher(cmd, ngpu)
