"""What a training must leave behind, without a training."""

from __future__ import annotations

import argparse
import importlib.util

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer import preflight
from espnet_topdown.trainer.trainer import check_result

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
        check_result(tmp_path, Reporter(), CRITERIA)


def test_the_best_epoch_is_gone(tmp_path):
    (tmp_path / "valid.loss.best.pth").symlink_to("3epoch.pth")
    with pytest.raises(TopDownError, match="E_BEST_LOST: .*loss.best.* epoch 3") as e:
        check_result(tmp_path, Reporter("loss"), CRITERIA)
    assert e.value.status == 65
    (tmp_path / "3epoch.pth").touch()
    check_result(tmp_path, Reporter("loss"), CRITERIA)


@pytest.mark.parametrize(
    "conf, refused",
    [
        ({}, True),
        ({"report_wer": False}, True),
        ({"report_cer": False, "report_wer": False}, False),
    ],
)
def test_without_editdistance(monkeypatch, conf, refused):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "editdistance" else real(n)
    )
    args = argparse.Namespace(
        model_conf=conf, use_matplotlib=False, use_tensorboard=False
    )
    if not refused:
        preflight.leave_out_missing(args)
        return
    with pytest.raises(TopDownError, match="E_INSTALL: .*editdistance"):
        preflight.leave_out_missing(args)
