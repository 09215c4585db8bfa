"""A corpus of tones and configurations small enough to train in half a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

RATE = 8000
TOKENS = ["<blank>", "<unk>", "a", "b", "c", "<space>", "<sos/eos>"]
TONES = {"a": 300.0, "b": 700.0, "c": 1500.0}
Train = Callable[..., Path]


def write_set(folder: Path, texts: list[str], seed: int) -> None:
    """One utterance a text, 0.12 s of tone a letter."""
    folder.mkdir(parents=True)
    random = np.random.RandomState(seed)
    scp, text, shape = [], [], []
    for i, words in enumerate(texts):
        utt = f"{folder.name}{i:02d}"
        time = np.arange(int(0.12 * RATE)) / RATE
        parts = [np.sin(2 * np.pi * TONES.get(c, 50.0) * time) for c in words]
        wav = 0.3 * np.concatenate(parts) + 0.01 * random.randn(len(time) * len(words))
        soundfile.write(folder / f"{utt}.wav", wav, RATE)
        scp.append(f"{utt} {folder / (utt + '.wav')}\n")
        text.append(f"{utt} {words}\n")
        shape.append(f"{utt} {len(wav)}\n")
    (folder / "wav.scp").write_text("".join(scp))
    (folder / "text").write_text("".join(text))
    (folder / "speech_shape").write_text("".join(shape))


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``train`` (6 utterances), ``dev`` (3) and ``tokens.txt``."""
    root = tmp_path_factory.mktemp("tones")
    write_set(root / "train", ["abc", "ba cab", "ccab", "ab", "cba b", "bca"], 1)
    write_set(root / "dev", ["cab", "ab c", "bb"], 2)
    (root / "tokens.txt").write_text("\n".join(TOKENS) + "\n")
    return root


def tiny_config(tones: Path, **changes: Any) -> dict[str, Any]:
    """An ESPnet configuration that its own trainer takes as it is.

    ``changes`` are merged into it; a new encoder begins with no options.
    """
    config: dict[str, Any] = {
        "encoder": "rnn",
        "encoder_conf": {"num_layers": 2, "hidden_size": 6, "output_size": 6},
        "decoder": "rnn",
        "model_conf": {"ctc_weight": 1.0},
        "frontend_conf": {"fs": RATE, "n_fft": 128, "hop_length": 64, "n_mels": 12},
        "optim": "adadelta",
        "optim_conf": {"lr": 1.0},
        "max_epoch": 3,
        "batch_type": "sorted",
        "batch_size": 2,
        "num_workers": 0,
        "ngpu": 0,
        "seed": 1000,
        "resume": True,
        "token_type": "char",
        "token_list": str(tones / "tokens.txt"),
        "use_matplotlib": False,
        "use_tensorboard": False,
        "best_model_criterion": [["valid", "loss", "min"]],
        "keep_nbest_models": 1,
    }
    config["encoder_conf"].update(subsample=[2, 1])
    for part, name in (("train", "train"), ("valid", "dev")):
        files = [["wav.scp", "speech", "sound"], ["text", "text", "text"]]
        config[f"{part}_data_path_and_name_and_type"] = [
            [str(tones / name / f), a, b] for f, a, b in files
        ]
        config[f"{part}_shape_file"] = [str(tones / name / "speech_shape")]
    if "encoder" in changes:
        config["encoder_conf"] = {}
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            value = {**config[key], **value}
        config[key] = value
    return config


@pytest.fixture
def train(tones: Path, tmp_path: Path) -> Train:
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
