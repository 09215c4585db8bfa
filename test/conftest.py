"""Small ESPnet experiments and a launcher that only pretends to train."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared" / "data"
FAKE_LAUNCHER = REPO / "test" / "fixtures" / "fake_launcher.py"


def rnn_weights(n_blstm: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    """Tensors with the names of a CTC model with BLSTM layers, but tiny."""
    random = torch.Generator().manual_seed(seed)
    names = ["ctc.ctc_lo.weight", "ctc.ctc_lo.bias"]
    for i in range(n_blstm):
        names += [f"encoder.enc.0.birnn{i}.weight_ih_l0", f"encoder.enc.0.bt{i}.weight"]
    return {n: torch.randn(3, 2, generator=random) for n in names}


def write_experiment(
    folder: Path, weights: dict[str, torch.Tensor], epochs: int = 4, **config: object
) -> Path:
    """A folder as ESPnet's trainer leaves it; the last epoch is the best."""
    folder.mkdir(parents=True, exist_ok=True)
    defaults = {
        "encoder": "rnn",
        "max_epoch": epochs,
        "patience": None,
        "seed": 0,
        "token_list": ["<blank>", "<unk>", "a", "b", "<sos/eos>"],
        "best_model_criterion": [["valid", "loss", "min"]],
        "frontend_conf": {"fs": "8k"},
        "required": ["output_dir"],
        "version": "202511",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({**defaults, **config}))
    stats = {
        e: {"train": {"loss": 9.0 / e}, "valid": {"loss": 10.0 / e}}
        for e in range(1, epochs + 1)
    }
    checkpoint = {"model": weights, "reporter": {"stats": stats, "epoch": epochs}}
    torch.save(checkpoint, folder / "checkpoint.pth")
    torch.save(weights, folder / f"{epochs}epoch.pth")
    (folder / "valid.loss.best.pth").symlink_to(f"{epochs}epoch.pth")
    return folder


def write_data(folder: Path, ids: list[str]) -> dict[str, list]:
    """A set of short noises with transcripts; returns the config entries for it."""
    folder.mkdir(parents=True)
    for utt in ids:
        seed = zlib.crc32(utt.encode())
        noise = np.random.default_rng(seed).uniform(-0.1, 0.1, 4000)
        soundfile.write(folder / f"{utt}.wav", noise, 8000)
    scp = [f"{utt} {folder}/{utt}.wav\n" for utt in ids]
    (folder / "wav.scp").write_text("".join(scp))
    (folder / "text").write_text("".join(f"{utt} ab\n" for utt in ids))
    return [
        [f"{folder}/wav.scp", "speech", "sound"],
        [f"{folder}/text", "text", "text"],
    ]


@pytest.fixture
def toy_experiment(tmp_path, monkeypatch) -> Path:
    """A finished joint training of three layers: softmax, blstm1, blstm0."""
    monkeypatch.chdir(tmp_path)
    data = {
        f"{phase}_data_path_and_name_and_type": write_data(Path("data", phase), ids)
        for phase, ids in (("train", ["t1", "t2"]), ("valid", ["v1", "v2"]))
    }
    return write_experiment(Path("exp/joint"), rnn_weights(), **data)


@pytest.fixture
def fake_cmd(monkeypatch, tmp_path) -> str:
    """A launcher that writes what a job would write; see fixtures/fake_launcher.py.

    Errors of the nodes come from the file ``errors.json``; every call adds its node to
    the file ``calls``.
    """
    monkeypatch.setenv("FAKE_DIR", str(tmp_path))
    return f"{sys.executable} {FAKE_LAUNCHER}"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Genuine data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared/data with genuine experiments is not here")
    return SHARED
