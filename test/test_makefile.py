"""What ``make setup`` does and says; interpreter and installer are stand-ins."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="no make")

# Says that it is Python VERSION and makes environments with a copy of itself inside.
# Its installer writes down how it was called and fails while there is a file "full".
PYTHON = """#!/bin/sh
cd {folder}
case "$1 $2" in
    "-c "*version_info*) echo {version} ;;
    "-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    "-m uv")
        echo "$*" >>calls
        [ ! -e full ] || {{ echo "No space left on device" >&2; exit 2; }} ;;
esac
"""


class Setup:
    """``make setup`` of an environment in a folder, with a made-up Python."""

    def __init__(self, folder: Path, version: str) -> None:
        self.folder, self.venv = folder, folder / "venv"
        self.python = folder / "python"
        self.python.write_text(PYTHON.format(folder=folder, version=version))
        self.python.chmod(0o755)

    def run(self) -> tuple[int, str]:
        """Its status and its messages."""
        command = ["make", "--no-print-directory", "setup", f"VENV={self.venv}"]
        command += [f"PYTHON={self.python}"]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return ran.returncode, ran.stderr

    def installs(self) -> list[str]:
        lines = (self.folder / "calls").read_text().splitlines()
        return [line for line in lines if "pip install" in line]


def test_setup_installs_the_tested_set_once(tmp_path: Path) -> None:
    setup = Setup(tmp_path, "3.13")
    assert setup.run()[0] == 0
    (install,) = setup.installs()
    assert "-c espnet_topdown/constraints/python3.13.txt" in install
    assert "--reinstall" not in install  # the cache would be fetched anew, GBs a clone
    setup.python.unlink()  # neither an interpreter nor a network is needed any more
    assert setup.run()[0] == 0 and len(setup.installs()) == 1


def test_an_interrupted_setup_is_completed(tmp_path: Path) -> None:
    setup = Setup(tmp_path, "3.11")
    (tmp_path / "full").touch()
    for _ in range(2):
        status, said = setup.run()
        assert status and "No space left on device\nE_SETUP: " in said
        assert "needs 7 GB" in said and "then make setup again" in said
    (tmp_path / "full").unlink()
    assert setup.run()[0] == 0
    assert "--reinstall" in setup.installs()[-1]  # whatever was left half-written
    assert setup.run()[0] == 0 and len(setup.installs()) == 3


@pytest.mark.parametrize("found", ["2.7", "3.10", "3.99", "not found"])
def test_interpreter_without_a_tested_set(tmp_path: Path, found: str) -> None:
    setup = Setup(tmp_path, found)
    if found == "not found":
        setup.python.unlink()
    status, said = setup.run()
    assert status and not setup.venv.exists()
    assert f"E_PYTHON: {setup.python}: Python {found}, need one of" in said
    assert "Do: make setup PYTHON=" in said and "E_SETUP" not in said


def test_environment_of_an_interpreter_without_a_tested_set(tmp_path: Path) -> None:
    setup = Setup(tmp_path, "3.9")
    subprocess.run([setup.python, "-m", "venv", setup.venv], check=True)
    status, said = setup.run()
    assert status and f"Do: move {setup.venv} away" in said
