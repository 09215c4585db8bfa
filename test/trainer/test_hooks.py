"""Frozen norms, and errors without padding."""

from __future__ import annotations

import copy

import pytest
import torch

from espnet_topdown.trainer._hooks import ErrorsWithoutPadding, keep_in_eval

pytestmark = pytest.mark.espnet


class CTC(torch.nn.Module):
    def forward(self, hs_pad, hlens, ys_pad, ys_lens):
        return hs_pad.sum()


class Block(torch.nn.Module):
    """A layer, a norm with weights, one without, and a norm outside of it all."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(3)
        self.inner = torch.nn.Module()
        self.inner.linear = torch.nn.Linear(3, 3)
        self.inner.plain = torch.nn.BatchNorm1d(3, affine=False)
        self.free = torch.nn.BatchNorm1d(3)

    def forward(self, x):
        return self.free(self.inner.plain(self.inner.linear(self.norm(x))))


@pytest.mark.parametrize(
    "freeze, held",
    [
        ([], []),
        (["norm"], ["norm"]),
        (["inner"], ["inner.plain"]),
        (["norm.weight"], []),  # half frozen is not frozen
        (["inner", "norm"], ["norm", "inner.plain"]),
    ],
    ids=str,
)
def test_statistics_of_frozen_norms_stay_through_train(freeze, held):
    model = Block()
    for name, p in model.named_parameters():
        p.requires_grad = not any(name.startswith(f) for f in freeze)
    assert keep_in_eval(model) == held
    before = copy.deepcopy(model.state_dict())
    for _ in range(3):
        model.train()
        model(torch.randn(8, 3)).sum().backward()
    moved = {n for n, t in model.state_dict().items() if not torch.equal(before[n], t)}
    norms = {"norm", "inner.plain", "free"}
    assert {n.rpartition(".")[0] for n in moved} == norms - set(held)


TOKENS = ["<blank>", "<unk>", "a", "b", "<space>", "<sos/eos>"]
HYP = torch.tensor([[2, 0, 3, 3, 2, 2], [3, 3, 0, 2, 2, 3]])  # (B, T) "abaa.." "bab"
REF = torch.tensor([[2, 3, -1], [3, 2, 2]])
INPUTS = {"hs_pad": torch.zeros(2, 6), "hlens": torch.tensor([4, 6]), "ys_pad": REF}
INPUTS["ys_lens"] = torch.tensor([2, 3])


@pytest.fixture
def stock():
    """ESPnet's calculator; its package is another one in each release."""
    from espnet2.asr import espnet_model

    return espnet_model.ErrorCalculator(TOKENS, "<space>", "<blank>", True, True)


@pytest.mark.parametrize("by_name", [False, True])
def test_frames_behind_the_end_are_not_scored(stock, by_name):
    model = torch.nn.Module()
    model.ctc, model.error_calculator, model.blank_id = CTC(), stock, 0
    assert ErrorsWithoutPadding.attach(model) is not None
    assert ErrorsWithoutPadding.attach(model) is None, "once"
    model.ctc(**INPUTS) if by_name else model.ctc(*INPUTS.values())
    pooled = model.error_calculator(HYP, REF, is_ctc=True)
    assert stock(HYP, REF, is_ctc=True) == pytest.approx(2 / 5)  # "aba" for "ab"
    assert pooled == pytest.approx(1 / 5)  # "ab" is right, "bab" for "baa"
    alone = [
        stock(HYP[i : i + 1, :n_frames], REF[i : i + 1], is_ctc=True) * n_units
        for i, (n_frames, n_units) in enumerate(((4, 2), (6, 3)))
    ]
    assert pooled == pytest.approx(sum(alone) / 5)
    assert model.error_calculator(HYP, REF) == stock(HYP, REF)  # of the attention


BLOCKS = {"output_size": 8, "attention_heads": 2, "linear_units": 8, "num_blocks": 1}
BLOCKS |= {"cnn_module_kernel": 3, "input_layer": "conv2d1", "rel_pos_type": "latest"}
BLOCKS |= {"pos_enc_layer_type": "rel_pos", "selfattention_layer_type": "rel_selfattn"}


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_frozen_conformer(train, mode):
    options = dict(encoder="conformer", encoder_conf=BLOCKS, max_epoch=1)
    first = train("first", **options)
    model = str(first / "1epoch.pth")
    options.update(init_param=[model], freeze_param=["encoder"], frozen_norm=mode)
    again = train("again", **options)
    a, b = (torch.load(f / "1epoch.pth", weights_only=True) for f in (first, again))
    changed = {n for n in a if not torch.equal(a[n], b[n])}
    assert any(n.startswith("ctc.") for n in changed)
    moved = {n.rpartition(".")[2] for n in changed if n.startswith("encoder.")}
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    assert moved == (set() if mode == "eval" else statistics)
