"""Trainings on tones, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tones import tiny_config, write_corpus

from espnet_topdown.trainer.task import TopDownASRTask


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus."""
    return write_corpus(tmp_path_factory.mktemp("tones"))


@pytest.fixture
def train(tones: Path, tmp_path: Path) -> Callable[..., Path]:
    """Train in this process; returns the experiment's folder."""

    def run(folder: str = "exp", *options: str, **changes: Any) -> Path:
        config = tmp_path / f"{folder}.yaml"
        config.write_text(yaml.safe_dump(tiny_config(tones, **changes)))
        out = tmp_path / folder
        TopDownASRTask.main(
            cmd=["--config", str(config), "--output_dir", str(out), *options]
        )
        return out

    return run
