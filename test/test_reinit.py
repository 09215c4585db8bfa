from __future__ import annotations

import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.jobs.reinit import Reinit

VARIANCES = torch.tensor([1e-3, 9.0, 1e-3, 9.0])  # of a norm: never below 0
SOURCE = {
    "a.weight": torch.randn(4, 50),
    "a.count": torch.tensor(7),
    "a.running_var": VARIANCES,
}


def test_shrink_and_perturb() -> None:
    rule = Reinit.parse("shrink:0.5,0.1")
    once, twice, other = (rule.values(SOURCE, SOURCE, s) for s in (1, 1, 2))
    assert torch.equal(once["a.weight"], twice["a.weight"])
    assert not torch.equal(once["a.weight"], other["a.weight"])
    assert once["a.count"] == 7 and torch.equal(once["a.running_var"], VARIANCES)
    noise = once["a.weight"] - 0.5 * SOURCE["a.weight"]
    spread = noise.std() / SOURCE["a.weight"].std()
    assert 0.07 < spread < 0.13
    halved = Reinit.parse("shrink:0.5,0").values(SOURCE, SOURCE, 1)
    assert torch.equal(halved["a.weight"], 0.5 * SOURCE["a.weight"])


@pytest.mark.parametrize(
    "text", ["", "none", "shrink", "shrink:1", "shrink:-1,0", "rewind:0", "rewind:x"]
)
def test_bad_words(text: str) -> None:
    with pytest.raises(TopDownError, match="E_RANGE.*--reinit"):
        Reinit.parse(text)


def test_a_harvest_has_no_lower_layers() -> None:
    with pytest.raises(TopDownError, match="E_SHAPE_MISMATCH.*no b.weight"):
        Reinit.parse("rewind:3").values(SOURCE, ["b.weight"], 1)
