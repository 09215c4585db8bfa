"""The finished search that most tests of the report read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_up_search import write_search


@pytest.fixture(scope="session")
def finished_exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written once; tests get a copy."""
    exp = tmp_path_factory.mktemp("made_up") / "exp"
    write_search(exp / "asr_base_topdown")
    return exp


@pytest.fixture
def search(finished_exp: Path, tmp_path: Path) -> Path:
    """A finished search with a test set, two controls and a failed candidate."""
    shutil.copytree(finished_exp, tmp_path / "exp", symlinks=True)
    return tmp_path / "exp" / "asr_base_topdown"
