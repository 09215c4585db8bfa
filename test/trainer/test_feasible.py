from __future__ import annotations

import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer.feasible import CTCGuard, frames_needed

IDS = [
    ([3, 4, 5], 3),
    ([3, 3, 3], 5),
    ([3], 1),
    ([], 0),
    ([3, 4, 3, 3], 5),
]


@pytest.mark.parametrize("ids, need", IDS, ids=str)
def test_frames_needed(ids, need):
    padded = torch.tensor([[*ids, -1, -1, -1], [7] * (len(ids) + 3)])
    assert frames_needed(padded, torch.tensor([len(ids), 1])).tolist() == [need, 1]


@pytest.mark.parametrize("ids, need", IDS[:3], ids=str)
def test_agrees_with_the_loss(ids, need):
    for frames in (need - 1, need):
        logits = torch.zeros(max(frames, 1), 1, 6).log_softmax(2)
        loss = torch.nn.functional.ctc_loss(
            logits,
            torch.tensor([ids]),
            torch.tensor([frames]),
            torch.tensor([len(ids)]),
        )
        assert bool(torch.isfinite(loss)) is (frames == need)


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ctc = CTC()


class CTC(torch.nn.Module):
    def forward(self, hs, hlens, ys, ylens):
        return hs


def look(guard, frames):
    model = Model()
    guard.attach(model)
    units = torch.tensor([[3, 3, 4], [3, 4, -1]])
    model.ctc(torch.zeros(2, 9, 1), torch.tensor(frames), units, torch.tensor([3, 2]))


def test_named():
    guard = CTCGuard()
    guard.utterances = ["u1", "u2"]
    look(guard, [4, 2])
    with pytest.raises(
        TopDownError, match="u1 needs 4 frames, has 3; u2 needs 2.*1"
    ) as e:
        look(guard, [3, 1])
    assert e.value.code == "E_CTC_INFEASIBLE" and e.value.status == 65


def test_allowed(caplog):
    guard = CTCGuard(allow=True)
    guard.utterances = ["u1", "u2"]
    look(guard, [3, 2])
    look(guard, [3, 2])
    assert caplog.text.count("W_CTC_INFEASIBLE") == 1
    assert guard.found == {"u1": (4, 3)}


def test_a_model_without_ctc():
    assert CTCGuard().attach(torch.nn.Linear(1, 1)) is None
