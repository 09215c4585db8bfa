"""The AWD-LSTM's parts; its numbers and trainings are in test_lm_task.py."""

from __future__ import annotations

import copy

import awd_reference
import numpy as np
import pytest
import torch
from lm_corpus import TINY

from espnet_topdown.trainer.awd_lstm import AWDLSTM, ContinuousLanguageModel
from espnet_topdown.trainer.bptt import fixed_windows, random_windows

pytestmark = pytest.mark.espnet


@pytest.fixture
def lm() -> AWDLSTM:
    torch.manual_seed(0)
    return AWDLSTM(21, **TINY)


def test_size_for_wikitext2() -> None:
    with torch.device("meta"):
        model = AWDLSTM(33278)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (model, *model.rnns)]
    assert sizes == [33_556_078, 7_139_200, 10_589_200, 2_483_200]


def test_after_a_training_the_weights_are_whole(lm) -> None:
    """Also those of a copy."""
    ids = torch.arange(12).reshape(2, 6)
    quiet = lm.eval()(ids)[0]
    lm.train()(ids)[0].sum().backward()
    assert torch.equal(copy.deepcopy(lm).eval()(ids)[0], quiet)


def test_fused_lstm_is_called(lm, monkeypatch) -> None:
    calls = []
    fused = torch._VF.lstm

    def count(*args):
        calls.append(args[0].shape)
        return fused(*args)

    monkeypatch.setattr(torch._VF, "lstm", count)
    lm.train()(torch.ones(4, 9, dtype=torch.long))
    assert len(calls) == 3  # a layer each, all steps at once


def test_a_window_of_one_step_has_no_change(lm) -> None:
    model = ContinuousLanguageModel(lm, 21).train()
    one, lengths = torch.ones(4, 1, dtype=torch.long), torch.ones(4)
    batch = {"text": one, "text_lengths": lengths, "target": one, "reset": True}
    loss, _, _ = model(**batch, lr_scale=1.0)
    assert torch.isfinite(loss)


def test_sentences_one_by_one_as_espnet_does(lm) -> None:
    model = ContinuousLanguageModel(lm, 21).eval()
    text, lengths = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([3, 2])
    loss, _, count = model(text=text, text_lengths=lengths)
    assert count == 7 and torch.isfinite(loss)


@pytest.mark.parametrize("length", [2, 8, 9, 70, 71, 500])
def test_fixed_windows_hold_every_target_once(length: int) -> None:
    windows = fixed_windows(length, 7)
    found = [i for w in windows for i in range(w.start, w.start + w.steps)]
    assert found == list(range(length - 1))


def test_random_windows() -> None:
    found = random_windows(26107, 70, np.random.RandomState(1))
    again = awd_reference.windows(26107, 70, np.random.RandomState(1))
    assert [(w.start, w.steps, w.drawn) for w in found] == list(again)
