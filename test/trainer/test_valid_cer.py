from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from espnet_topdown.trainer import valid_cer

pytestmark = pytest.mark.espnet
TOKENS = ["<blank>", "<unk>", "a", "b", "<space>", "<sos/eos>"]
HYP = torch.tensor([[2, 0, 3, 3, 2, 2], [3, 3, 0, 2, 2, 3]])  # (B, T) "abaa.." "bab"
REF = torch.tensor([[2, 3, -1], [3, 2, 2]])
LENGTHS = torch.tensor([4, 6])


class CTC(torch.nn.Module):
    def forward(self, hs_pad, hlens, ys_pad, ys_lens):  # type: ignore[no-untyped-def]
        return hs_pad.sum()


def stock():
    try:
        from espnet2.legacy.nets.e2e_asr_common import ErrorCalculator
    except ImportError:
        from espnet.nets.e2e_asr_common import ErrorCalculator
    return ErrorCalculator(TOKENS, "<space>", "<blank>", True, True)


@pytest.fixture
def model():
    model = torch.nn.Module()
    model.ctc = CTC()
    model.error_calculator = stock()
    model.blank_id = 0
    return model


@pytest.mark.parametrize("by_name", [False, True])
def test_frames_behind_the_end_are_not_scored(model, by_name):
    handle = valid_cer.attach(model)
    inputs = {"hs_pad": torch.zeros(2, 6), "hlens": LENGTHS, "ys_pad": REF}
    inputs["ys_lens"] = torch.tensor([2, 3])
    model.ctc(**inputs) if by_name else model.ctc(*inputs.values())
    pooled = model.error_calculator(HYP, REF, is_ctc=True)
    assert stock()(HYP, REF, is_ctc=True) == pytest.approx(2 / 5)  # "aba" for "ab"
    assert pooled == pytest.approx(1 / 5)  # "ab" is right, "bab" for "baa"
    handle.remove()


def test_it_is_what_utterances_alone_would_give(model):
    handle = valid_cer.attach(model)
    model.ctc(torch.zeros(2, 6), LENGTHS, REF, torch.tensor([2, 3]))
    together = model.error_calculator(HYP, REF, is_ctc=True)
    alone = [
        stock()(HYP[i : i + 1, : LENGTHS[i]], REF[i : i + 1], is_ctc=True) * n
        for i, n in enumerate((2, 3))
    ]
    assert together == pytest.approx(sum(alone) / 5)
    handle.remove()


def test_attention_errors_are_untouched(model):
    before = stock()(HYP, REF)
    valid_cer.attach(model)
    assert model.error_calculator(HYP, REF) == before


def test_attached_once(model):
    assert valid_cer.attach(model) is not None
    assert valid_cer.attach(model) is None


@pytest.mark.parametrize("part", ["ctc", "error_calculator"])
def test_models_without_ctc_or_errors_are_left_alone(part):
    parts = {"ctc": CTC(), "error_calculator": stock()}
    parts[part] = None
    assert valid_cer.attach(SimpleNamespace(**parts)) is None
