"""Tasks of the local launcher: side by side, and none is left running."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from local_launcher import LOCAL, call, environment, output, wait_until

MEET = "touch up.JOB; until [ -e up.1 ] && [ -e up.2 ]; do sleep 0.02; done"
COUNT = "ls run.* 2>/dev/null | wc -l; touch run.JOB; sleep 0.1; rm run.JOB"


def test_two_tasks_run_side_by_side(tmp_path: Path) -> None:
    args = ["--max_jobs_run", "2", "JOB=1:2", "x.JOB.log", "bash", "-c", MEET]
    assert call(tmp_path, *args).returncode == 0


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_tasks_than_allowed(tmp_path: Path, most: int) -> None:
    options = ["--max_jobs_run", str(most), "JOB=1:5", "x.JOB.log"]
    assert call(tmp_path, *options, "bash", "-c", COUNT).returncode == 0
    seen = [int(output(tmp_path / f"x.{n}.log")) for n in range(1, 6)]
    assert max(seen) < most


def survivors(tag: str) -> list[str]:
    """Command lines that contain ``tag``, zombies left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, UnicodeDecodeError):
            continue
        if tag in line and state != "Z" and int(folder.name) != os.getpid():
            found.append(f"{folder.name} {line}")
    return found


FAMILY = "sleep {t} & (sleep {t} & sleep {t}) & {trap} touch up.JOB; wait; sleep {t}"
only_linux = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")


@only_linux
@pytest.mark.parametrize(
    "sent, trap",
    [
        (signal.SIGTERM, ""),
        (signal.SIGINT, ""),
        (signal.SIGHUP, ""),
        (signal.SIGTERM, "trap '' TERM INT;"),
    ],
    ids=["TERM", "INT", "HUP", "deaf"],
)
def test_nothing_survives_a_signal(tmp_path: Path, sent: int, trap: str) -> None:
    tag = f"39{os.getpid()}.{int(sent)}{len(trap)}"
    script = FAMILY.format(t=tag, trap=trap)
    args = [*LOCAL, "--max_jobs_run", "2", "JOB=1:3", "x.JOB.log", "bash", "-c", script]
    launcher = subprocess.Popen(args, cwd=tmp_path, env=environment())
    assert wait_until(lambda: len(list(tmp_path.glob("up.*"))) == 2)
    assert len(survivors(tag)) > 4
    launcher.send_signal(sent)
    assert launcher.wait(timeout=30) == 128 + sent
    assert survivors(tag) == []
    assert "# Ended (code 1" in (tmp_path / "x.1.log").read_text()
    assert not (tmp_path / "x.3.log").exists()


@only_linux
def test_tasks_die_with_a_killed_launcher(tmp_path: Path) -> None:
    tag = f"38{os.getpid()}"
    launcher = subprocess.Popen(
        [*LOCAL, "x.log", "sleep", tag], cwd=tmp_path, env=environment()
    )
    assert wait_until(lambda: len(survivors(tag)) == 2)
    launcher.kill()
    launcher.wait()
    assert wait_until(lambda: survivors(tag) == [])


@only_linux
def test_background_children_end_with_their_task(tmp_path: Path) -> None:
    tag = f"37{os.getpid()}"
    assert call(tmp_path, "x.log", "bash", "-c", f"sleep {tag} & true").returncode == 0
    assert survivors(tag) == []
