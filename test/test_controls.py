"""Comparisons beside the search: what they train, from what, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet_topdown.files import read_yaml
from espnet_topdown.records import Journal

pytestmark = pytest.mark.espnet  # reads the option names of ESPnet's trainer
OUT = Path("exp/search")


def test_joint_control_gets_the_epochs_of_the_whole_path(search):
    errors = {"m3": 50, "m1.2": 40, "m1.1.1": 30}
    _, calls = search(errors, controls=("joint", "warm"), max_jobs=2)
    assert calls.count("control.joint") == 1
    assert calls.index("control.joint") > calls.index("m1.1.1")
    joint = read_yaml(OUT / "control.joint" / "train.yaml")
    assert joint["max_epoch"] == 4 + 4 + 4  # base, m1.2, m1.1.1
    assert joint["seed"] == read_yaml(OUT / "m1.2" / "train.yaml")["seed"]
    assert joint["init_param"] == [] and joint["freeze_param"] == []


def test_joint_control_trains_while_the_search_goes_on(search, toy_experiment):
    edit = toy_experiment / "config.yaml"
    edit.write_text(edit.read_text().replace("patience: null", "patience: 1"))
    search({"m3": 50, "m1.2": 40, "m1.1.1": 30}, controls=("joint",), max_jobs=2)
    events = Journal(OUT / "journal.jsonl").events()
    started = [e["node"] for e in events if e["event"] == "started"]
    # 4 of the base and at least 3 of m1.2; then, if it has time, all 4 of it; then
    # those of the path
    assert started.count("control.joint") in (2, 3)
    assert read_yaml(OUT / "control.joint" / "train.yaml")["max_epoch"] == 4 + 4 + 4


def test_warm_control_copies_the_softmax_but_trains_it(search):
    search({"m3": 50, "m1.2": 60}, controls=("warm",))
    warm = read_yaml(OUT / "control.warm" / "train.yaml")
    assert warm["init_param"] == ["exp/search/control.warm/frozen.pth"]
    assert warm["freeze_param"] == []


def test_all_controls(search):
    errors = {
        "m3": 50,
        "m1.2": 60,
        "control.bottom_up1": 45,
        "control.bottom_up2": 48,
    }
    names = ("joint", "warm", "random", "lowest", "bottom_up")
    result, calls = search(errors, controls=names, max_jobs=3)
    assert sorted(c for c in calls if "train_only" not in c) == sorted(
        [*(f"control.{n}" for n in names[:4]), *errors]
    )
    assert {n for n in result["nodes"] if n.startswith("control")} == {
        *(f"control.{n}" for n in names[:4]),
        "control.bottom_up1",
        "control.bottom_up2",
    }
    lowest = read_yaml(OUT / "control.lowest" / "retrain.yaml")
    assert lowest["frozen"] == ["blstm0"]
    second = read_yaml(OUT / "control.bottom_up2" / "retrain.yaml")
    assert second["frozen"] == ["blstm1", "blstm0"]
    assert second["frozen_from"].startswith("exp/search/control.bottom_up1/")


def test_control_random_freezes_values_that_nobody_trained(search, toy_experiment):
    from espnet_topdown.models.weights import load_weights

    search({"m3": 50, "m1.2": 60}, controls=("random",))
    frozen = load_weights(OUT / "control.random" / "frozen.pth")
    base = load_weights(toy_experiment / "4epoch.pth")
    weight = frozen["ctc.ctc_lo.weight"]
    assert set(frozen) == {"ctc.ctc_lo.weight", "ctc.ctc_lo.bias"}
    assert (weight != base["ctc.ctc_lo.weight"]).all()
    assert weight.abs().max() <= 2**-0.5, "1 / sqrt(inputs)"
