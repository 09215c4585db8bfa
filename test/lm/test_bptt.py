"""Every token of a text is read once, in its order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer.bptt import Batches, batchify, fixed_windows, random_windows


def test_columns_are_parts_of_the_text() -> None:
    text = batchify(np.arange(11), 3)
    assert text.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    with pytest.raises(TopDownError, match="E_TEXT_SHORT"):
        batchify(np.arange(5), 3)


@pytest.mark.parametrize("length", [2, 8, 9, 70, 71, 500])
def test_fixed_windows_hold_every_target_once(length: int) -> None:
    found = [
        i for w in fixed_windows(length, 7) for i in range(w.start, w.start + w.steps)
    ]
    assert found == list(range(length - 1))


def test_random_windows() -> None:
    found = random_windows(26107, 70, np.random.RandomState(1))
    again = random_windows(26107, 70, np.random.RandomState(1))
    assert found == again and found != random_windows(
        26107, 70, np.random.RandomState(2)
    )
    steps = [w.steps for w in found]
    assert [w.start for w in found] == [sum(steps[:i]) for i in range(len(steps))]
    assert sum(steps) in (26105, 26106) and 370 < len(found) < 400
    drawn = [w.drawn for w in found]
    assert min(drawn) >= 5 and max(drawn) < 95
    assert 0.01 < sum(d < 50 for d in drawn) / len(drawn) < 0.1


def test_batches_go_on_where_the_last_one_ended() -> None:
    text = torch.arange(24).reshape(2, 12)
    batches = Batches(text, random_windows(12, 5, np.random.RandomState(0)), 5)
    seen = [b for _, b in batches]
    assert len(batches) == len(seen)
    assert [b["reset"] for b in seen] == [True] + [False] * (len(seen) - 1)
    joined = torch.cat([b["text"] for b in seen], dim=1)
    assert torch.equal(joined, text[:, : joined.shape[1]])
    for b, w in zip(seen, batches.windows):
        assert torch.equal(b["target"], b["text"] + 1)
        assert b["lr_scale"] == w.drawn / 5
        assert b["text_lengths"].tolist() == [w.steps] * 2
