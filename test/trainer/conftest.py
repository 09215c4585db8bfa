"""Trainings on tones, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from tones import tiny_config, write_corpus  # noqa: E402

import espnet_topdown.trainer.task  # noqa: E402,F401 slow, so not in a test's time


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus."""
    return write_corpus(tmp_path_factory.mktemp("tones"))


@pytest.fixture
def train(tones: Path, tmp_path: Path) -> Callable[..., Path]:
    """Train in this process; returns the experiment's folder."""

    def run(folder: str = "exp", *options: str, **changes: Any) -> Path:
        from espnet_topdown.trainer.task import TopDownASRTask

        config = tmp_path / f"{folder}.yaml"
        config.write_text(yaml.safe_dump(tiny_config(tones, **changes)))
        out = tmp_path / folder
        TopDownASRTask.main(
            cmd=["--config", str(config), "--output_dir", str(out), *options]
        )
        return out

    return run
