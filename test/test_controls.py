"""Comparisons beside the search: what they train, from what, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import rnn_weights, write_experiment

from espnet_topdown.cmd import launch
from espnet_topdown.files import read_yaml, write_yaml
from espnet_topdown.models.weights import differing, load_weights
from espnet_topdown.records import Journal
from espnet_topdown.search import driver
from espnet_topdown.search._controls import (
    _random_values,
    control_spec,
    least_epochs,
    path_epochs,
)
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.request import Search, SearchRequest
from espnet_topdown.search.strategies import CONTROLS

pytestmark = pytest.mark.espnet  # reads the option names of ESPnet's trainer
OUT = Path("exp/search")


def test_joint_control_trains_while_the_search_goes_on(
    search, toy_experiment, monkeypatch
):
    said = []  # after each job: the epochs that it may come to

    def run_jobs(jobs, cmd, on_poll, on_done, **options):
        def done(job, status):
            more = on_done(job, status)
            on_poll()
            return more

        return launch.run_jobs(jobs, cmd, on_poll=on_poll, on_done=done, **options)

    monkeypatch.setattr(driver, "run_jobs", run_jobs)
    monkeypatch.setattr(driver.ProgressLine, "show", lambda *args: said.append(args[3]))
    edit = toy_experiment / "config.yaml"
    edit.write_text(edit.read_text().replace("patience: null", "patience: 1"))
    errors = {"m3": 50, "m1.2": 40, "m1.1.1": 30}
    _, calls = search(errors, controls=("joint", "warm"), max_jobs=2)
    assert calls.count("control.joint") == 1
    assert calls.index("control.joint") > calls.index("m1.1.1")
    events = Journal(OUT / "journal.jsonl").events()
    started = [e["node"] for e in events if e["event"] == "started"]
    # 4 of the base and at least 3 of m1.2; then what there is time for; then the path
    assert 1 < started.count("control.joint") < 5
    joint = read_yaml(OUT / "control.joint" / "train.yaml")
    assert joint["max_epoch"] == 4 + 4 + 4  # base, m1.2, m1.1.1
    assert joint["seed"] == read_yaml(OUT / "m1.2" / "train.yaml")["seed"]
    assert joint["init_param"] == [] and joint["freeze_param"] == []
    assert said[0] == joint["max_epoch"] and said[-1] == 0, said


def test_which_retraining_ended_first_is_nothing_to_control_joint(toy_experiment):
    edit = toy_experiment / "config.yaml"
    edit.write_text(edit.read_text().replace("patience: null", "patience: 1"))
    asked = Search.of(SearchRequest(toy_experiment, OUT, strategy="full"))
    for name, epochs in (("m1.2", 4), ("m2.1", 3)):
        write_experiment(OUT / name, rnn_weights(), epochs=epochs)
    root, *both = (Composition.parse(name) for name in ("m3", "m1.2", "m2.1"))
    assert path_epochs(asked, root) == 4 + 4, "nothing gained: as m1.2"
    for first in both:
        least = least_epochs(asked, dict.fromkeys((root, first), 9))
        assert least == 4 + 3 == path_epochs(asked, both[1])


def with_schedule(folder: Path, scheduler: str, conf: dict) -> None:
    config = read_yaml(folder / "config.yaml")
    config.update(patience=7, scheduler=scheduler, scheduler_conf=conf)
    write_yaml(folder / "config.yaml", config)


TRISTAGE = {"max_steps": 600, "warmup_ratio": 0.1, "hold_ratio": 0.4}
TWICE = {**TRISTAGE, "max_steps": 1200}


@pytest.mark.parametrize(
    "name, file, options",
    [
        ("warm", ["frozen.pth"], {"max_epoch": 3, "patience": 7}),
        ("restart", ["start.pth"], {"max_epoch": 3, "patience": 7}),
        ("long", [], {"max_epoch": 2 * 4, "patience": None, "scheduler_conf": TWICE}),
    ],
)
def test_what_a_control_trains(name, file, options, search, toy_experiment):
    with_schedule(toy_experiment, "tristagelr", TRISTAGE)
    search({"m3": 50, "m1.2": 60}, controls=(name,), max_epoch=3)
    folder = OUT / f"control.{name}"
    train = read_yaml(folder / "train.yaml")
    options = {"scheduler_conf": TRISTAGE, "freeze_param": [], **options}
    options["init_param"] = [str(folder / one) for one in file]
    assert {key: train[key] for key in options} == options
    assert train["seed"] == read_yaml(OUT / "m1.2" / "train.yaml")["seed"]
    if name == "restart":
        base = load_weights(toy_experiment / "4epoch.pth")
        start = load_weights(folder / "start.pth")
        assert start.keys() == base.keys()
        assert all((start[n] == base[n]).all() for n in base)


@pytest.mark.parametrize("reinit", ["shrink:0.4,0.1", "rewind:4"])
def test_controls_begin_where_the_retraining_does(search, reinit):
    """Each differs from it by what its name says, and by nothing else."""
    names = ("warm", "random", "lowest", "bottom_up", "restart", "long")
    ends = {f"control.{name}": 50 for name in names if name != "bottom_up"}
    ends |= {"m3": 50, "m1.2": 60, "control.bottom_up1": 45, "control.bottom_up2": 48}
    search(ends, controls=names, reinit=reinit)
    ours = load_weights(OUT / "m1.2" / "start.pth")
    for name in ("warm", "random"):
        start = load_weights(OUT / f"control.{name}" / "start.pth")
        assert start.keys() == ours.keys() and differing(start, ours, ours) == []
    said = {
        path: read_yaml(OUT / path / "retrain.yaml") for path in ends if path != "m3"
    }
    where = said["m1.2"]["start_from"]
    first = said["control.bottom_up1"]["frozen_from"]
    assert {
        path: (job.get("start"), job.get("start_from")) for path, job in said.items()
    } == {
        **dict.fromkeys(said, (reinit, where)),
        "control.bottom_up2": (
            reinit,
            where if "rewind" in reinit else said["control.bottom_up2"]["frozen_from"],
        ),
        "control.restart": ("keep", first),
        "control.long": (None, None),
    }


ONE_CYCLE = {"total_steps": None, "steps_per_epoch": 7}


@pytest.mark.parametrize(
    "scheduler, conf, twice",
    [
        (None, {}, {}),
        ("warmuplr", {"warmup_steps": 100}, {"warmup_steps": 100}),
        ("reducelronplateau", {"patience": 2}, {"patience": 2}),
        ("multisteplr", {"milestones": [3, 5]}, {"milestones": [6, 10]}),
        ("onecyclelr", {**ONE_CYCLE, "epochs": 9}, {**ONE_CYCLE, "epochs": 18}),
        ("exponentiallr", {"gamma": 0.25}, {"gamma": 0.5}),
    ],
)
def test_the_schedule_of_control_long(toy_experiment, scheduler, conf, twice):
    with_schedule(toy_experiment, scheduler, conf)
    asked = Search.of(SearchRequest(toy_experiment, OUT))
    assert control_spec(asked, "long").overrides["scheduler_conf"] == twice


def test_all_controls(search):
    *others, bottom_up = CONTROLS
    assert bottom_up == "bottom_up"
    ends = {f"control.{name}": 50 for name in others}
    ends |= {"m3": 50, "m1.2": 60, "control.bottom_up1": 45, "control.bottom_up2": 48}
    result, calls = search(ends, controls=tuple(CONTROLS), max_jobs=3)
    assert sorted(c for c in calls if "train_only" not in c) == sorted(ends)
    assert set(result["nodes"]) == set(ends)
    lowest = read_yaml(OUT / "control.lowest" / "retrain.yaml")
    assert lowest["frozen"] == ["blstm0"]
    second = read_yaml(OUT / "control.bottom_up2" / "retrain.yaml")
    assert second["frozen"] == ["blstm1", "blstm0"]
    assert second["frozen_from"].startswith("exp/search/control.bottom_up1/")


def test_control_random_freezes_values_that_nobody_trained(search, toy_experiment):
    search({"m3": 50, "m1.2": 60}, controls=("random",))
    frozen = load_weights(OUT / "control.random" / "frozen.pth")
    base = load_weights(toy_experiment / "4epoch.pth")
    weight = frozen["ctc.ctc_lo.weight"]
    assert set(frozen) == {"ctc.ctc_lo.weight", "ctc.ctc_lo.bias"}
    assert (weight != base["ctc.ctc_lo.weight"]).all()
    assert weight.abs().max() <= 2**-0.5, "1 / sqrt(inputs)"
    wide = {"l.weight": torch.ones(9, 400), "l.bias": torch.ones(900)}
    for value in _random_values(wide, seed=1).values():  # half the bound on average
        assert 0.02 < value.abs().mean() < 0.03 and value.abs().max() <= 0.05
        assert value.min() < 0 < value.max()
    norm = _random_values({"l.running_var": torch.full((99,), 5.0)}, seed=1)
    assert (norm["l.running_var"] > 0).all(), "variances"
    drawn = {}
    for seed in ("own", "same"):
        request = SearchRequest(toy_experiment, Path(seed), retrain_seed=seed)
        spec = control_spec(Search.of(request), "random")
        drawn[seed] = load_weights(spec.frozen_from)
    assert differing(frozen, drawn["own"], frozen) == [], "a seed repeats them"
    assert differing(frozen, drawn["same"], frozen) == list(frozen)
