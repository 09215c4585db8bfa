"""The command itself, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "test" / "fixtures"))

from tones import tiny_config, write_corpus  # noqa: E402

pytestmark = pytest.mark.espnet


def command(folder, *options, module="espnet_topdown.bin.asr_train"):
    config = folder / "train.yaml"
    return [sys.executable, "-m", module, "--config", str(config), *options]


def environment():
    return {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}


def run(*args, **kwargs):
    done = subprocess.run(
        command(*args, **kwargs), env=environment(), text=True, capture_output=True
    )
    return done.returncode, done.stderr.strip().splitlines()


@pytest.fixture
def folder(tmp_path):
    corpus = write_corpus(tmp_path / "tones")
    config = tiny_config(corpus, output_dir=str(tmp_path / "exp"))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


@pytest.mark.nightly
def test_an_error_is_one_line_and_a_status(folder):
    status, lines = run(folder, "--max_epoch", "0")
    assert status == 78
    assert lines[-1].startswith("E_CONFIG_KEY: ")
    assert not any("Traceback" in line for line in lines)
