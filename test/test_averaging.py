"""Means of the best epochs: which they are, and that they are exact."""

from __future__ import annotations

import json

import pytest
import torch
from toys import rnn_weights, write_experiment

from espnet_topdown.bin.main import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.models.averaging import average_best, mean, model_of
from espnet_topdown.models.experiment import Criterion, Experiment, rank_epochs
from espnet_topdown.models.weights import differing, load_weights, save_weights

ACC = [0.1, 0.5, 0.5, float("nan"), 0.7, 0.2]


@pytest.fixture
def exp(tmp_path):
    """Six epochs whose accuracy is ACC; every file is there, ``top`` never changes."""
    folder = tmp_path / "exp"
    criteria = [["train", "acc", "max"], ["valid", "acc", "max"]]
    write_experiment(folder, rnn_weights(), len(ACC), best_model_criterion=criteria)
    state = torch.load(folder / "checkpoint.pth", weights_only=True)
    for epoch, value in enumerate(ACC, 1):
        state["reporter"]["stats"][epoch]["valid"]["acc"] = value
        weights = {**rnn_weights(seed=epoch), "top": torch.full((7,), 0.1) / 3}
        weights["norm.num_batches_tracked"] = torch.tensor(100 * epoch)
        save_weights(weights, folder / f"{epoch}epoch.pth")
    torch.save(state, folder / "checkpoint.pth")
    return folder


def test_which_epochs(exp):
    """By one criterion, that of the validation set; NaN never, ties to the earlier."""
    acc = Criterion("valid", "acc", "max")
    assert rank_epochs(Experiment(exp).stats, acc)[:3] == [5, 2, 3]
    assert rank_epochs(Experiment(exp).stats, acc) == [5, 2, 3, 6, 1]
    everything = rank_epochs(Experiment(exp).stats, acc, finite=False)
    assert everything == [5, 2, 3, 6, 1, 4]
    loss = Criterion("valid", "loss", "min")
    assert rank_epochs(Experiment(exp).stats, loss)[:2] == [6, 5]


def test_the_mean_is_exact_and_what_is_frozen_stays(exp):
    path = average_best(exp, 3)
    assert path.name == "valid.acc.average3.pth"
    found, one = load_weights(path), load_weights(exp / "5epoch.pth")
    assert differing(found, one, ["top"]) == []
    states = [load_weights(exp / f"{e}epoch.pth") for e in (5, 2, 3)]
    for name in rnn_weights():
        exact = sum(s[name].double() for s in states) / 3
        assert torch.equal(found[name], exact.float())
    assert found["norm.num_batches_tracked"] == 500
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["epochs"] == [5, 2, 3] and record["criterion"][1] == "acc"


@pytest.mark.parametrize("n", [2, 3, 7, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_mean_of_equals_is_the_same_bit_for_bit(n, dtype):
    random = torch.Generator().manual_seed(n)
    one = {"x": (torch.randn(1000, generator=random) * 1e-3).to(dtype)}
    found = mean([one] * n, [""] * n)
    assert differing(found, one, ["x"]) == []


def test_it_is_made_once_and_again_when_an_epoch_changed(exp):
    path = average_best(exp, 2)
    first = path.stat().st_mtime_ns
    assert average_best(exp, 2) == path and path.stat().st_mtime_ns == first
    save_weights(load_weights(exp / "1epoch.pth"), exp / "2epoch.pth")
    average_best(exp, 2)
    assert path.stat().st_mtime_ns != first


def test_fewer_epochs_than_asked_for(exp, caplog):
    assert average_best(exp, 10).is_file()
    assert "W_AVERAGE" in caplog.text and "5 epochs, not 10" in caplog.text


def test_an_epoch_that_is_gone(exp):
    (exp / "2epoch.pth").unlink()
    with pytest.raises(TopDownError) as e:
        average_best(exp, 3)
    assert e.value.code == "E_AVERAGE" and "2epoch.pth" in str(e.value)
    assert "keep_nbest_models 3" in str(e.value) and e.value.status == 66
    assert average_best(exp, 1).is_file()


def test_what_cannot_be_averaged(exp):
    with pytest.raises(TopDownError, match="E_USAGE: an average of 0 epochs"):
        average_best(exp, 0)
    (exp / "config.yaml").write_text("max_epoch: 5\nbest_model_criterion: []\n")
    with pytest.raises(TopDownError, match="E_CONFIG_KEY: .*best_model_criterion"):
        average_best(exp, 1)


@pytest.mark.parametrize(
    "change, code",
    [
        (lambda w: {**w, "top": torch.zeros(8)}, "E_SHAPE_MISMATCH"),
        (lambda w: {**w, "top": w["top"].double()}, "E_SHAPE_MISMATCH"),
        (lambda w: {k: v for k, v in w.items() if k != "top"}, "E_CKPT_KEYS"),
        (lambda w: {**w, "top": w["top"] * float("nan")}, "E_CKPT_NONFINITE"),
    ],
)
def test_epochs_of_another_training(exp, change, code):
    save_weights(change(load_weights(exp / "2epoch.pth")), exp / "2epoch.pth")
    with pytest.raises(TopDownError) as e:
        average_best(exp, 2)
    assert e.value.code == code and "2epoch.pth" in str(e.value)
    assert not (exp / "valid.acc.average2.pth").exists()


def test_model_of(exp):
    assert model_of(exp, 2).name == "valid.acc.average2.pth"
    (exp / "valid.acc.best.pth").symlink_to("5epoch.pth")
    assert model_of(exp, 0).name == "valid.acc.best.pth"


def test_command(exp, capsys):
    main(["average", "--exp", str(exp), "--n", "2"])
    assert capsys.readouterr().out.strip() == "valid.acc.average2.pth"
    assert Experiment(exp).last_epoch == len(ACC)
