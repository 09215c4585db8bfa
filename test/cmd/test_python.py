"""No file of the user's takes the place of one of Python's modules."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from local_launcher import REPOSITORY, environment, output
from submitting import SlurmPlace

from espnet_topdown.cmd import python
from espnet_topdown.cmd.launch import Job, backend_cmd, run_jobs
from espnet_topdown.cmd.python import python_module, python_path

# What our start, ESPnet and torch import sooner or later; all are plausible as scripts.
THEIRS = (
    "random",
    "tokenize",
    "copy",
    "queue",
    "types",
    "runpy",
    "inspect",
    "tempfile",
)
SAYS = "import random, copy, queue, tokenize, inspect, tempfile; print(random.__file__)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe with scripts of those names, and a module that a job runs."""
    for name in THEIRS:
        text = f"raise SystemExit('the {name}.py of the user ran')\n"
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a_job.py").write_text(SAYS + "\nimport sys; print(sys.argv)")
    return tmp_path


def run(words: list[str], folder: Path, path: str) -> str:
    env = environment(PYTHONPATH=f"{REPOSITORY}:{folder / 'lib'}{path}")
    words = list(map(str, words))
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("new", [True, False])
def test_a_module_is_started(folder: Path, monkeypatch, new: bool) -> None:
    """By ``-P``, and by what Pythons before 3.11 have instead."""
    if not new:
        monkeypatch.setattr(python.sys, "version_info", (3, 9))
    said = run([*python_module("a_job", "a b", "-m")], folder, "")
    assert str(folder) not in said.splitlines()[0]
    assert said.splitlines()[1].endswith("a_job.py', 'a b', '-m']")


def test_what_is_no_module_is_left_to_python(folder: Path) -> None:
    words = [sys.executable, python.__file__, "-c", "print(7)"]
    assert run(words, folder / "lib", "") == "7\n"


@pytest.mark.parametrize("path", ["", ":", "::/nowhere"])
def test_a_task_of_the_local_launcher(folder: Path, monkeypatch, path: str) -> None:
    """Also where an empty part of PYTHONPATH means the current folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}:{folder / 'lib'}{path}")
    job = Job("a", Path("x.log"), python_module("a_job"))
    assert run_jobs([job], backend_cmd("local")) == {"a": 0}, Path("x.log").read_text()
    assert str(folder) not in output(Path("x.log")).splitlines()[0]


def test_a_job_on_a_cluster(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "place").mkdir()
    place = SlurmPlace(tmp_path / "place")
    place.env["PYTHONPATH"] += f":{folder / 'lib'}:"
    for name in THEIRS:
        (folder / f"{name}.py").rename(place.folder / f"{name}.py")
    place.line = python_module("espnet_topdown.cmd.slurm")
    place.env["PYTHONPATH"] = place.env["PYTHONPATH"].rstrip(":")
    status, err = place.call("a.log", *python_module("a_job"))
    assert status == 0, err
    log = output(place.folder / "a.log")
    assert str(place.folder) not in log.splitlines()[0]


def test_parts_of_a_path() -> None:
    assert python_path("") == ""
    assert python_path(":/a::/b:") == "/a:/b"


def test_this_is_the_one_place_that_starts_modules() -> None:
    found = []
    for file in (REPOSITORY / "espnet_topdown").rglob("*.py"):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if re.search(r"""sys\.executable, *["']-m""", line):
                found.append(f"{file.name}:{number}")
    assert [s for s in found if not s.startswith("python.py")] == []
