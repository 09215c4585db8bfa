"""The model against plain PyTorch, and what broke in earlier implementations."""

from __future__ import annotations

import copy

import pytest
import torch
from awd_reference import Reference
from lm_corpus import RATES, TINY

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer.awd_lstm import (
    AWDLSTM,
    ContinuousLanguageModel,
)

pytestmark = pytest.mark.espnet
KEYS = ["embed.weight", "out.weight", "out.bias"] + [
    f"rnns.{i}.{name}_l0"
    for i in range(3)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
]


@pytest.fixture
def lm() -> AWDLSTM:
    torch.manual_seed(0)
    return AWDLSTM(21, **TINY)


@pytest.fixture
def batch() -> dict:
    draw = torch.Generator().manual_seed(5)
    text = torch.randint(21, (4, 10), generator=draw)
    lengths = torch.full((4,), 9)
    more = {"reset": True, "lr_scale": 1.0}
    return {
        "text": text[:, :-1],
        "text_lengths": lengths,
        "target": text[:, 1:],
        **more,
    }


def test_size_for_wikitext2() -> None:
    with torch.device("meta"):
        model = AWDLSTM(33278)
    assert sum(p.numel() for p in model.parameters()) == 33_556_078
    assert [sum(p.numel() for p in r.parameters()) for r in model.rnns] == [
        7_139_200,
        10_589_200,
        2_483_200,
    ]


@pytest.mark.parametrize("train", [True, False])
def test_scores_and_states_equal_plain_pytorch(lm, batch, train) -> None:
    lm.train(train)
    ref, hidden, theirs = Reference(lm.state_dict(), RATES), None, []
    for seed in (1, 2):  # masks differ, the state is carried
        torch.manual_seed(seed)
        scores, hidden = lm(batch["text"], hidden)
        torch.manual_seed(seed)
        want, _, _, theirs = ref.run(batch["text"], theirs, train)
        assert torch.allclose(scores, want.transpose(0, 1), atol=1e-5)
        for (h, c), (h2, c2) in zip(hidden, theirs):
            assert torch.allclose(h[0], h2, atol=1e-5)
            assert torch.allclose(c[0], c2, atol=1e-5)


def test_loss_and_gradients_equal_plain_pytorch(lm, batch) -> None:
    model = ContinuousLanguageModel(lm, 21).train()
    ref = Reference(lm.state_dict(), RATES)
    torch.manual_seed(1)
    loss, stats, count = model(**batch)
    loss.backward()
    torch.manual_seed(1)
    want, entropy, _ = ref.loss(batch["text"], batch["target"], [], 2.0, 1.0)
    want.backward()
    assert loss.item() == pytest.approx(want.item(), abs=1e-5)
    assert stats["loss"].item() == pytest.approx(entropy.item(), abs=1e-5)
    assert count == 36 and loss > stats["loss"]
    for name, p in lm.named_parameters():
        assert torch.allclose(p.grad, ref.p[name].grad, atol=1e-5), name
        assert p.grad.abs().sum() > 0, name


def test_masks_change_and_leave_the_weights_alone(lm, batch) -> None:
    before = copy.deepcopy(lm.state_dict())
    first, second = (lm(batch["text"])[0] for _ in range(2))
    assert not torch.equal(first, second)
    after = lm.state_dict()
    assert sorted(after) == sorted(KEYS)
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert after["embed.weight"].data_ptr() == after["out.weight"].data_ptr()


def test_training_after_evaluation_copies_and_files(lm, batch, tmp_path) -> None:
    """Each of these fails in the authors' implementation."""
    lm.eval()
    quiet = lm(batch["text"])[0]
    lm.train()
    lm(batch["text"])[0].sum().backward()
    twin = copy.deepcopy(lm).eval()
    assert torch.equal(twin(batch["text"])[0], quiet)
    torch.save(lm.state_dict(), tmp_path / "w.pth")
    fresh = AWDLSTM(21, **TINY).eval()
    fresh.load_state_dict(torch.load(tmp_path / "w.pth", weights_only=True))
    assert torch.equal(fresh(batch["text"])[0], quiet)
    assert fresh.out.weight is fresh.embed.weight
    assert all(w.grad_fn is None for r in lm.rnns for w in r._flat_weights)


def test_fused_lstm_is_called(lm, batch, monkeypatch) -> None:
    calls = []
    fused = torch._VF.lstm

    def count(*args):
        calls.append(args[0].shape)
        return fused(*args)

    monkeypatch.setattr(torch._VF, "lstm", count)
    lm.train()(batch["text"])
    assert len(calls) == 3  # a layer each, all steps at once


def test_a_window_of_one_step_has_no_change(lm, batch) -> None:
    model = ContinuousLanguageModel(lm, 21).train()
    cut = {k: batch[k][:, :1] for k in ("text", "target")}
    loss, _, _ = model(**{**batch, **cut})
    assert torch.isfinite(loss)


def test_sentences_one_by_one_as_espnet_does(lm) -> None:
    model = ContinuousLanguageModel(lm, 21).eval()
    text, lengths = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([3, 2])
    loss, _, count = model(text=text, text_lengths=lengths)
    assert count == 7 and torch.isfinite(loss)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_dropout_out_of_range(rate) -> None:
    with pytest.raises(TopDownError, match="E_RANGE"):
        AWDLSTM(5, weight_dropout=rate)
