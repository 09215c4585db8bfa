"""The local launcher keeps Kaldi's contract, and leaves nothing running."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from launching import LOCAL, call, environment, output, survivors, wait_until

from espnet_topdown.cmd import _task, local, places
from espnet_topdown.cmd._task import Task
from espnet_topdown.cmd.launch import why_waiting
from espnet_topdown.errors import TopDownError

PRINT = [sys.executable, "-c", "import sys; print(ascii(sys.argv[1:]))"]
only_linux = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")


@pytest.mark.parametrize(
    "args, counts, numbers",
    [
        ("x.log true", {}, None),
        ("--mem 4G --name a/b x.log true", {}, None),
        ("--gpu 1 --num-threads 3 x.log true", {"gpu": 1, "num_threads": 3}, None),
        ("--max_jobs_run 2 JOB=1:3 x.JOB.log true", {"max_jobs_run": 2}, [1, 2, 3]),
        ("JOB=1:3 --max-jobs-run=2 x.JOB.log true", {"max_jobs_run": 2}, [1, 2, 3]),
        ("-tc 2 -V -pe smp 4 JOB=4 x.log true", {"num_threads": 4}, [4]),
        ("--whatever v LMWT=7:8 x.LMWT.log true", {}, [7, 8]),
        ("--config c.conf x.log cmd --mem 3", {}, None),
    ],
)
def test_grammar(args: str, counts: dict, numbers: list | None) -> None:
    request = local.parse(args.split())
    assert {name: request.count(name) for name in counts} == counts
    assert request.numbers == numbers


@pytest.mark.parametrize(
    "args, says",
    [
        (["x.log"], "a log file and a command"),
        (["--mem"], "needs a value"),
        (["--gpu", "one", "x", "true"], "whole number, got 'one'"),
        (["--num_threads", "0", "x", "true"], "whole number, got '0'"),
        (["--max_jobs_run", "-1", "x", "true"], "whole number, got '-1'"),
        (["JOB=0:3", "x.JOB", "true"], "range of numbers from 1"),
        (["JOB=3:2", "x.JOB", "true"], "range of numbers from 1"),
        (["JOB=1:2", "x.log", "true"], "put JOB into its name"),
        (["x.log", "echo a | cat"], "bash -c"),
        (["x.log", "true>y"], "bash -c"),
        (["x.log", ""], "not a program"),
    ],
)
def test_usage_errors(args: list[str], says: str) -> None:
    with pytest.raises(TopDownError, match=re.escape(says)) as caught:
        local.parse(args)
    assert caught.value.status == 64


@pytest.mark.parametrize(
    "word, filled",
    [
        ("x.JOB.scp", "x.7.scp"),
        ("dirJOB/JOBJOB", "dir7/77"),
        ("$SLURM_JOB_ID ${SLURM_JOB_ID} SLURM_JOB_ID", None),
        ("$MYJOB ${JOBS} ${x}JOB", "$MYJOB ${JOBS} ${x}7"),
        ("$((JOB+1)) $(cat JOB)", "$((7+1)) $(cat 7)"),
        ("job Job J.O.B", None),
    ],
)
def test_numbers_are_filled_in(word: str, filled: str | None) -> None:
    assert local._fill_in(word, "JOB", 7) == (filled or word)


def test_words_arrive_as_given(tmp_path: Path) -> None:
    words = ["", "a b", "'", '"', "$HOME", "`id`", "a;b", "*", "~", "a\nb", "\\", "-x"]
    folder = tmp_path / "log 'of' \"it\"\n$HOME"
    assert call(tmp_path, folder / "x.log", *PRINT, *words, "ñ").returncode == 0
    assert output(folder / "x.log") == ascii([*words, "ñ"]) + "\n"


def test_log_has_what_kaldis_tools_look_for(tmp_path: Path) -> None:
    assert call(tmp_path, "--num_threads", "2", "a/x.log", "echo", "hi").returncode == 0
    wanted = r"""# Running on \S+
# Started at .+
# echo hi
#
hi
# Accounting: time=\d+ threads=2
# Ended \(code 0\) at .+, elapsed time \d+ seconds
"""
    assert re.fullmatch(wanted, (tmp_path / "a/x.log").read_text())


@pytest.mark.parametrize(
    "command, status, log",
    [
        ("exit 0", 0, "# Ended (code 0)"),
        ("exit 65", 65, "# Ended (code 65)"),
        ("exit 75", 75, ""),
        ("exit 100", 1, ""),
        ("exit 125", 125, ""),
        ("exit 126", 1, ""),
        ("exit 137", 1, ""),
        ("kill -9 $$", 1, "# Ended (code 137; signal 9)"),
        (["no_such_program", "y"], 1, "cannot run no_such_program"),
        (["./plain", "y"], 1, "# Ended (code 126)"),
        (["./my program"], 0, "ran\n"),
    ],
)
def test_exit_status(tmp_path: Path, command, status: int, log: str) -> None:
    (tmp_path / "plain").write_text("x")
    (tmp_path / "my program").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "my program").chmod(0o755)
    words = ["bash", "-c", command] if isinstance(command, str) else command
    done = call(tmp_path, "x.log", *words)
    assert done.returncode == status and log in (tmp_path / "x.log").read_text()
    assert ("job failed, log is in x.log" in done.stderr) == (status != 0)


def test_an_array_with_a_failing_task_whose_log_is_shown(tmp_path: Path) -> None:
    script = "seq 30; echo bad luck JOB >&2; [ JOB != 3 ]"
    ended = call(tmp_path, "JOB=2:4", "l/x.JOB.log", "bash", "-c", script)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "1 of 3 tasks failed, log is in l/x.JOB.log" in ended.stderr
    shown = ended.stderr.splitlines()
    assert shown[1] == "local: end of l/x.3.log:" and "x.2.log" not in ended.stderr
    assert [s.strip() for s in shown[2:]] == [*map(str, range(22, 31)), "bad luck 3"]
    assert "bad luck 4" in output(tmp_path / "l/x.4.log")


def test_previous_logs_are_kept(tmp_path: Path) -> None:
    """Renamed, not copied."""
    files = []
    for number in range(12):
        run = Task(str(tmp_path / "x.log"), ["echo", str(number)])
        run.start()
        files.append(os.stat(run.log).st_ino)
        assert wait_until(run.ended)
    names = ["x.log", *(f"x.log.{n}" for n in range(1, 10))]
    assert [output(tmp_path / n) for n in names] == [f"{n}\n" for n in range(11, 1, -1)]
    assert [os.stat(tmp_path / n).st_ino for n in names] == files[:1:-1]
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_log_that_cannot_be_written(tmp_path: Path, monkeypatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "file").write_text("")
    ended = call(tmp_path, "file/x.log", "true")
    assert ended.returncode == 73
    assert ended.stderr.startswith("E_CREATE: file/x.log is not writable by uid")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TopDownError, match="E_DISK: No space left.* at .*a.log") as e:
        Task(str(tmp_path / "a.log"), ["true"]).start()
    assert e.value.status == 74


def test_help(tmp_path: Path) -> None:
    ended = call(tmp_path, "--help")
    assert ended.returncode == 0 and "JOB=1:N" in ended.stdout
    assert call(tmp_path).returncode == 64


@pytest.fixture
def holding(tmp_path: Path):
    """Start a launcher whose task runs until the file ``go`` is there."""
    started = []

    def start(*options: str, **env: str) -> subprocess.Popen:
        script = "touch up; until [ -e go ]; do sleep 0.05; done"
        line = [*LOCAL, *options, "a.log", "bash", "-c", script]
        started.append(subprocess.Popen(line, cwd=tmp_path, env=environment(**env)))
        assert wait_until((tmp_path / "up").exists)
        return started[0]

    yield start
    for launcher in started:
        launcher.terminate()
        launcher.wait()


def test_a_log_in_use_is_not_shared(tmp_path: Path, monkeypatch, holding) -> None:
    first = holding()
    monkeypatch.setattr(_task, "_LOCK_SECONDS", 0.2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TopDownError, match="E_LOCKED.*a.log.*Started at") as caught:
        Task("a.log", ["true"]).start()
    assert caught.value.status == 75
    first.terminate()
    first.wait()
    again = Task("a.log", ["true"])
    again.start()
    assert wait_until(again.ended) and again.status == 0


GPUS = ["JOB=1:4", "x.JOB.log", "bash", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 0.3"]
SMI = "#!/bin/sh\nprintf '4\\n6\\n'\n"


@pytest.mark.parametrize(
    "gpus, visible, seen",
    [
        ("1", "4,6", ["4", "4", "6", "6"]),
        ("2", "4,6", ["4,6"] * 4),
        ("1", None, ["4", "4", "6", "6"]),  # by nvidia-smi
        ("2", "", [""] * 4),
        ("2", "-1", ["-1"] * 4),
        ("2", "NoDevFiles", ["NoDevFiles"] * 4),
        ("3", "0,1", "E_GPU"),
    ],
)
def test_each_task_gets_its_own_gpus(tmp_path, monkeypatch, gpus, visible, seen):
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    env = {"TMPDIR": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    env.update({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    done = call(tmp_path, "--gpu", gpus, "--max_jobs_run", "4", *GPUS, **env)
    if seen == "E_GPU":
        assert done.returncode == 78 and seen in done.stderr
    else:
        logs = [output(tmp_path / f"x.{n}.log").strip() for n in range(1, 5)]
        assert (done.returncode, sorted(logs)) == (0, seen)


def test_gpus_of_another_launcher_are_left_alone(tmp_path: Path, holding) -> None:
    env = {"CUDA_VISIBLE_DEVICES": "0,1", "TMPDIR": str(tmp_path)}
    holding("--gpu", "1", **env)
    assert call(tmp_path, "--gpu", "1", *GPUS, **env).returncode == 0
    assert {output(tmp_path / f"x.{n}.log") for n in range(1, 5)} == {"1\n"}


@pytest.mark.parametrize("value", ["many", "-1", "1.5"])
def test_slots_that_are_no_number(tmp_path: Path, value: str) -> None:
    done = call(tmp_path, "a.log", "true", TOPDOWN_SLOTS=value)
    assert done.returncode == 78
    assert done.stderr.startswith(f"E_SLOTS: TOPDOWN_SLOTS is '{value}'. Do: set it")


@pytest.mark.parametrize(
    "env, options, what",
    [
        ({"TOPDOWN_SLOTS": "1"}, (), "a place, TOPDOWN_SLOTS=1"),
        ({"CUDA_VISIBLE_DEVICES": "5"}, ("--gpu", "1"), "1 of 1 GPUs"),
    ],
)
def test_who_waits_says_for_what_and_for_whom(
    tmp_path, holding, env, options, what
) -> None:
    """Here, in the log, and so in ``status``, until it starts."""
    env = {**env, "TMPDIR": str(tmp_path)}
    first = holding(*options, **env)
    (tmp_path / "b").mkdir()
    second = subprocess.Popen(
        [*LOCAL, *options, "x.log", "echo", "ran"],
        cwd=tmp_path / "b",
        env=environment(**env),
        stderr=subprocess.PIPE,
        text=True,
    )
    said = second.stderr.readline()
    by = f"{what}: held by pid {first.pid} on "
    assert f"local: x.log waits for {by}" in said and f"(a.log in {tmp_path})" in said
    assert why_waiting(tmp_path / "b" / "x.log").startswith(by)
    (tmp_path / "go").touch()
    assert second.wait(30) == 0
    assert why_waiting(tmp_path / "b" / "x.log") == ""
    assert output(tmp_path / "b" / "x.log") == "ran\n"


def test_places_of_another_checkout_are_its_own(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TOPDOWN_SLOTS", "1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first = places.Places(0)
    assert first.reserve(Task("a.log", [])) == ""
    assert "held by pid" in places.Places(0).reserve(Task("b.log", []))
    monkeypatch.setattr(places, "_CHECKOUT", tmp_path)
    assert places.Places(0).reserve(Task("b.log", [])) == ""


@pytest.mark.parametrize(
    "free, need, grown, fit",
    [
        (10, 0, True, 1),  # nobody knows what it takes
        (10, 11, True, 1),
        (None, 5, True, 1),
        (10, 10, True, 3),  # what the first ones take is no longer free
        (10, 10, False, 1),
        (20, 10, False, 2),
        (99, 1, False, 3),
    ],
)
def test_as_many_share_a_gpu_as_its_memory_allows(
    tmp_path, monkeypatch, free, need, grown, fit
) -> None:
    """Until all of them have left it, it is taken for other launchers."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(places, "free_mib", lambda gpu: free)
    gpus = places.SharedGPUs(3, lambda: need, lambda job, since: grown)
    assert [bool(gpus.acquire(job)) for job in "abcd"] == [n < fit for n in range(4)]
    other, task = places.Places(1), Task("x.log", [])
    for job in "abc"[:fit]:
        assert "held by pid" in other.reserve(task)
        gpus.release(job)
    assert other.reserve(task) == "" and gpus.acquire("a") == {}


def test_who_waits_says_so_every_minute(tmp_path, monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    waiting = Task(str(tmp_path / "x.log"), ["true"])
    said = []
    for now[0] in range(100, 300, 10):
        if waiting.waits("a place"):
            said.append(now[0])
    assert said == [110, 170, 230, 290]
    assert (tmp_path / "x.log").read_text().count("# Waiting for a place") == 4


def test_follow_shows_whole_lines_with_the_name_of_the_log(tmp_path: Path) -> None:
    script = "printf '## one\\ntw'; sleep 0.5; printf 'o\\n\\n%070000d\\n' 0; echo end"
    args = ("--follow", "1", "JOB=1:2", "a.JOB.log", "sh", "-c", f"{script}JOB")
    done = call(tmp_path, *args)
    assert done.returncode == 0, done.stderr
    for n in (1, 2):
        mine = [s for s in done.stdout.splitlines() if s.startswith(f"[a.{n}] ")]
        # the last line has no end of its own: it stands in the log
        assert mine[:3] == [f"[a.{n}] ## one", f"[a.{n}] two", f"[a.{n}] "]
        assert mine[3] == f"[a.{n}] {'0' * 70_000}"
        assert f"0\nend{n}" in output(tmp_path / f"a.{n}.log")


MEET = "touch up.JOB; until [ -e up.1 ] && [ -e up.2 ]; do sleep 0.02; done"
COUNT = "ls run.* 2>/dev/null | wc -l; touch run.JOB; sleep 0.1; rm run.JOB"


@pytest.mark.parametrize("most, script", [(2, MEET), (2, COUNT), (1, COUNT)])
def test_so_many_tasks_side_by_side(tmp_path: Path, most: int, script: str) -> None:
    options = ["--max_jobs_run", str(most), "JOB=1:4", "x.JOB.log"]
    assert call(tmp_path, *options, "bash", "-c", script).returncode == 0
    seen = [output(tmp_path / f"x.{n}.log") for n in range(1, 5)]
    assert max(int(n or 0) for n in seen) < most


FAMILY = "sleep {t} & (sleep {t} & sleep {t}) & {trap} touch up.JOB; wait; sleep {t}"


@only_linux
@pytest.mark.parametrize(
    "sent, trap",
    [
        (signal.SIGTERM, ""),
        (signal.SIGINT, ""),
        (signal.SIGHUP, ""),
        (signal.SIGKILL, ""),
        (signal.SIGTERM, "trap '' TERM INT;"),
    ],
)
def test_nothing_survives_a_signal(tmp_path: Path, sent: int, trap: str) -> None:
    tag = f"39{os.getpid()}.{int(sent)}{len(trap)}"
    script = FAMILY.format(t=tag, trap=trap)
    if sent == signal.SIGKILL:  # what the task itself has started is not known then
        script = f"touch up.JOB; exec sleep {tag}"
    args = [*LOCAL, "--max_jobs_run", "2", "JOB=1:3", "x.JOB.log", "bash", "-c", script]
    launcher = subprocess.Popen(args, cwd=tmp_path, env=environment())
    assert wait_until(lambda: len(list(tmp_path.glob("up.*"))) == 2)
    assert len(survivors(tag)) > 2
    launcher.send_signal(sent)
    assert launcher.wait(timeout=30) == (-9 if sent == 9 else 128 + sent)
    assert wait_until(lambda: survivors(tag) == [], 10 if sent == 9 else 0)
    assert sent == 9 or "# Ended (code 1" in (tmp_path / "x.1.log").read_text()
    assert not (tmp_path / "x.3.log").exists()


@only_linux
def test_background_children_end_with_their_task(tmp_path: Path) -> None:
    tag = f"37{os.getpid()}"
    assert call(tmp_path, "x.log", "bash", "-c", f"sleep {tag} & true").returncode == 0
    assert survivors(tag) == []
