"""Searches that the tests of the report read; written once, each test gets a copy."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from made_up_search import write_search, write_seeds


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search in ``exp``, three seeds of it in ``seeds``."""
    root = tmp_path_factory.mktemp("made_up")
    write_search(root / "exp" / "asr_base_topdown")
    write_seeds(root / "seeds")
    return root


@pytest.fixture
def search(made_up: Path, tmp_path: Path) -> Path:
    """A finished search with a test set, two controls and a failed candidate."""
    shutil.copytree(made_up / "exp", tmp_path / "exp", symlinks=True)
    return tmp_path / "exp" / "asr_base_topdown"


@pytest.fixture
def three(made_up: Path, tmp_path: Path) -> list[Path]:
    """Searches of the seeds 1, 2, 3; the third keeps its joint model."""
    shutil.copytree(made_up / "seeds", tmp_path / "seeds", symlinks=True)
    return sorted((tmp_path / "seeds").glob("s?/*_topdown"))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without figures, which take most of a report's time."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
