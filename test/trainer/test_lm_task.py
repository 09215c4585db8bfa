"""Trainings of a tiny language model, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from awd_reference import Reference, naive_nll, windows
from lm_corpus import RATES, tiny_config, write_corpus
from trained_state import differing, state

from espnet_topdown.data.words import read_ids
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json
from espnet_topdown.jobs.plan import plan
from espnet_topdown.jobs.prepare import prepare
from espnet_topdown.jobs.run import run_job
from espnet_topdown.jobs.spec import spec_by_hand
from espnet_topdown.jobs.verify import verify
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.weights import load_weights, read_checkpoint
from espnet_topdown.scoring import perplexity
from espnet_topdown.scoring.model import load_model
from espnet_topdown.search.request import Search, SearchRequest
from espnet_topdown.trainer.lm_task import TopDownLMTask

pytestmark = pytest.mark.espnet


@pytest.fixture
def train(tmp_path: Path, monkeypatch) -> Callable[..., Path]:
    """Train in this process; returns the experiment's folder."""
    monkeypatch.chdir(tmp_path)
    write_corpus(Path("data"))

    def run(folder: str = "exp", *options: str, **changes: Any) -> Path:
        config = Path(f"{folder}.yaml")
        config.write_text(yaml.safe_dump(tiny_config(Path("data"), **changes)))
        command = ["--config", str(config), "--output_dir", folder, *options]
        TopDownLMTask.main(cmd=command)
        return Path(folder)

    return run


def test_one_epoch_equals_plain_pytorch(train) -> None:
    exp = train(max_epoch=1, optim_conf={"lr": 10.0, "weight_decay": 1.2e-6})
    config = yaml.safe_load((exp / "config.yaml").read_text())
    torch.manual_seed(3)
    model = TopDownLMTask.build_model(SimpleNamespace(**config))
    ref = Reference(model.lm.state_dict(), RATES)
    ids = torch.from_numpy(read_ids(Path("data/train.txt"), config["token_list"]))
    text = ids[: 4 * (len(ids) // 4)].reshape(4, -1)
    torch.manual_seed(3 + 1)
    hidden: list = []
    for i, n, drawn in windows(text.shape[1], 8, np.random.RandomState(3 + 1)):
        x, y = text[:, i : i + n], text[:, i + 1 : i + 1 + n]
        loss, _, hidden = ref.loss(x, y, hidden, 2.0, 1.0)
        loss.backward()
        ref.update(10.0 * drawn / 8, 1.2e-6, 0.25)
    weights = load_weights(exp / "1epoch.pth")
    for name, want in ref.p.items():
        assert torch.allclose(weights[f"lm.{name}"], want, atol=1e-5), name


def test_resumed_across_the_switch_is_bit_identical(train) -> None:
    whole = train("whole")
    for epoch in (1, 2, 3, 5, 6):  # before, at and after the switch
        parts = train("parts", max_epoch=epoch)
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED.*seed 3 -> 4"):
        train("parts", seed=4)
    saved = read_checkpoint(whole / "checkpoint.pth")
    group = saved["optimizers"][0]["param_groups"][0]
    assert group["average"] and len(saved["schedulers"][0]["values"]) == 6
    assert len(state(whole)) > 30 and differing(state(whole), state(parts)) == []
    assert group["holds_average"], "what is saved are the averages"
    model = {k: v for k, v in saved["model"].items() if k != "lm.out.weight"}
    for name, one in zip(model, saved["optimizers"][0]["state"].values()):
        assert torch.equal(model[name], one["mean"])
        assert not torch.equal(one["mean"], one["iterate"])


def test_frozen_softmax_stays_through_the_switch(train) -> None:
    base = train(max_epoch=2)
    spec = spec_by_hand(base, "softmax", max_epoch=6, folder=Path("x"))
    table = prepare(spec, Path("x")).table(spec)
    run_job(Path("x"))
    saved = read_checkpoint(Path("x/checkpoint.pth"))
    assert saved["optimizers"][0]["param_groups"][0]["average"]
    frozen = load_weights(base / "2epoch.pth")
    for path in Experiment(Path("x")).epoch_files.values():
        weights = load_weights(path)
        for name in ("lm.embed.weight", "lm.out.weight", "lm.out.bias"):
            assert torch.equal(weights[name], frozen[name])
    assert verify(Path("x"))
    assert "lm.out.weight = lm.embed.weight" in table
    row = next(x for x in table.splitlines() if x.startswith("softmax"))
    assert row.split()[1] == str(21 * 6 + 21)  # the tied tensor counts once
    score = read_json(Path("x/score.json"))
    best = Experiment(Path("x")).stats[score["epoch"]]["valid"]["loss"]
    assert score["ppl"]["nll"] / score["ppl"]["ref"] == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("alias", ["lm.embed.weight", "lm.out.weight", "lm.out"])
def test_freezing_one_alias_freezes_both(train, alias) -> None:
    first = train("first", max_epoch=1)
    options = ["--freeze_param", alias, "--init_param", str(first / "1epoch.pth")]
    second = train("second", *options, max_epoch=1, seed=9)
    a, b = (load_weights(f / "1epoch.pth") for f in (first, second))
    for name in ("lm.embed.weight", "lm.out.weight"):
        assert torch.equal(a[name], b[name])
    assert not torch.equal(a["lm.rnns.0.weight_hh_l0"], b["lm.rnns.0.weight_hh_l0"])


def test_a_stack_that_parts_the_aliases(train) -> None:
    base = train(max_epoch=1)
    patterns = {"top": r"lm\.out", "rest": r"lm\.(?!out)"}
    layers = [{"name": name, "params": [p]} for name, p in patterns.items()]
    Path("own.yaml").write_text(yaml.safe_dump({"task": "lm", "layers": layers}))
    spec = spec_by_hand(base, "top", stack="own.yaml")
    planned = plan(spec)
    assert "lm.embed.weight" in planned.frozen_params
    assert "lm.embed.weight" in planned.copied
    assert "both frozen" in planned.table(spec)


def test_perplexity_equals_a_naive_loop(train) -> None:
    exp = train(max_epoch=2)
    base, weights = Experiment(exp), exp / "2epoch.pth"
    tokens = base.token_list
    ids = read_ids(Path("data/dev.txt"), tokens)
    model = load_model(base, weights)
    ref = Reference(model.lm.state_dict(), RATES)
    found = perplexity._score_text(base, weights, Path("data/dev.txt"), 1)
    assert found["ppl"]["ref"] == len(ids) - 1
    assert found["ppl"]["nll"] == pytest.approx(naive_nll(ref, ids.tolist()), abs=1e-3)
    wide = perplexity._score_text(base, weights, Path("data/dev.txt"), 3)
    parts = ids[: 3 * (len(ids) // 3)].reshape(3, -1)
    want = sum(naive_nll(ref, p.tolist()) for p in parts)
    assert wide["ppl"]["ref"] == parts.size - 3
    assert wide["ppl"]["nll"] == pytest.approx(want, abs=1e-3)
    text = torch.from_numpy(parts.copy())
    one, other = (perplexity.token_nll(model.lm, text, n).sum() for n in (7, 70))
    assert one.item() == pytest.approx(other.item(), abs=1e-3)


def test_a_search_knows_what_a_language_model_needs(train) -> None:
    base = train(max_epoch=1)
    search = Search.of(SearchRequest(base, Path("search")))
    assert search.stack.names == ("softmax", "lstm2", "lstm1", "lstm0")
    assert search.request.criterion == "ppl"
    assert search.request.trainer == "espnet_topdown.bin.lm_train"
    with pytest.raises(TopDownError, match="E_RANGE.*kind 'lm'"):
        Search.of(SearchRequest(base, Path("search"), criterion="cer"))


TRAIN = "train_data_path_and_name_and_type"


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"ngpu": 2}, "E_MULTI_GPU"),
        ({"bptt": 0}, "E_CONFIG_KEY"),
        ({"accum_grad": 2}, "E_RANGE"),
        ({"multiple_iterator": True}, "E_RANGE.*multiple_iterator at False"),
        ({"lm_conf": {"weight_dropout": 1.0}}, "E_RANGE.*dropout.*is 1.0"),
        ({"lm_conf": {"input_dropout": -0.1}}, "E_RANGE.*dropout.*is -0.1"),
        ({"scheduler_conf": {"n": 0}}, "E_RANGE"),
        ({"optim": "sgd", "optim_conf": {"lr": 1.0}}, "E_RANGE"),
        ({"optim_conf": {"weight_decay": -0.1}}, "E_RANGE: .*decay -0.1"),
        ({"best_model_criterion": [["valid", "acc", "max"]]}, "E_CRITERION"),
        ({TRAIN: []}, "E_DATA_NAME"),
        ({TRAIN: [["none.txt", "text", "text"]]}, "E_MISSING: no train data none.txt"),
        ({"batch_size": 4000}, "E_TEXT_SHORT"),
        ({"iterator_type": "sequence"}, "E_RANGE"),
        ({"token_list": ["w0", "w1", "<eos>"]}, "E_OOV"),
        ({"token_list": ["w0", "<eos>", "w1"]}, "'<eos>' is not last"),
        ({"token_list": ["w0", "w0", "<eos>"]}, "'w0' is there twice"),
        ({"token_list": ["<blank>", "w0", "<eos>"]}, "'<blank>' is no word"),
    ],
    ids=str,
)
def test_settings_that_no_training_can_use(train, changes, code) -> None:
    with pytest.raises(TopDownError, match=code):
        train(**changes)


def test_several_processes_cannot_read_on_one_text(train, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun says it
    with pytest.raises(TopDownError, match="E_MULTI_GPU: .*by one process"):
        train()
