"""Tables for other programs, and what ESPnet's own trackers are told."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import types
from pathlib import Path

import pytest
import yaml
from record import unpack

from espnet_topdown.cli.main import main
from espnet_topdown.files import write_yaml
from espnet_topdown.jobs import run
from espnet_topdown.trainer import _checks


@pytest.mark.parametrize("name", ["finished", "interrupted", "joint_best"])
def test_tables(name: str, capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    unpack(name)
    before = sorted(tmp_path.rglob("*"))
    main(["report", "exp/search", "--format", "csv"])
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    main(["report", "exp/search", "--format", "json"])
    rows = json.loads(capsys.readouterr().out)
    assert sorted(tmp_path.rglob("*")) == before
    assert {*lines[0]} == {key for row in rows for key in row}
    for line, row in zip(lines, rows, strict=True):
        assert line == {k: str(row[k]) if row.get(k) is not None else "" for k in line}


@pytest.mark.espnet
def test_each_training_is_a_run_of_its_own(search, toy_experiment) -> None:
    base = toy_experiment / "config.yaml"
    config = yaml.safe_load(base.read_text())
    ids = {"wandb_id": "base", "wandb_name": "base", "wandb_project": "mine"}
    base.write_text(yaml.safe_dump({**config, **ids}))
    errors = {"m3": 50, "m1.2": 40, "control.warm": 45}
    search(errors, max_frozen=1, controls=("warm",), use_wandb=True)
    for name in ("m1.2", "control.warm"):
        train = yaml.safe_load(Path("exp/search", name, "train.yaml").read_text())
        told = {k: v for k, v in train.items() if "wandb" in k}
        assert told["use_wandb"] is True and told["wandb_project"] == "mine"
        assert (told["wandb_name"], told["wandb_id"]) == (name, None)


@pytest.mark.parametrize(
    "set_by_user, in_a_search, group",
    [(None, True, "a_topdown"), ("mine", True, "mine"), (None, False, None)],
)
def test_the_group_of_a_run(tmp_path, monkeypatch, set_by_user, in_a_search, group):
    monkeypatch.setenv("WANDB_RUN_GROUP", set_by_user or "")
    if set_by_user is None:
        monkeypatch.delenv("WANDB_RUN_GROUP")
    seen = []

    def train(words: list[str]) -> None:
        seen.append(os.environ.get("WANDB_RUN_GROUP"))

    trainer = types.SimpleNamespace(main=train)
    monkeypatch.setitem(sys.modules, "idle_trainer", trainer)
    monkeypatch.setattr(run, "is_trained", lambda folder: bool(seen))
    job = tmp_path / "a_topdown" / "m1.2"
    job.mkdir(parents=True)
    if in_a_search:
        write_yaml(job.parent / "search.yaml", {})
    run._train(job, {"trainer": "idle_trainer"}, None, False)
    assert seen == [group]


def test_wandb_is_asked_for_and_not_installed(monkeypatch) -> None:
    monkeypatch.setattr(_checks.importlib.util, "find_spec", lambda name: None)
    args = types.SimpleNamespace(
        use_matplotlib=False, use_tensorboard=False, use_wandb=True
    )
    with pytest.raises(_checks.TopDownError, match="E_INSTALL: use_wandb is true") as e:
        _checks._plots(args)
    assert e.value.remedy == "run 'pip install wandb'"
