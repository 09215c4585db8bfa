from __future__ import annotations

import copy

import pytest
import torch

from espnet_topdown.trainer.frozen_norm import frozen_norms, keep_in_eval


class Block(torch.nn.Module):
    """A layer, a norm with weights, one without, and a norm outside of it all."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Module()
        self.inner.linear = torch.nn.Linear(3, 3)
        self.inner.plain = torch.nn.BatchNorm1d(3, affine=False)
        self.norm = torch.nn.BatchNorm1d(3)
        self.instance = torch.nn.InstanceNorm1d(3, affine=True)  # no statistics
        self.free = torch.nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.free(self.norm(self.inner.plain(self.inner.linear(x))))


CASES = [
    ([], []),
    (["norm"], ["norm"]),
    (["inner"], ["inner.plain"]),
    (["norm.weight"], []),  # half frozen is not frozen
    (["inner", "norm"], ["inner.plain", "norm"]),
]


@pytest.mark.parametrize("freeze, expected", CASES, ids=str)
def test_which_are_frozen(freeze, expected):
    model = Block()
    for name, p in model.named_parameters():
        p.requires_grad = not any(name.startswith(f) for f in freeze)
    assert list(frozen_norms(model)) == expected


@pytest.mark.parametrize("keep", [True, False])
def test_statistics_stay_through_train(keep):
    model = Block()
    for p in [*model.inner.parameters(), *model.norm.parameters()]:
        p.requires_grad = False
    if keep:
        keep_in_eval(model)
    before = copy.deepcopy(model.state_dict())
    for _ in range(3):
        model.train()
        model(torch.randn(8, 3)).sum().backward()
    after = model.state_dict()
    changed = {n for n in after if not torch.equal(before[n], after[n])}
    frozen = {n for n in changed if n.startswith(("inner", "norm"))}
    assert (not frozen) is keep
    assert "free.running_mean" in changed


CONFORMER = {
    "output_size": 8,
    "attention_heads": 2,
    "linear_units": 8,
    "num_blocks": 1,
    "cnn_module_kernel": 3,
    "input_layer": "conv2d1",
    "rel_pos_type": "latest",
    "pos_enc_layer_type": "rel_pos",
    "selfattention_layer_type": "rel_selfattn",
}


@pytest.mark.espnet
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_frozen_conformer(train, mode):
    options = dict(encoder="conformer", encoder_conf=CONFORMER, max_epoch=1)
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
