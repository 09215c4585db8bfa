"""Trainings of a tiny language model, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from awd_reference import Reference, naive_nll, windows  # noqa: E402
from lm_corpus import RATES, tiny_config, write_corpus  # noqa: E402

import espnet_topdown.trainer.lm_task  # noqa: E402,F401 slow: not in a test's time
from espnet_topdown.data.words import read_ids  # noqa: E402
from espnet_topdown.errors import TopDownError  # noqa: E402
from espnet_topdown.files import read_json  # noqa: E402
from espnet_topdown.jobs.plan import plan  # noqa: E402
from espnet_topdown.jobs.prepare import prepare  # noqa: E402
from espnet_topdown.jobs.run import run_job  # noqa: E402
from espnet_topdown.jobs.spec import spec_by_hand  # noqa: E402
from espnet_topdown.jobs.verify import verify  # noqa: E402
from espnet_topdown.models.experiment import Experiment  # noqa: E402
from espnet_topdown.models.layers import LayerStack  # noqa: E402
from espnet_topdown.models.weights import load_weights, save_weights  # noqa: E402
from espnet_topdown.scoring import perplexity
from espnet_topdown.scoring.model import load_model
from espnet_topdown.search.request import Search, SearchRequest  # noqa: E402
from espnet_topdown.trainer import contract  # noqa: E402

pytestmark = pytest.mark.espnet


@pytest.fixture
def train(tmp_path: Path, monkeypatch) -> Callable[..., Path]:
    """Train in this process; returns the experiment's folder."""
    monkeypatch.chdir(tmp_path)
    write_corpus(Path("data"))

    def run(folder: str = "exp", *options: str, **changes: Any) -> Path:
        from espnet_topdown.trainer.lm_task import TopDownLMTask

        config = Path(f"{folder}.yaml")
        config.write_text(yaml.safe_dump(tiny_config(Path("data"), **changes)))
        command = ["--config", str(config), "--output_dir", folder, *options]
        TopDownLMTask.main(cmd=command)
        return Path(folder)

    return run


def state(folder: Path) -> dict:
    return torch.load(folder / "checkpoint.pth", weights_only=False)


def tensors(thing: Any) -> list[torch.Tensor]:
    if isinstance(thing, torch.Tensor):
        return [thing]
    inside = thing.values() if isinstance(thing, dict) else thing
    return (
        [t for x in inside for t in tensors(x)]
        if isinstance(thing, (dict, list, tuple))
        else []
    )


def test_one_epoch_equals_plain_pytorch(train) -> None:
    exp = train(max_epoch=1, optim_conf={"lr": 10.0, "weight_decay": 1.2e-6})
    from espnet_topdown.trainer.lm_task import TopDownLMTask

    config = yaml.safe_load((exp / "config.yaml").read_text())
    torch.manual_seed(3)
    model = TopDownLMTask.build_model(_namespace(config))
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


def _namespace(config: dict) -> Any:
    import argparse

    return argparse.Namespace(**config)


def test_resumed_across_the_switch_is_bit_identical(train) -> None:
    whole, parts = train("whole"), train("parts", max_epoch=1)
    values = state(whole)["schedulers"][0]["values"]
    averaged = state(whole)["optimizers"][0]["param_groups"][0]["average"]
    assert averaged and len(values) == 6
    for epoch in (2, 3, 5, 6):  # before, at and after the switch
        train("parts", max_epoch=epoch)
    a, b = state(whole), state(parts)
    assert len(tensors(a["optimizers"])) >= 14
    pairs = zip(
        tensors([a["model"], a["optimizers"]]), tensors([b["model"], b["optimizers"]])
    )
    assert all(torch.equal(x, y) for x, y in pairs)
    assert values == b["schedulers"][0]["values"]


def test_saved_epochs_are_the_average(train) -> None:
    saved = state(train())
    group = saved["optimizers"][0]["param_groups"][0]
    assert group["holds_average"]
    model = {k: v for k, v in saved["model"].items() if k != "lm.out.weight"}
    names = list(model)
    for i, one in saved["optimizers"][0]["state"].items():
        assert torch.equal(model[names[i]], one["mean"])
        assert not torch.equal(one["mean"], one["iterate"])


def test_frozen_softmax_stays_through_the_switch(train) -> None:
    base = train(max_epoch=2)
    spec = spec_by_hand(base, "softmax", max_epoch=6, folder=Path("x"))
    table = prepare(spec, Path("x")).table(spec)
    run_job(Path("x"))
    saved = state(Path("x"))
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
def test_freezing_one_alias_freezes_both(train, monkeypatch, alias) -> None:
    first = train("first", max_epoch=1)
    options = ["--freeze_param", alias, "--init_param", str(first / "1epoch.pth")]
    tables: list[str] = []
    table = contract.table
    spy = lambda *args: tables.append(table(*args)) or tables[-1]  # noqa: E731
    monkeypatch.setattr(contract, "table", spy)
    second = train("second", *options, max_epoch=1, seed=9)
    a, b = (load_weights(f / "1epoch.pth") for f in (first, second))
    for name in ("lm.embed.weight", "lm.out.weight"):
        assert torch.equal(a[name], b[name])
    assert not torch.equal(a["lm.rnns.0.weight_hh_l0"], b["lm.rnns.0.weight_hh_l0"])
    assert "tied: lm.embed.weight, lm.out.weight are one tensor" in tables[0]


def test_a_stack_that_parts_the_aliases(train) -> None:
    base = train(max_epoch=1)
    layers = (
        "[{name: top, params: ['lm\\.out']}, {name: rest, params: ['lm\\.(?!out)']}]"
    )
    Path("own.yaml").write_text(f"task: lm\nlayers: {layers}\n")
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
    found = perplexity.score_text(base, weights, Path("data/dev.txt"), 1)
    assert found["ppl"]["ref"] == len(ids) - 1
    assert found["ppl"]["nll"] == pytest.approx(naive_nll(ref, ids.tolist()), abs=1e-3)
    wide = perplexity.score_text(base, weights, Path("data/dev.txt"), 3)
    parts = ids[: 3 * (len(ids) // 3)].reshape(3, -1)
    want = sum(naive_nll(ref, p.tolist()) for p in parts)
    assert wide["ppl"]["ref"] == parts.size - 3
    assert wide["ppl"]["nll"] == pytest.approx(want, abs=1e-3)
    text = torch.from_numpy(parts.copy())
    one, other = (perplexity.token_nll(model.lm, text, n).sum() for n in (7, 70))
    assert one.item() == pytest.approx(other.item(), abs=1e-3)


def test_a_search_knows_what_a_language_model_needs(train) -> None:
    base = train(max_epoch=1)
    nodes = Search.of(SearchRequest(base, Path("search")))
    assert nodes.stack.names == ("softmax", "lstm2", "lstm1", "lstm0")
    assert nodes.request.criterion == "ppl"
    assert nodes.request.trainer == "espnet_topdown.bin.lm_train"
    with pytest.raises(TopDownError, match="E_RANGE.*kind 'lm'"):
        Search.of(SearchRequest(base, Path("search"), criterion="cer"))
    nodes.task.call("check")(nodes.base)
    nodes.task.call("works")(nodes.base, nodes.stack)
    less = LayerStack(nodes.stack.groups[1:])
    with pytest.raises(TopDownError, match="E_STACK: the trainer.*lm.embed.weight"):
        nodes.task.call("works")(nodes.base, less)
    Path("data/dev.txt").write_text("w1 never w2\n")
    with pytest.raises(TopDownError, match=r"E_OOV.*dev.txt:1: 'never'"):
        nodes.task.call("check")(nodes.base)


def test_weights_of_another_size(train) -> None:
    exp = train(max_epoch=1)
    small = train("small", max_epoch=1, lm_conf={"emb_size": 4, "hidden_size": 5})
    with pytest.raises(TopDownError, match=r"E_CKPT_SHAPE.*lm.embed.weight is \(21, 4"):
        load_model(Experiment(exp), small / "1epoch.pth")
    fewer = load_weights(exp / "1epoch.pth")
    del fewer["lm.out.bias"]
    save_weights(fewer, Path("fewer.pth"))
    with pytest.raises(TopDownError, match="E_CKPT_KEYS.*1 missing .lm.out.bias"):
        load_model(Experiment(exp), Path("fewer.pth"))


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"ngpu": 2}, "E_MULTI_GPU"),
        ({"bptt": 0}, "E_CONFIG_KEY"),
        ({"accum_grad": 2}, "E_RANGE"),
        ({"lm_conf": {"weight_dropout": 1.0}}, "E_RANGE"),
        ({"scheduler_conf": {"n": 0}}, "E_RANGE"),
        ({"optim": "sgd", "optim_conf": {"lr": 1.0}}, "E_RANGE"),
        ({"best_model_criterion": [["valid", "acc", "max"]]}, "E_CRITERION"),
        ({"train_data_path_and_name_and_type": []}, "E_DATA_NAME"),
        (
            {"train_data_path_and_name_and_type": [["none.txt", "text", "text"]]},
            "E_MISSING: no train data none.txt",
        ),
        ({"batch_size": 4000}, "E_TEXT_SHORT"),
        ({"iterator_type": "sequence"}, "E_RANGE"),
    ],
)
def test_settings_that_no_training_can_use(train, changes, code) -> None:
    with pytest.raises(TopDownError, match=code):
        train(**changes)


def test_several_processes_cannot_read_on_one_text(train, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun says it
    with pytest.raises(TopDownError, match="E_MULTI_GPU: .*by one process"):
        train()


def test_another_training_may_not_use_the_folder(train) -> None:
    Path("exp").mkdir()
    Path("exp/checkpoint.pth").touch()
    Path("exp/config.yaml").write_text("seed: 4\n")
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED.*seed 4 -> 3"):
        train()


@pytest.mark.parametrize(
    "tokens, code",
    [
        ("w0\nw1\n<eos>\n", "E_OOV"),
        ("w0\n<eos>\nw1\n", "'<eos>' is not last"),
        ("w0\nw0\n<eos>\n", "'w0' is there twice"),
        ("<blank>\nw0\n<eos>\n", "'<blank>' is no word"),
    ],
)
def test_lists_of_words_that_cannot_be_used(train, tokens, code) -> None:
    Path("tokens.txt").write_text(tokens)
    with pytest.raises(TopDownError, match=code):
        train(token_list="tokens.txt")
