from __future__ import annotations

from pathlib import Path

import pytest

from espnet_topdown.abandon import Rule, abandoned, write_rule
from espnet_topdown.jobs.run import is_trained
from espnet_topdown.models.experiment import Experiment

pytestmark = pytest.mark.espnet


@pytest.mark.parametrize("patience", [None, 5])
def test_a_training_that_trails_ends_early(train, tmp_path: Path, patience) -> None:
    folder = tmp_path / "exp"
    folder.mkdir()
    write_rule(folder, Rule(0.1, 2), ("valid", "loss", "min"), {1: 1e-9, 2: 1e-9})
    train("exp", max_epoch=4, patience=patience)
    experiment = Experiment(folder)
    assert experiment.last_epoch == abandoned(folder) == 2
    assert experiment.model_file().is_file(), "it can be scored"
    asked = f"max_epoch: 4\npatience: {patience or 'null'}\n"
    (folder / "train.yaml").write_text(asked)
    assert is_trained(folder), "the same command does not train on"
