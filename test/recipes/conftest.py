"""What the recipe tests share: where things are, and one way to run a script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import warm_python

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "egs2" / "TEMPLATE" / "asr1"


def run_script(*words, cwd, timeout=60, **environment):
    """Run a command as a user would, with this Python first on PATH."""
    env = {
        k: v for k, v in os.environ.items() if k not in ("ESPNET_ROOT", "PYTHONPATH")
    }
    env["VIRTUAL_ENV"] = sys.prefix
    env.setdefault("OMP_NUM_THREADS", "1")
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    env.update(environment)
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=env,
        timeout=timeout,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def run():
    """The function ``run_script``."""
    return run_script


@pytest.fixture
def succeed():
    """Run a command, which must succeed: what it shows."""

    def call(*words, **options) -> str:
        done = run_script(*words, **options)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return call


@pytest.fixture
def template() -> Path:
    """The folder that all recipes link to."""
    return TEMPLATE


@pytest.fixture
def recipe(tmp_path) -> Path:
    """A new recipe in a folder whose name has a space."""
    folder = tmp_path / "my corpus" / "asr1"
    done = run_script(TEMPLATE / "setup.sh", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def tiny(recipe) -> Path:
    """A recipe with a made-up corpus and the smallest model."""
    conf = ROOT / "egs2" / "prompts_topdown" / "asr1" / "conf" / "train_tiny.yaml"
    shutil.copy(conf, recipe / "conf")
    corpus = ROOT / "test" / "fixtures" / "tones.py"
    script = f"#!/bin/sh\nset -eu\nexec '{sys.executable}' '{corpus}' data\n"
    (recipe / "local" / "data.sh").write_text(script)
    return recipe


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """PATH whose ``python3`` does not import ESPnet anew for every step."""
    made = warm_python.Warm(tmp_path_factory.mktemp("warm"))
    yield made.path()
    made.stop()


def copy_recipe(source: Path, folder: Path) -> Path:
    """A recipe without its results, in another place; its links lead back."""
    leave = shutil.ignore_patterns("exp", "data", "dump")
    shutil.copytree(source, folder, symlinks=True, ignore=leave)
    for link in [p for p in folder.iterdir() if p.is_symlink()]:
        target = (source / link.name).resolve()
        link.unlink()
        link.symlink_to(target)
    return folder


@pytest.fixture(scope="session")
def copied():
    """The function ``copy_recipe``."""
    return copy_recipe
