"""The command itself, in a process of its own: exit statuses and SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
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


@pytest.mark.slow
def test_an_error_is_one_line_and_a_status(folder):
    status, lines = run(folder, "--max_epoch", "0")
    assert status == 78
    assert lines[-1].startswith("E_RANGE: max_epoch must be")
    assert not any("Traceback" in line for line in lines)


@pytest.mark.slow
def test_sigkill_then_the_same_command(folder):
    options = ["--max_epoch", "40", "--optim_conf", "lr=0.1"]
    child = subprocess.Popen(
        command(folder, *options), env=environment(), stderr=subprocess.DEVNULL
    )
    for _ in range(600):
        if (folder / "exp" / "3epoch.pth").exists() or child.poll() is not None:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert run(folder, *options)[0] == 0
    assert run(folder, *options, "--output_dir", str(folder / "whole"))[0] == 0
    killed, whole = (
        torch.load(folder / f / "40epoch.pth", weights_only=True)
        for f in ("exp", "whole")
    )
    assert all(torch.equal(killed[n], whole[n]) for n in whole)
    best = [os.readlink(folder / f / "valid.loss.best.pth") for f in ("exp", "whole")]
    assert best[0] == best[1]
