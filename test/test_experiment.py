from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import rnn_weights, write_experiment

from espnet_topdown.errors import TopDownError
from espnet_topdown.models.experiment import Criterion, Experiment

LOSS = Criterion("valid", "loss", "min")


def with_losses(folder: Path, losses: list[float], **config: object) -> Experiment:
    write_experiment(folder, rnn_weights(), epochs=len(losses), **config)
    path = folder / "checkpoint.pth"
    state = torch.load(path, weights_only=True)
    for epoch, loss in enumerate(losses, 1):
        state["reporter"]["stats"][epoch]["valid"]["loss"] = loss
    torch.save(state, path)
    return Experiment(folder)


def test_no_experiment(tmp_path):
    with pytest.raises(TopDownError, match="E_EXP.*config.yaml is missing") as e:
        Experiment(tmp_path)
    assert e.value.status == 66


def test_the_best_epoch_is_a_single_epoch(toy_experiment):
    exp = Experiment(toy_experiment)
    assert exp.model_file().name == "valid.loss.best.pth"
    assert exp.epoch_of(exp.model_file()) == 4
    assert exp.model_file(4).name == "4epoch.pth"
    assert list(exp.epoch_files) == [4]


def test_links_that_became_text_files(toy_experiment):
    best = toy_experiment / "valid.loss.best.pth"
    best.unlink()
    best.write_text("4epoch.pth")
    exp = Experiment(toy_experiment)
    assert exp.model_file() == toy_experiment / "4epoch.pth"
    assert set(exp.weights()) == set(rnn_weights())


def test_a_model_that_is_not_there_names_what_is(toy_experiment):
    with pytest.raises(TopDownError, match="E_MODEL.*nearest: 4epoch.pth") as e:
        Experiment(toy_experiment).model_file(5)
    assert e.value.status == 66


@pytest.mark.parametrize(
    "losses, best", [([3, 1, 2], 2), ([float("nan"), 2, 3], 2), ([1, 1, 1], 1)]
)
def test_nan_never_wins(tmp_path, losses, best):
    assert with_losses(tmp_path / "e", losses).best_epoch(LOSS) == best


@pytest.mark.parametrize(
    "losses, config, finished",
    [
        ([3, 2, 1], {}, True),
        ([3, 2, 1], {"max_epoch": 9}, False),
        ([1, 2, 3], {"max_epoch": 9, "patience": 1}, True),  # stopped early
        ([1, 2, 3], {"max_epoch": 9, "patience": 2}, False),  # needs one more
        ([float("nan"), 1, 2], {"max_epoch": 9, "patience": 1}, False),
    ],
)
def test_trained_to_its_end(tmp_path, losses, config, finished):
    config.setdefault("early_stopping_criterion", ["valid", "loss", "min"])
    exp = with_losses(tmp_path / "e", losses, **config)
    if finished:
        exp.check_finished()
    else:
        with pytest.raises(TopDownError, match="E_NOT_CONVERGED.*epoch 3 of 9"):
            exp.check_finished()


@pytest.mark.parametrize("fs, rate", [("8k", 8000), (16000, 16000), ("16000", 16000)])
def test_sample_rate(tmp_path, fs, rate):
    write_experiment(tmp_path / "e", rnn_weights(), frontend_conf={"fs": fs})
    assert Experiment(tmp_path / "e").sample_rate == rate


@pytest.mark.parametrize("tokens", [[], ["a", "<blank>"], ["<blank>", "a", "a"]])
def test_token_lists_that_are_none(tmp_path, tokens):
    write_experiment(tmp_path / "e", rnn_weights(), token_list=tokens)
    with pytest.raises(TopDownError, match="E_TOKENS") as e:
        _ = Experiment(tmp_path / "e").token_list
    assert e.value.status == 65


@pytest.mark.espnet
class TestTrainConfig:
    """What of a dumped config ESPnet's trainer takes back."""

    def test_run_time_keys_are_left_out(self, toy_experiment):
        config = Experiment(toy_experiment).train_config("espnet2.bin.asr_train")
        assert config["max_epoch"] == 4
        assert not {"required", "version"} & set(config)

    def test_a_key_of_another_release_that_holds_nothing(self, tmp_path):
        write_experiment(tmp_path / "e", rnn_weights(), future_option=None)
        config = Experiment(tmp_path / "e").train_config("espnet2.bin.asr_train")
        assert "future_option" not in config

    def test_a_key_that_is_not_known(self, tmp_path):
        write_experiment(tmp_path / "e", rnn_weights(), frieze_param=["ctc"])
        with pytest.raises(TopDownError, match="E_YAML_KEY.*nearest: freeze_param"):
            Experiment(tmp_path / "e").train_config("espnet2.bin.asr_train")

    def test_a_genuine_experiment(self, shared, monkeypatch):
        monkeypatch.chdir(shared / "espnet_mini_an4")
        exp = Experiment(Path("exp/asr_train_asr_tiny_raw_en_char"))
        exp.check_finished()
        config = exp.train_config("espnet2.bin.asr_train")
        assert config["encoder"] == "vgg_rnn"
        assert exp.data_path("valid", "text")[0].is_file()
        assert len(exp.token_list) == 22
