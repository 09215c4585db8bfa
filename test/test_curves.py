"""Learning curves from our trainer's file and from ESPnet's log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from espnet_topdown.report._figures import metric_for, points_of
from espnet_topdown.search.curves import Epoch, read_curve

HEAD = "[host] 2026-01-31 08:30:00,123 (trainer:380) INFO: "


LONG = "12epoch results: [train] loss=1.2e+03, time=1 hour, 2 minutes and 3.5 seconds, "
LONG += "total_count=4, [valid] cer_ctc=1.5, time=2 minutes, [att_plot] time=1 second"


@pytest.mark.parametrize(
    "line, epoch",
    [
        (LONG, Epoch(12, 3600 + 123.5 + 120 + 1, {"loss": 1200}, {"cer_ctc": 1.5})),
        ("3epoch results: [valid] loss=5.0e-04", Epoch(3, None, {}, {"loss": 0.0005})),
    ],
)
def test_espnets_log_line(tmp_path: Path, line: str, epoch: Epoch):
    (tmp_path / "train.log").write_text(f"noise\n{HEAD}{line}\nmore noise\n")
    assert read_curve(tmp_path) == (epoch,)


@pytest.mark.parametrize("names", ["train.{}.log", "train.log.{}"])
def test_rotated_logs_are_one_curve_and_the_newest_wins(tmp_path: Path, names: str):
    for path, epochs, loss in [
        (names.format(10), (1, 2, 3), "1.5"),
        (names.format(9), (2, 3), "2.5"),
        ("train.log", (3,), "3.5"),
    ]:
        lines = [f"{HEAD}{e}epoch results: [valid] loss={loss}" for e in epochs]
        (tmp_path / path).write_text("\n".join(lines))
    curve = read_curve(tmp_path)
    assert [e.valid["loss"] for e in curve] == [1.5, 2.5, 3.5]


def test_curve_file_with_a_torn_line_and_an_epoch_trained_twice(tmp_path: Path):
    rows = [{"epoch": 1, "train": {}, "valid": {"loss": n}} for n in (3, 2)]
    text = "".join(json.dumps(r) + "\n" for r in rows) + '{"epoch": 2, "val'
    (tmp_path / "curve.jsonl").write_text(text)
    (tmp_path / "train.log").write_text(f"{HEAD}7epoch results: [valid] loss=1.0")
    assert read_curve(tmp_path) == (Epoch(1, None, {}, {"loss": 2.0}),)


def test_nothing_to_read(tmp_path: Path):
    assert read_curve(tmp_path) == ()
    assert metric_for("cer", [()]) is None


@pytest.mark.parametrize(
    "criterion, keys, metric",
    [
        ("cer", ["loss", "cer_ctc", "cer"], "cer_ctc"),
        ("wer", ["loss", "cer_ctc", "wer"], "wer"),
        ("ter", ["loss"], "loss"),
        ("cer", ["acc"], None),
    ],
)
def test_the_measure_that_is_drawn(criterion, keys, metric):
    curve = (Epoch(1, valid=dict.fromkeys(keys, 1.0)),)
    assert metric_for(criterion, [curve]) == metric


def test_points_are_percent_and_finite():
    curve = tuple(
        Epoch(e, valid={"cer_ctc": v, "loss": 7.0})
        for e, v in [(1, 0.5), (2, float("nan")), (3, float("inf"))]
    )
    assert points_of(curve, "cer_ctc") == [(1, 50.0)]
    assert points_of(curve, "loss")[0] == (1, 7.0)
