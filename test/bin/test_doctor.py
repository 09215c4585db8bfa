"""``doctor`` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.espnet
@pytest.mark.nightly
def test_what_the_tests_run_with_works(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "espnet_topdown", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.stderr == ""
    checks = {c["name"]: c for c in json.loads(ran.stdout)["checks"]}
    assert all(checks[name]["ok"] for name in ("Python", "torchaudio", "espnet"))
