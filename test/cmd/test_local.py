"""The local launcher keeps Kaldi's contract."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from local_launcher import LOCAL, call, environment, output, wait_until

from espnet_topdown.cmd import local, places
from espnet_topdown.cmd.submission import why_waiting
from espnet_topdown.cmd.task import Task
from espnet_topdown.errors import TopDownError

PRINT = [sys.executable, "-c", "import sys; print(ascii(sys.argv[1:]))"]


@pytest.mark.parametrize(
    "args, options, numbers",
    [
        ("x.log true", {}, None),
        ("--mem 4G --name a/b x.log true", {}, None),
        ("--gpu 1 --num-threads 3 x.log true", {"gpu": 1, "num_threads": 3}, None),
        ("--max_jobs_run 2 JOB=1:3 x.JOB.log true", {"max_jobs_run": 2}, [1, 2, 3]),
        ("JOB=1:3 --max-jobs-run=2 x.JOB.log true", {"max_jobs_run": 2}, [1, 2, 3]),
        ("-tc 2 -V -pe smp 4 JOB=4 x.log true", {"max_jobs_run": 2}, [4]),
        ("--whatever v LMWT=7:8 x.LMWT.log true", {}, [7, 8]),
        ("--config c.conf x.log cmd --mem 3", {}, None),
    ],
)
def test_grammar(args: str, options: dict, numbers: list | None) -> None:
    request = local.parse(args.split())
    assert request.options == options
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
def test_usage_errors(args: Sequence[str], says: str) -> None:
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
    assert local.fill_in(word, "JOB", 7) == (filled or word)


@pytest.mark.parametrize(
    "word",
    ["", "a b", "'", '"', "$HOME", "`id`", "a;b", "*", "~", "a\nb", "\\", "ñ", "-x"],
)
def test_words_arrive_as_given(tmp_path: Path, word: str) -> None:
    folder = tmp_path / "log 'of' \"it\"\n$HOME"
    assert call(tmp_path, folder / "x.log", *PRINT, word).returncode == 0
    assert output(folder / "x.log") == ascii([word]) + "\n"


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


def test_array(tmp_path: Path) -> None:
    ended = call(tmp_path, "JOB=2:4", "x.JOB.log", "echo", "n=JOB")
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "")
    assert [output(tmp_path / f"x.{n}.log") for n in (2, 3, 4)] == [
        "n=2\n",
        "n=3\n",
        "n=4\n",
    ]


@pytest.mark.parametrize(
    "status, single",
    [(0, 0), (1, 1), (65, 65), (75, 75), (100, 1), (125, 125), (126, 1), (137, 1)],
)
def test_exit_status(tmp_path: Path, status: int, single: int) -> None:
    fail = ["bash", "-c", f"exit {status}"]
    assert call(tmp_path, "x.log", *fail).returncode == single
    array = ["JOB=1:2", "x.JOB.log", "bash", "-c", f"test JOB = 1 || exit {status}"]
    assert call(tmp_path, *array).returncode == (1 if status else 0)


def test_all_tasks_run_although_one_fails_and_its_log_is_shown(tmp_path: Path) -> None:
    script = "seq 30; echo bad luck >&2; [ JOB != 2 ]"
    ended = call(tmp_path, "JOB=1:3", "l/x.JOB.log", "bash", "-c", script)
    assert ended.returncode == 1
    assert "1 of 3 tasks failed, log is in l/x.JOB.log" in ended.stderr
    assert "end of l/x.2.log" in ended.stderr and "x.1.log" not in ended.stderr
    shown = ended.stderr.splitlines()[2:]
    assert [s.strip() for s in shown] == [*map(str, range(22, 31)), "bad luck"]
    assert "bad luck" in output(tmp_path / "l/x.3.log")


@pytest.mark.parametrize(
    "word, ended",
    [("no_such_program", "code 127"), ("./plain", "code 126"), ("./", "code 126")],
)
def test_command_that_cannot_start(tmp_path: Path, word: str, ended: str) -> None:
    (tmp_path / "plain").write_text("x")
    result = call(tmp_path, "x.log", word, "y")
    assert result.returncode == 1
    assert f"cannot run {word}" in result.stderr
    assert ended in (tmp_path / "x.log").read_text()


def test_killed_task_is_a_failure(tmp_path: Path) -> None:
    assert call(tmp_path, "x.log", "bash", "-c", "kill -9 $$").returncode == 1
    assert "# Ended (code 137; signal 9)" in (tmp_path / "x.log").read_text()


def test_program_whose_name_has_a_space(tmp_path: Path) -> None:
    program = tmp_path / "my program"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o755)
    assert call(tmp_path, "x.log", program).returncode == 0
    assert output(tmp_path / "x.log") == "ran\n"


def test_previous_logs_are_kept(tmp_path: Path) -> None:
    for number in range(12):
        task = Task(str(tmp_path / "x.log"), ["echo", str(number)])
        task.start()
        assert wait_until(task.ended)
    names = ["x.log", *(f"x.log.{n}" for n in range(1, 10))]
    assert [output(tmp_path / name) for name in names] == [
        f"{number}\n" for number in range(11, 1, -1)
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = call(tmp_path, "file/x.log", "true")
    assert ended.returncode == 73
    assert ended.stderr.startswith("E_CREATE: cannot write the log file/x.log")


def test_help(tmp_path: Path) -> None:
    ended = call(tmp_path, "--help")
    assert ended.returncode == 0 and "JOB=1:N" in ended.stdout
    assert call(tmp_path).returncode == 64


def test_a_log_in_use_is_not_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the first launcher is gone and only its task still writes."""
    from espnet_topdown.cmd import task

    first = subprocess.Popen(
        [*LOCAL, "x.log", "bash", "-c", "touch up; sleep 30"],
        cwd=tmp_path,
        env=environment(),
    )
    try:
        assert wait_until((tmp_path / "up").exists)
        monkeypatch.setattr(task, "_LOCK_SECONDS", 0.2)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(TopDownError, match="E_LOCKED.*x.log") as caught:
            task.Task("x.log", ["true"]).start()
        assert caught.value.status == 75
    finally:
        first.terminate()
        first.wait()
    again = task.Task("x.log", ["true"])
    again.start()
    assert wait_until(again.ended) and again.status == 0


GPUS = ["bash", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 0.3"]


def gpus_seen(folder: Path, n: int) -> list[str]:
    return [output(folder / f"x.{i}.log").strip() for i in range(1, n + 1)]


def test_each_task_gets_its_own_gpu(tmp_path: Path) -> None:
    env = {"CUDA_VISIBLE_DEVICES": "4,6", "TMPDIR": str(tmp_path)}
    args = ["--gpu", "1", "--max_jobs_run", "4", "JOB=1:4", "x.JOB.log", *GPUS]
    assert call(tmp_path, *args, **env).returncode == 0
    assert sorted(gpus_seen(tmp_path, 4)) == ["4", "4", "6", "6"]
    assert sorted(gpus_seen(tmp_path, 2)) == ["4", "6"]


def test_gpus_of_another_launcher_are_left_alone(tmp_path: Path) -> None:
    env = {"CUDA_VISIBLE_DEVICES": "0,1", "TMPDIR": str(tmp_path)}
    first = subprocess.Popen(
        [*LOCAL, "--gpu", "1", "y.log", "bash", "-c", "touch up; sleep 30"],
        cwd=tmp_path,
        env=environment(**env),
    )
    try:
        assert wait_until((tmp_path / "up").exists)
        args = ["--gpu", "1", "--max_jobs_run", "2", "JOB=1:2", "x.JOB.log", *GPUS]
        assert call(tmp_path, *args, **env).returncode == 0
        assert gpus_seen(tmp_path, 2) == ["1", "1"]
    finally:
        first.terminate()
        first.wait()


@pytest.mark.parametrize("shown", ["", "-1", "NoDevFiles"])
def test_without_gpus_a_task_runs_unassigned(tmp_path: Path, shown: str) -> None:
    env = {"CUDA_VISIBLE_DEVICES": shown, "TMPDIR": str(tmp_path)}
    assert call(tmp_path, "--gpu", "2", "x.log", *GPUS, **env).returncode == 0
    assert output(tmp_path / "x.log").strip() == shown


def test_gpus_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    assert call(tmp_path, "--gpu", "2", "x.log", *GPUS, **env).returncode == 0
    assert output(tmp_path / "x.log") == "0,1\n"


def test_more_gpus_than_there_are(tmp_path: Path) -> None:
    ended = call(tmp_path, "--gpu", "3", "x.log", "true", CUDA_VISIBLE_DEVICES="0,1")
    assert ended.returncode == 78 and "E_GPU" in ended.stderr


def test_slots_are_shared_by_launchers(tmp_path: Path) -> None:
    """Two launchers with two tasks each and one slot: never two tasks at once."""
    script = "set -C; : > busy && sleep 0.3 && rm busy"
    launchers = [
        subprocess.Popen(
            [*LOCAL, "JOB=1:2", f"{name}.JOB.log", "sh", "-c", script],
            cwd=tmp_path,
            env=environment(TOPDOWN_SLOTS="1", TMPDIR=str(tmp_path)),
        )
        for name in ("a", "b")
    ]
    assert [launcher.wait(30) for launcher in launchers] == [0, 0]


def test_without_slots_tasks_do_not_wait(tmp_path: Path) -> None:
    script = "set -C; : > busy && sleep 1 && rm busy"
    done = call(tmp_path, "JOB=1:2", "a.JOB.log", "sh", "-c", script)
    assert done.returncode == 1  # so the test above can fail


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
def test_who_waits_says_for_what_and_for_whom(tmp_path, env, options, what) -> None:
    """Here, in the log, and so in ``status``, until it starts."""
    env = environment(**env, TMPDIR=str(tmp_path))
    (tmp_path / "b").mkdir()
    script = "touch up; until [ -e go ]; do sleep 0.05; done"
    first = subprocess.Popen(
        [*LOCAL, *options, "a.log", "bash", "-c", script], cwd=tmp_path, env=env
    )
    try:
        assert wait_until((tmp_path / "up").exists)
        second = subprocess.Popen(
            [*LOCAL, *options, "x.log", "echo", "ran"],
            cwd=tmp_path / "b",
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = second.stderr.readline()
        by = f"{what}: held by pid {first.pid} on "
        assert f"local: x.log waits for {by}" in said
        assert f"(a.log in {tmp_path})" in said
        assert why_waiting(tmp_path / "b" / "x.log").startswith(by)
        (tmp_path / "go").touch()
        assert second.wait(30) == 0
        assert why_waiting(tmp_path / "b" / "x.log") == ""
    finally:
        first.terminate()
        first.wait()
    assert output(tmp_path / "b" / "x.log") == "ran\n"


def test_places_of_another_checkout_are_its_own(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TOPDOWN_SLOTS", "1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first = places.Places(0)
    assert first.take(Task("a.log", [])) == ""
    assert "held by pid" in places.Places(0).take(Task("b.log", []))
    monkeypatch.setattr(places, "_CHECKOUT", tmp_path)
    assert places.Places(0).take(Task("b.log", [])) == ""


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
    script = "printf 'one\\ntw'; sleep 0.5; printf 'o\\n\\nend'"
    done = call(
        tmp_path,
        *("--follow", "1", "JOB=1:2", "a.JOB.log", "sh", "-c", f"{script}JOB"),
    )
    assert done.returncode == 0, done.stderr
    for n in (1, 2):
        mine = [s for s in done.stdout.splitlines() if s.startswith(f"[a.{n}] ")]
        # the last line has no end of its own: it stands in the log
        assert mine[:3] == [f"[a.{n}] one", f"[a.{n}] two", f"[a.{n}] "]
        assert output(tmp_path / f"a.{n}.log").startswith(f"one\ntwo\n\nend{n}")
