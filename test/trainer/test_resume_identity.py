"""A resumed training is the uninterrupted one, bit for bit: four encoders.

Every tensor of every model file and of the optimizer is compared, with no tolerance.
"""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from tones import RATE
from trained_state import ENCODERS, differing, options, state

pytestmark = pytest.mark.espnet
PLATEAU = {  # as the prompts' recipe has it; here no epoch is called a better one
    "optim": "adam",
    "optim_conf": {"lr": 0.01},
    "scheduler": "warmupreducelronplateau",
    "scheduler_conf": {"warmup_steps": 3, "patience": 0, "threshold": 100.0},
    "val_scheduler_criterion": ["valid", "loss"],
}
DECAY = {"adadelta_eps_decay": 0.01, "val_scheduler_criterion": ["valid", "loss"]}
NOISE = {"noise_scp": "noise.scp", "noise_apply_prob": 1.0, "noise_db_range": "0_20"}
TRAININGS = {name: options(name) for name in ENCODERS}
TRAININGS["rnn with a plateau"] = options("rnn", **PLATEAU)
TRAININGS["rnn with AdaDelta's eps lowered"] = options("rnn", **DECAY)
TRAININGS["rnn with random noise"] = options("rnn", **NOISE)
NIGHT = pytest.mark.nightly
NAMES = [pytest.param(n, marks=() if n == "rnn" else NIGHT) for n in TRAININGS]


@pytest.mark.parametrize("name", NAMES)
def test_identical(train, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 4 * RATE)
    soundfile.write("noise.wav", noise, RATE)
    (tmp_path / "noise.scp").write_text("noise noise.wav\n")
    whole = state(train("whole", max_epoch=3, **TRAININGS[name]))
    for max_epoch in (1, 3):
        parts = state(train("parts", max_epoch=max_epoch, **TRAININGS[name]))
    assert len(whole) > 20 and differing(whole, parts) == []
