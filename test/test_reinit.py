from __future__ import annotations

import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.jobs.reinit import Reinit
from espnet_topdown.models.weights import Weights, header_of

VARIANCES = torch.tensor([1e-3, 9.0, 1e-3, 9.0])  # of a norm: never below 0
SOURCE = {
    "a.weight": torch.randn(4, 50),
    "a.count": torch.tensor(7),
    "a.running_var": VARIANCES,
}
HEADER = header_of(SOURCE)


def test_shrink_and_perturb() -> None:
    rule = Reinit.parse("shrink:0.5,0.1")
    once, twice, other = (rule.values(SOURCE, HEADER, s) for s in (1, 1, 2))
    assert torch.equal(once["a.weight"], twice["a.weight"])
    assert not torch.equal(once["a.weight"], other["a.weight"])
    assert once["a.count"] == 7 and torch.equal(once["a.running_var"], VARIANCES)
    noise = once["a.weight"] - 0.5 * SOURCE["a.weight"]
    spread = noise.std() / SOURCE["a.weight"].std()
    assert 0.07 < spread < 0.13
    halved = Reinit.parse("shrink:0.5,0").values(SOURCE, HEADER, 1)
    assert torch.equal(halved["a.weight"], 0.5 * SOURCE["a.weight"])


@pytest.mark.parametrize(
    "text", ["", "none", "shrink", "shrink:1", "shrink:-1,0", "rewind:0", "rewind:x"]
)
def test_bad_words(text: str) -> None:
    with pytest.raises(TopDownError, match="E_RANGE.*--reinit"):
        Reinit.parse(text)


@pytest.mark.parametrize("source", [{}, {"a.weight": torch.zeros(4, 51)}])
def test_a_model_without_these_weights(source: Weights) -> None:
    """As a harvest, or another model, is."""
    with pytest.raises(TopDownError, match=r"E_SHAPE_MISMATCH.*a.weight.*\(4, 50\)"):
        Reinit.parse("rewind:3").values(source, HEADER, 1)
