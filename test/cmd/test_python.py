"""No file of the user's takes the place of one of Python's modules."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from launching import REPOSITORY, Place, output

from espnet_topdown.cmd.launch import Job, backend_cmd, run_jobs
from espnet_topdown.cmd.python import python_module

# What our start, ESPnet and torch import sooner or later; all are plausible as scripts.
THEIRS = "random tokenize copy queue types runpy inspect tempfile".split()
SAYS = "import random, copy, queue, tokenize, inspect, tempfile, sys\n"
SAYS += "print(random.__file__, sys.argv)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe with scripts of those names, and a module that a job runs."""
    place = Place(tmp_path, "slurm").folder
    for name in THEIRS:
        (place / f"{name}.py").write_text(f"raise SystemExit('their {name}.py ran')\n")
    (place / "lib").mkdir()
    (place / "lib" / "a_job.py").write_text(SAYS)
    return place


@pytest.mark.parametrize("path", ["", ":", "::/nowhere"])
@pytest.mark.parametrize("backend", ["local", "slurm"])
def test_a_task_of_a_launcher(folder: Path, monkeypatch, backend, path: str) -> None:
    """Also where an empty part of PYTHONPATH means the current folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}:{folder / 'lib'}{path}")
    monkeypatch.setenv("PATH", f"{folder.parent / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_SLURM", str(folder.parent / "fake"))
    job = Job("a", Path("x.log"), python_module("a_job"))
    assert run_jobs([job], backend_cmd(backend)) == {"a": 0}, Path("x.log").read_text()
    assert str(folder) not in output(Path("x.log")).split()[0]


@pytest.mark.parametrize(
    "path, status", [("", 0), (":", 0), ("/nowhere:", 0), ("{here}", 1)]
)
def test_the_command_of_the_shell(tmp_path: Path, path: str, status: int) -> None:
    """A folder that is named, and not an empty part, is the user's word."""
    (tmp_path / "typing.py").write_text("raise SystemExit(1)\n")
    program = Path(sys.executable).with_name("espnet-topdown")
    env = {**os.environ, "PYTHONPATH": path.format(here=tmp_path)}
    call = [program, "--version"]
    done = subprocess.run(call, cwd=tmp_path, env=env, capture_output=True)
    assert done.returncode == status, done.stderr


def test_this_is_the_one_place_that_starts_modules() -> None:
    lines = [
        f"{file.name}: {line}"
        for file in (REPOSITORY / "espnet_topdown").rglob("*.py")
        for line in file.read_text().splitlines()
        if re.search(r"""sys\.executable, *["']-m""", line)
    ]
    assert [s for s in lines if not s.startswith("python.py")] == []
