"""Freezing and initial weights: what is refused before epoch 1.

More of it is in test/catalogue.yaml, rows 14 to 18, 32 and 37.
"""

from __future__ import annotations

import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.models.weights import save_weights
from espnet_topdown.trainer import _contract as contract


class Model(torch.nn.Module):
    """12 blocks, as a Transformer has, and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        blocks = (torch.nn.Linear(2, 2) for _ in range(12))
        self.encoder = torch.nn.ModuleDict({"blocks": torch.nn.ModuleList(blocks)})
        self.ctc = torch.nn.ModuleDict({"ctc_lo": torch.nn.Linear(2, 3)})


@pytest.mark.parametrize(
    "patterns, message",
    [
        (["ctc.ctc_lo."], "E_FREEZE_NOMATCH.*ctc.ctc_lo"),
        (["encoder.*"], "E_FREEZE_NOMATCH.*encoder"),
        (["ctc", "encoder.block"], "E_FREEZE_NOMATCH.*encoder.blocks"),
        ([], ""),
        (["ctc"], ""),
        (["encoder.blocks.1"], ""),
    ],
)
def test_freezing(patterns, message):
    model = Model()
    if message:
        with pytest.raises(TopDownError, match=message) as e:
            contract.check_freeze(patterns, model)
        assert e.value.status == 78
        return
    contract.check_freeze(patterns, model)
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert len(frozen) == 2 * len(patterns)
    assert all(n.startswith(f"{patterns[0]}.") for n in frozen)


@pytest.mark.parametrize(
    "suffix, expected",
    [
        ("", 26),
        (":ctc:ctc", 2),
        (":ctc.ctc_lo:ctc.ctc_lo", 2),
        ("::", 26),
        (":::encoder", 2),
        (":::encoder.blocks.1.", 24),
        (":::encoder,ctc.ctc_lo.bias", 1),
        (":ctc:encoder", "E_INIT_EMPTY.*encoder"),
        (":::encodr", "E_INIT_EMPTY.*nearest: encoder"),
        ("::ctc", "E_INIT_EMPTY.*ctc"),
        (":a:b:c:d", "E_PATH.*':'"),
    ],
)
def test_initial_weights(tmp_path, suffix, expected):
    path = tmp_path / "1epoch.pth"
    save_weights(Model().state_dict(), path)
    if isinstance(expected, int):
        found = contract.check_init(f"{path}{suffix}", Model(), False)
        assert len(found) == expected
        return
    with pytest.raises(TopDownError, match=expected):
        contract.check_init(f"{path}{suffix}", Model(), False)


def test_other_sizes_and_names(tmp_path):
    path, state = tmp_path / "a.pth", Model().state_dict()
    state["ctc.ctc_lo.bias"] = torch.zeros(9)
    save_weights(state, path)
    with pytest.raises(TopDownError, match=r"E_CKPT_KEYS.*bias is \(9,\).*\(3,\)"):
        contract.check_init(str(path), Model(), False)
    state["ctc.ctc_l0.bias"] = state.pop("ctc.ctc_lo.bias")
    save_weights(state, path)
    with pytest.raises(TopDownError, match="E_CKPT_KEYS.*no ctc.ctc_l0.bias"):
        contract.check_init(str(path), Model(), False)
    assert len(contract.check_init(str(path), Model(), True)) == 25
