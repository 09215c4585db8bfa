"""What ``make setup`` says where it cannot go on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Makes an environment whose pip finds a full disk.
PYTHON = """#!/bin/sh
[ "$1 $2" = "-m venv" ] || exit 0
mkdir -p "$3/bin"
python="$3/bin/python"
printf '#!/bin/sh\\necho "ERROR: No space left on device" >&2\\nexit 1\\n' >"${python}"
chmod +x "${python}"
"""


def setup(venv: Path, python: object) -> subprocess.CompletedProcess:
    command = ["make", "--no-print-directory", "setup", f"VENV={venv}"]
    return subprocess.run(
        [*command, f"PYTHON={python}"], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_pip_that_fails_is_no_setup(tmp_path: Path):
    fake = tmp_path / "python"
    fake.write_text(PYTHON)
    fake.chmod(0o755)
    for _ in range(2):  # the second time it is tried again
        done = setup(tmp_path / "venv", fake)
        assert done.returncode
        assert "No space left on device\nE_SETUP: pip did not finish" in done.stderr
        assert "needs 6 GB; " in done.stderr and "Do: see pip's" in done.stderr
        assert not (tmp_path / "venv/.installed").exists()


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_interpreter_that_is_missing(tmp_path: Path):
    done = setup(tmp_path / "venv", tmp_path / "none")
    assert done.returncode and "none" in done.stderr
    assert not (tmp_path / "venv").exists()
