"""What a training must leave behind, without a training."""

from __future__ import annotations

import signal
import types

import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer import trainer
from espnet_topdown.trainer.stop import Stop

pytestmark = pytest.mark.espnet
CRITERIA = [("valid", "acc", "max"), ("valid", "loss", "min")]


class Reporter:
    """As much of ESPnet's as is asked."""

    def __init__(self, *known: str) -> None:
        self.known = known

    def has(self, phase: str, key: str) -> bool:
        return key in self.known

    def get_best_epoch(self, phase: str, key: str, mode: str) -> int:
        return 3


def test_no_criterion_has_a_value(tmp_path):
    with pytest.raises(TopDownError, match="E_NAN: valid.acc, valid.loss: NaN or ab"):
        trainer._check_result(tmp_path, Reporter(), CRITERIA)


def test_no_training_ends_well_without_them(tmp_path, monkeypatch):
    """ESPnet's loop ends as if all was well; here it has not even begun."""

    monkeypatch.setattr(trainer.Trainer, "run", lambda **options: None)
    options = types.SimpleNamespace(
        **{"output_dir": tmp_path, "best_model_criterion": CRITERIA, "ngpu": 0},
        **{"progress": False, "harvest": "", "frozen_norm": "train"},
        **{"allow_infeasible": False, "patience": None, "resume": False},
        early_stopping_criterion=CRITERIA[1],
    )
    alone = types.SimpleNamespace(distributed=False)
    with pytest.raises(TopDownError, match="E_NAN: valid.acc, valid.loss: NaN or ab"):
        trainer.TopDownTrainer.run(torch.nn.Linear(1, 1), options, alone)


def test_the_best_epoch_is_gone(tmp_path):
    (tmp_path / "valid.loss.best.pth").symlink_to("3epoch.pth")
    with pytest.raises(TopDownError, match="E_BEST_LOST: .*loss.best.* epoch 3") as e:
        trainer._check_result(tmp_path, Reporter("loss"), CRITERIA)
    assert e.value.status == 65
    (tmp_path / "3epoch.pth").touch()
    trainer._check_result(tmp_path, Reporter("loss"), CRITERIA)


@pytest.mark.parametrize(
    "after, seen", [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (None, [1, 2, 3])]
)
def test_a_signal_is_seen_after_the_batch_in_which_it_came(after, seen):
    """After the last one too: then the validation does not begin."""
    stop, got = Stop(), []
    session = types.SimpleNamespace(
        stop=stop, progress=None, guard=types.SimpleNamespace()
    )

    def train() -> None:
        for _, batch in trainer._Watched(
            [("u", 1), ("u", 2), ("u", 3)], session, 2, True
        ):
            got.append(batch)
            if batch == after:
                stop.signal = signal.SIGTERM

    if after is None:
        train()
    else:
        with pytest.raises(TopDownError, match="E_PREEMPTED: .*SIGTERM in epoch 2"):
            train()
    assert got == seen
