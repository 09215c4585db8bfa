"""Jobs through a launcher: their statuses, their number at a time, their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import fake_slurm
import pytest

from espnet_topdown.cmd import launch
from espnet_topdown.cmd.launch import Job, backend_cmd, check_launcher, run_jobs
from espnet_topdown.errors import TopDownError

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def shell(folder: Path, name: str, script: str) -> Job:
    return Job(name, folder / f"{name}.log", ["bash", "-c", script])


def test_statuses_come_back_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "a 'b' \"c\"\n$d"
    scripts = {
        "ok": "true",
        "bad": "exit 65",
        "later": "exit 75",
        "slain": "kill -9 $$",
    }
    jobs = [shell(folder, name, script) for name, script in scripts.items()]
    done = []
    got = run_jobs(
        jobs, backend_cmd("local"), 2, None, lambda j, s: done.append(j.name)
    )
    assert got == {"ok": 0, "bad": 65, "later": 75, "slain": 1}
    assert sorted(done) == sorted(scripts)
    assert all(job.log.exists() for job in jobs)


def test_a_signal_is_not_first_seen_when_a_job_ends(tmp_path, monkeypatch) -> None:
    """Nor when the progress is shown: here no second passes."""
    clock = types.SimpleNamespace(monotonic=lambda: 0.0, sleep=time.sleep)
    monkeypatch.setattr(launch, "time", clock)
    script = f"kill -TERM {os.getpid()}; sleep 1; touch {tmp_path}/ended"
    with pytest.raises(SystemExit) as e:
        run_jobs([shell(tmp_path, "a", script)], ["bash", "-c", '"$@"'], 1)
    assert e.value.code == 143
    assert not (tmp_path / "ended").exists()


def test_no_jobs(tmp_path: Path) -> None:
    assert run_jobs([], backend_cmd("local"), 2) == {}


def test_launcher_line_with_options_and_quotes(tmp_path: Path) -> None:
    launcher = tmp_path / "my launcher"
    launcher.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$3"\n')
    launcher.chmod(0o755)
    job = Job("a", tmp_path / "x y.log", ["cmd", "a b"])
    assert run_jobs([job], f"'{launcher}' --mem 4G", 1) == {"a": 0}
    assert job.log.read_text().splitlines() == [
        "--mem",
        "4G",
        str(job.log),
        "cmd",
        "a b",
    ]


def test_two_jobs_run_side_by_side(tmp_path: Path) -> None:
    meet = "cd '{}'; touch {}; until [ -e a ] && [ -e b ]; do sleep 0.02; done"
    jobs = [shell(tmp_path, name, meet.format(tmp_path, name)) for name in "ab"]
    assert run_jobs(jobs, backend_cmd("local"), 2) == {"a": 0, "b": 0}


@pytest.mark.parametrize("most", [0, 1, 2])
def test_no_more_jobs_than_allowed(tmp_path: Path, most: int) -> None:
    script = f"cd '{tmp_path}'; ls run.* | wc -l; touch run.$$; sleep 0.1; rm run.$$"
    jobs = [shell(tmp_path, f"j{n}", script) for n in range(3)]
    assert set(run_jobs(jobs, backend_cmd("local"), most).values()) == {0}
    seen = [job.log.read_text().splitlines() for job in jobs]
    assert max(int(n) for lines in seen for n in lines if n.isdigit()) < max(1, most)


def test_jobs_that_on_done_returns_are_run_next(tmp_path: Path) -> None:
    order: list[str] = []
    more = {"a": [shell(tmp_path, "a1", "true"), shell(tmp_path, "a2", "exit 3")]}

    def done(job: Job, status: int) -> list[Job] | None:
        order.append(job.name)
        return more.get(job.name)

    first = [shell(tmp_path, "a", "true"), shell(tmp_path, "b", "true")]
    got = run_jobs(first, backend_cmd("local"), 1, None, done)
    assert order == ["a", "a1", "a2", "b"]
    assert got == {"a": 0, "a1": 0, "a2": 3, "b": 0}


def test_progress_is_polled_while_a_job_runs(tmp_path: Path) -> None:
    wait = f"until [ -e '{tmp_path}/polled' ]; do sleep 0.05; done"
    poll = (tmp_path / "polled").touch
    assert run_jobs([shell(tmp_path, "a", wait)], backend_cmd("local"), 1, poll)


def test_error_in_a_callback_ends_the_jobs(tmp_path: Path) -> None:
    def broken(job: Job, status: int) -> None:
        raise RuntimeError("cannot score")

    jobs = [
        shell(tmp_path, "long", "trap 'exit 3' TERM; sleep 60 & wait"),
        shell(tmp_path, "short", "sleep 0.5"),
    ]
    with pytest.raises(RuntimeError, match="cannot score"):
        run_jobs(jobs, backend_cmd("local"), 2, None, broken)
    assert "# Ended (code 3)" in jobs[0].log.read_text()


@pytest.mark.parametrize("cmd", ["no_such_launcher.pl --mem 4G", ["/no/such/cmd"]])
def test_missing_launcher_is_named(tmp_path: Path, cmd: str | list[str]) -> None:
    with pytest.raises(TopDownError, match="E_CLUSTER_CMD.*no.such") as caught:
        run_jobs([shell(tmp_path, "a", "true")], cmd, 1)
    assert caught.value.status == 76


def test_empty_launcher(tmp_path: Path) -> None:
    with pytest.raises(TopDownError, match="E_CLUSTER_CMD"):
        run_jobs([shell(tmp_path, "a", "true")], "", 1)


def test_kaldis_pbs_launcher_is_found_in_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TopDownError, match="'pbs.pl' is not in PATH"):
        backend_cmd("pbs")
    (tmp_path / "pbs.pl").write_text("#!/bin/sh\n")
    (tmp_path / "pbs.pl").chmod(0o755)
    assert backend_cmd("pbs") == [str(tmp_path / "pbs.pl")]


@pytest.mark.parametrize("name", ["local", "slurm", "sge"])
def test_our_launchers(name: str) -> None:
    assert backend_cmd(name)[-2:] == ["-m", f"espnet_topdown.cmd.{name}"]


def test_unknown_backend() -> None:
    with pytest.raises(TopDownError, match="'slrum'.*slurm") as caught:
        backend_cmd("slrum")
    assert caught.value.status == 78


@pytest.mark.parametrize("word", ["a;b", "$HOME", "it's", "a|b", "*", "a\nb", '"'])
def test_words_that_kaldis_launchers_would_spoil(tmp_path: Path, word: str) -> None:
    launcher = tmp_path / "run.pl"
    launcher.write_text("#!/bin/sh\n")
    launcher.chmod(0o755)
    with pytest.raises(TopDownError, match="E_UNSAFE_NAME.*run.pl") as caught:
        run_jobs([Job("a", tmp_path / "x.log", ["echo", word])], [str(launcher)], 1)
    assert caught.value.status == 64
    assert run_jobs([Job("a", tmp_path / "x.log", ["echo", "a b"])], str(launcher)) == {
        "a": 0
    }


DRIVER = """
import sys
from pathlib import Path
from espnet_topdown.cmd.launch import Job, backend_cmd, run_jobs
folder = Path(sys.argv[1])
job = lambda n: Job(n, folder / (n + ".log"),
                    ["bash", "-c", f"touch {n}; sleep {sys.argv[2]} & wait"])
run_jobs([job("a"), job("b"), job("c")], backend_cmd("local"), 2)
"""


def running(tag: str) -> int:
    """How many live processes have ``tag`` in their command line."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        count += tag in line and state != "Z"
    return count


def wait_until(condition, seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    "sent, status",
    [(signal.SIGINT, 1), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["INT", "TERM", "HUP"],
)
def test_a_signal_ends_launchers_and_tasks(
    tmp_path: Path, sent: int, status: int
) -> None:
    tag = f"36{os.getpid()}.{int(sent)}"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path), tag],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    assert wait_until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    driver.send_signal(sent)
    code = driver.wait(timeout=30)
    assert code in (status, -sent)  # Python turns its own INT into the signal again
    assert running(tag) == 0
    assert not (tmp_path / "c").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_jobs_end_although_their_driver_was_killed(tmp_path: Path) -> None:
    tag = f"35{os.getpid()}"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path), tag], cwd=tmp_path
    )
    assert wait_until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    driver.kill()
    driver.wait()
    assert wait_until(lambda: running(tag) == 0)


@pytest.mark.parametrize(
    "cmd, ngpu, path, says",
    [
        (backend_cmd("local"), 1, True, "E_GPU: --ngpu 1, but this machine shows 0"),
        ("no_such.pl --gpu 1", 0, True, "E_CLUSTER_CMD.*'no_such.pl'"),
        ("", None, True, "E_CLUSTER_CMD"),
        (backend_cmd("slurm"), None, False, "E_CLUSTER_CMD: there is no 'sbatch'"),
        ([*backend_cmd("sge"), "--gpu", "1"], 1, False, "E_CLUSTER_CMD.*'qsub'"),
        ([*backend_cmd("slurm"), "--mme", "4G"], 0, True, "E_CLUSTER_OPTION.*--mme"),
        ([*backend_cmd("slurm"), "--config", "x"], 0, True, "E_MISSING: cannot read x"),
        ([*backend_cmd("local"), "--gpu", "some"], 0, True, "E_USAGE.*--gpu"),
    ],
)
def test_what_a_launcher_lacks_is_found_before(
    tmp_path: Path, monkeypatch, cmd, ngpu, path, says
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    commands = fake_slurm.install(tmp_path / "bin") if path else tmp_path
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin" if path else str(commands))
    with pytest.raises(TopDownError, match=says):
        check_launcher(cmd, ngpu)


@pytest.mark.parametrize("ngpu", [None, 0, 1])
def test_launchers_that_lack_nothing(tmp_path: Path, monkeypatch, ngpu) -> None:
    monkeypatch.chdir(tmp_path)
    commands = fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    check_launcher(backend_cmd("local"), ngpu)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check_launcher([*backend_cmd("slurm"), "--gpu", "2"], ngpu)
