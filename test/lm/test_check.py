"""What is refused before a search on a language model."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import rnn_weights, write_experiment

from espnet_topdown.errors import TopDownError
from espnet_topdown.jobs.check import check_lm_base as check_base
from espnet_topdown.models.experiment import Experiment

DATA = "data_path_and_name_and_type"


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    """Four epochs of five; the two texts have all their words in the list."""
    config: dict[str, object] = {"lm": "awd_lstm", "model": "continuous"}
    config["max_epoch"] = 5
    config["token_list"] = ["a", "b", "<eos>"]
    for phase in ("train", "valid"):
        path = tmp_path / f"{phase}.txt"
        path.write_text("a b\nb\n")
        config[f"{phase}_{DATA}"] = [[str(path), "text", "text"]]
    write_experiment(tmp_path / "exp", rnn_weights(), **config)
    return Experiment(tmp_path / "exp")


def test_a_model_that_was_not_trained_to_its_end(base):
    with pytest.raises(TopDownError, match="E_NOT_CONVERGED: .* epoch 4 of 5"):
        check_base(base)
    check_base(base, allow_unfinished=True)
    base.config["max_epoch"] = 4
    check_base(base)


@pytest.mark.parametrize("phase", ["train", "valid"])
def test_a_word_that_is_not_in_the_list(base, phase):
    path, _ = base.data_path(phase, "text")
    path.write_text("a b\na c\n")
    with pytest.raises(TopDownError, match=f"E_OOV: .*{phase}.txt:2: 'c'"):
        check_base(base, allow_unfinished=True)


@pytest.mark.parametrize("tokens", [["a", "b"], ["a", "a", "b", "<eos>"]])
def test_a_list_that_is_no_vocabulary(base, tokens):
    base.config["token_list"] = tokens
    with pytest.raises(TopDownError, match="E_TOKENS"):
        check_base(base, allow_unfinished=True)
