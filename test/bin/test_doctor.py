"""``doctor`` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("recipe", ["all", "prompts"])
@pytest.mark.parametrize("as_json", [False, True])
def test_command(tmp_path: Path, recipe: str, as_json: bool) -> None:
    """As a user runs it, in a process; without an import of ESPnet."""
    args = ["--recipe", recipe, "--import_espnet", "false", *["--json"] * as_json]
    ran = subprocess.run(
        [sys.executable, "-m", "espnet_topdown.bin.doctor", *args],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode in (0, 66) and ran.stderr == ""
    assert ("MISSING" in ran.stdout) or as_json or ran.returncode == 0
    if as_json:
        json.loads(ran.stdout)
