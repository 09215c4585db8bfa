from __future__ import annotations

import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer import prescan


class Model(torch.nn.Module):
    """An encoder with one frame for 100 samples, rounded down."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)
        self.runs = 0

    def encode(self, speech, lengths):
        assert not self.training and speech.shape[:2] == (1, int(lengths))
        self.runs += 1
        return speech, lengths // 100


def test_named_with_both_numbers():
    model = Model()
    speech = {"a": [1000], "b": [350, 1], "c": [99999], "d": [500]}
    text = {"a": [10], "b": [4, 30], "c": [1], "e": [9]}
    assert prescan.too_long(model, speech, text) == {"b": (4, 3)}
    assert model.training and model.runs == 3


def test_few_are_tried():
    model = Model()
    speech = {str(i): [1000 + i] for i in range(500)}
    text = {u: [5] for u in speech}
    assert prescan.too_long(model, speech, text) == {}
    assert model.runs == prescan.WORST


@pytest.mark.espnet
@pytest.mark.parametrize("option", ["train_shape_file", "valid_shape_file"])
def test_before_the_first_batch(train, tones, tmp_path, option):
    name = {"train_shape_file": "train", "valid_shape_file": "dev"}[option]
    texts = (tones / name / "text").read_text().splitlines()
    lines = [f"{x.split()[0]} {len(x.split(' ', 1)[1])},7\n" for x in texts]
    lines[1] = f"{texts[1].split()[0]} 999,7\n"
    (tmp_path / "text_shape").write_text("".join(lines))
    files = [str(tones / name / "speech_shape"), str(tmp_path / "text_shape")]
    with pytest.raises(TopDownError, match=f"E_CTC_INFEASIBLE.*{name}01 needs 999"):
        train(**{option: files})
    assert not (tmp_path / "exp" / "config.yaml").exists()
