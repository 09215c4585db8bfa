"""What an ESPnet folder says of itself: epochs, files, data, and means of epochs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import rnn_weights, write_experiment

from espnet_topdown.cli.main import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import write_yaml
from espnet_topdown.models.experiment import Criterion, Experiment, rank_epochs
from espnet_topdown.models.weights import (
    differing,
    load_weights,
    mean_weights,
    save_random_weights,
    save_weights,
)
from espnet_topdown.trainer.task import TopDownASRTask

NAN = float("nan")
ACC = [0.1, 0.5, 0.5, NAN, 0.7, 0.2]


def with_values(folder: Path, key: str, values: list, **config: object) -> Experiment:
    """An experiment whose epochs had these values on the validation set."""
    write_experiment(folder, rnn_weights(), epochs=len(values), **config)
    state = torch.load(folder / "checkpoint.pth", weights_only=True)
    for epoch, value in enumerate(values, 1):
        state["reporter"]["stats"][epoch]["valid"][key] = value
    torch.save(state, folder / "checkpoint.pth")
    return Experiment(folder)


@pytest.fixture
def exp(tmp_path) -> Path:
    """Six epochs whose accuracy is ACC; every file is there, ``top`` never changes."""
    criteria = [["train", "acc", "max"], ["valid", "acc", "max"]]
    folder = tmp_path / "exp"
    with_values(folder, "acc", ACC, best_model_criterion=criteria)
    for epoch in range(1, len(ACC) + 1):
        weights = {**rnn_weights(seed=epoch), "top": torch.full((7,), 0.1) / 3}
        weights["norm.num_batches_tracked"] = torch.tensor(100 * epoch)
        save_weights(weights, folder / f"{epoch}epoch.pth")
    return folder


def test_files_of_an_experiment(toy_experiment):
    """A link is followed, also one that a copy turned into a text file."""
    exp, best = Experiment(toy_experiment), toy_experiment / "valid.loss.best.pth"
    assert (exp.model_file(), exp.epoch_of(best), exp.last_epoch) == (best, 4, 4)
    assert exp.model_file(4).name == "4epoch.pth" and list(exp.epoch_files) == [4]
    best.unlink()
    best.write_text("4epoch.pth")
    assert exp.model_file() == toy_experiment / "4epoch.pth"
    assert set(exp.weights()) == set(rnn_weights())


@pytest.mark.parametrize(
    "ask, status, message",
    [
        (lambda e: Experiment(e / "x"), 66, "E_EXP.*config.yaml is missing"),
        (lambda e: Experiment(e).model_file(5), 66, "E_MODEL.*nearest: 4epoch.pth"),
        (lambda e: Experiment(e).average(0), 64, "E_USAGE: an average of 0 epochs"),
        (lambda e: Experiment(e).data_path("valid", "x"), 78, "E_DATA_NAME.*valid 'x'"),
    ],
)
def test_what_is_not_there(toy_experiment, ask, status, message):
    with pytest.raises(TopDownError, match=message) as e:
        ask(toy_experiment)
    assert e.value.status == status


@given(st.lists(st.floats(), max_size=8), st.sampled_from(["min", "max"]))
def test_the_best_epochs(values, mode):
    """The best first, of equal ones the earlier; NaN and infinity last, or left out."""
    stats = {e: {"valid": {"v": v}} for e, v in enumerate(values, 1)}
    best = rank_epochs(stats, Criterion("valid", "v", mode))
    assert len(best) == sum(map(math.isfinite, values))
    sign = 1 if mode == "min" else -1
    ranks = [(sign * values[e - 1], e) for e in best]
    assert ranks == sorted(ranks)
    every = rank_epochs(stats, Criterion("valid", "v", mode), finite=False)
    assert every == [*best, *sorted(stats.keys() - best)]
    assert rank_epochs(stats, Criterion("train", "v", "min")) == []


@pytest.mark.parametrize(
    "losses, config, finished",
    [
        ([3, 2, 1], {}, True),
        ([3, 2, 1], {"max_epoch": 9}, False),
        ([1, 2, 3], {"max_epoch": 9, "patience": 1}, True),  # stopped early
        ([1, 2, 3], {"max_epoch": 9, "patience": 2}, False),  # needs one more
        ([NAN, 1, 2], {"max_epoch": 9, "patience": 1}, False),
    ],
)
def test_trained_to_its_end(tmp_path, losses, config, finished):
    config.setdefault("early_stopping_criterion", ["valid", "loss", "min"])
    exp = with_values(tmp_path / "e", "loss", losses, **config)
    if finished:
        exp.check_finished()
    else:
        with pytest.raises(TopDownError, match="E_NOT_CONVERGED.*epoch 3 of 9"):
            exp.check_finished()


@pytest.mark.parametrize("tokens", [[], ["a", "<blank>"], ["<blank>", "a", "a"]])
def test_token_lists_that_are_none(tmp_path, tokens):
    write_experiment(tmp_path / "e", rnn_weights(), token_list=tokens)
    with pytest.raises(TopDownError, match="E_TOKENS") as e:
        _ = Experiment(tmp_path / "e").token_list
    assert e.value.status == 65


@pytest.mark.espnet
def test_what_espnet_takes_back_of_a_config(tmp_path):
    """Not what a run wrote about itself, nor a foreign key that it can do without."""
    exp = tmp_path / "e"
    ours = dict(fast_lstm=True, frozen_norm="eval", progress=True, init_uniform=0.0)
    write_experiment(exp, rnn_weights(), future_option=None, **ours)
    config = Experiment(exp).train_config("espnet2.bin.asr_train")
    assert config["max_epoch"] == 4
    assert not {"required", "version", "future_option", *ours} & set(config)
    for key, near in ("frieze_param", "freeze_param"), ("init_uniform", "init"):
        write_experiment(tmp_path / key, rnn_weights(), **{key: 0.1})
        with pytest.raises(TopDownError, match=f"E_YAML_KEY.*{key}: 0.1.*: {near}"):
            Experiment(tmp_path / key).train_config("espnet2.bin.asr_train")


@pytest.mark.espnet
def test_a_genuine_experiment(shared, monkeypatch):
    monkeypatch.chdir(shared / "espnet_mini_an4")
    exp = Experiment(Path("exp/asr_train_asr_tiny_raw_en_char"))
    exp.check_finished()
    assert exp.train_config("espnet2.bin.asr_train")["encoder"] == "vgg_rnn"
    assert exp.data_path("valid", "text")[0].is_file()
    assert len(exp.token_list) == 22


def test_the_mean_is_exact_and_what_is_frozen_stays(exp, capsys):
    main(["average", str(exp), "--n", "3"])
    assert capsys.readouterr().out.strip() == "valid.acc.average3.pth"
    path = exp / "valid.acc.average3.pth"
    mean, one = load_weights(path), load_weights(exp / "5epoch.pth")
    assert differing(mean, one, ["top"]) == []
    states = [load_weights(exp / f"{e}epoch.pth") for e in (5, 2, 3)]
    for name in rnn_weights():
        exact = sum(s[name].double() for s in states) / 3
        assert torch.equal(mean[name], exact.float())
    assert mean["norm.num_batches_tracked"] == 500
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["epochs"] == [5, 2, 3] and record["criterion"][1] == "acc"

    made = path.stat().st_mtime_ns
    assert Experiment(exp).average(3) == path and path.stat().st_mtime_ns == made
    save_weights(load_weights(exp / "1epoch.pth"), exp / "2epoch.pth")
    Experiment(exp).average(3)
    assert path.stat().st_mtime_ns != made, "an epoch has changed"


@pytest.mark.parametrize("n", [2, 3, 7, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_mean_of_equals_is_the_same_bit_for_bit(tmp_path, n, dtype):
    random = torch.Generator().manual_seed(n)
    one = {"x": (torch.randn(1000, generator=random) * 100).to(dtype)}
    save_weights(one, tmp_path / "a.pth")
    assert differing(mean_weights([tmp_path / "a.pth"] * n), one, ["x"]) == []


@pytest.mark.parametrize(
    "change, code",
    [
        (lambda w: {**w, "top": torch.zeros(8)}, "E_SHAPE_MISMATCH"),
        (lambda w: {**w, "top": w["top"].double()}, "E_SHAPE_MISMATCH"),
        (lambda w: {k: v for k, v in w.items() if k != "top"}, "E_CKPT_KEYS"),
        (lambda w: {**w, "top": w["top"] * NAN}, "E_CKPT_NONFINITE"),
    ],
)
def test_epochs_of_another_training(exp, change, code):
    save_weights(change(load_weights(exp / "2epoch.pth")), exp / "2epoch.pth")
    with pytest.raises(TopDownError, match=f"{code}.*2epoch.pth"):
        Experiment(exp).average(2)
    assert not (exp / "valid.acc.average2.pth").exists()


@pytest.mark.espnet
def test_random_weights_follow_from_config_and_seed(tmp_path):
    words = "--output_dir x --init_uniform 0.1 --model_conf ctc_weight=1.0"
    words += " --encoder_conf num_layers=1 --encoder_conf hidden_size=4"
    args = TopDownASRTask.get_parser().parse_args(words.split())
    args.token_list = ["<blank>", "<unk>", "A", "<sos/eos>"]
    write_yaml(tmp_path / "config.yaml", vars(args))
    files = [tmp_path / f"{i}.pth" for i in range(3)]
    digests = [save_random_weights(tmp_path, n, f) for n, f in zip((1, 1, 2), files)]
    assert digests[0] == digests[1] != digests[2]
    softmax = load_weights(files[0])["ctc.ctc_lo.weight"]
    assert softmax.abs().max() <= 0.1, "init_uniform is kept"


def write_espnet3(folder: Path) -> Path:
    """What ESPnet 3's trainer leaves of a model that has an ESPnet 2 task.

    ``config.yaml`` has its sections beside all keys of the task, which are defaults
    but for the model's. There is no checkpoint.pth.
    """
    sections = ("trainer", "dataset", "dataloader", "optimizer", "scheduler")
    config = {name: {"_target_": "of.its.recipe"} for name in sections}
    config["best_model_criterion"] = [["valid/loss", 3, "min"]]
    write_experiment(folder, rnn_weights(seed=3), **config)
    (folder / "4epoch.pth").rename(folder / "valid.loss.ave_3best.pth")
    for name in ("checkpoint.pth", "valid.loss.best.pth"):
        (folder / name).unlink()
    return folder


@pytest.mark.parametrize(
    "words",
    [
        "layers exp/three",
        "layers exp/three --base_model valid.loss.ave_3best.pth",
        "plan exp/three --freeze softmax",
        "retrain exp/three out --freeze softmax",
        "search exp/three out",
    ],
)
def test_an_experiment_of_espnet3_is_refused_by_name(
    toy_experiment, capsys, monkeypatch, words
):
    monkeypatch.setattr("espnet_topdown.cli.installation.check", lambda: None)
    write_espnet3(Path("exp/three"))
    with pytest.raises(SystemExit, match="^78$"):
        main(words.split())
    said = capsys.readouterr().err
    assert said.startswith("E_ESPNET3: ESPnet 3 trained this")
    assert "--frozen_from" in said and not Path("out").exists()


def test_layers_of_an_espnet3_model_go_into_a_retraining(toy_experiment, capsys):
    """As the remedy says."""
    weights = write_espnet3(Path("exp/three")) / "valid.loss.ave_3best.pth"
    words = ["plan", str(toy_experiment), "--freeze", "softmax", "--frozen_from"]
    main([*words, str(weights)])
    frozen = capsys.readouterr().out.splitlines()[1].split()
    assert (frozen[0], *frozen[2:]) == ("softmax", "frozen", str(weights))
