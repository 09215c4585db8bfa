"""The classifier of every epoch, kept while a model is trained."""

from __future__ import annotations

import pytest

from espnet_topdown.jobs.plan import plan
from espnet_topdown.jobs.spec import RetrainSpec
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.weights import differing, load_weights
from espnet_topdown.trainer import trainer

pytestmark = pytest.mark.espnet
SOFTMAX = ["ctc.ctc_lo.weight", "ctc.ctc_lo.bias"]
SOFT = ("softmax",)
KEEP = {"keep_nbest_models": 9}


def test_a_file_for_each_epoch(train):
    folder = train("exp", "--harvest", "softmax", **KEEP)
    without = load_weights(train("without") / "3epoch.pth")
    assert differing(load_weights(folder / "3epoch.pth"), without, without) == []
    files = sorted(folder.glob("harvest/*"))
    assert [p.name for p in files] == ["1.pth", "2.pth", "3.pth"]
    for epoch, path in enumerate(files, 1):
        kept, whole = load_weights(path), load_weights(folder / f"{epoch}epoch.pth")
        assert list(kept) == SOFTMAX and differing(kept, whole, SOFTMAX) == []
        whole_size = (folder / "checkpoint.pth").stat().st_size
        assert 2 * path.stat().st_size < whole_size
    spec = RetrainSpec.make(Experiment(folder), "job", SOFT, 2000, None, files[1])
    assert plan(spec).copied == {n: (files[1], n) for n in SOFTMAX}


def test_a_killed_training_harvests_the_epochs_that_it_goes_on_with(train, monkeypatch):
    """Killed between the harvest of an epoch and its checkpoint."""
    expected, write = train("whole", harvest="softmax"), trainer.Harvest.epoch

    class Killed(BaseException):
        pass

    def epoch(self, number, model):
        write(self, number, model)
        if number == 2:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(trainer.Harvest, "epoch", epoch)
        train("parts", harvest="softmax")
    parts = expected.parent / "parts"
    assert (parts / "harvest/2.pth").is_file()
    (parts / "harvest/.3.pth.999999999.tmp").write_bytes(b"half")
    train("parts", harvest="softmax")
    for epoch in (1, 2, 3):
        a, b = (load_weights(f / f"harvest/{epoch}.pth") for f in (expected, parts))
        assert differing(a, b, SOFTMAX) == []
    assert len(list((parts / "harvest").iterdir())) == 3


def test_switched_on_late(train, caplog):
    folder = train(max_epoch=1)
    train(max_epoch=3, harvest="softmax")
    assert "W_HARVEST: no" in caplog.text and "harvest/1.pth" in caplog.text
    assert [p.name for p in sorted(folder.glob("harvest/*"))] == ["2.pth", "3.pth"]


def test_layers_of_a_stack_of_the_users_own(train, tmp_path):
    layers = "[{name: mine, params: ['ctc']}, {name: rest, params: ['encoder']}]"
    (tmp_path / "own.yaml").write_text(f"layers: {layers}\n")
    stack = str(tmp_path / "own.yaml")
    folder = train("exp", harvest="mine", harvest_stack=stack, max_epoch=1)
    assert list(load_weights(folder / "harvest/1.pth")) == SOFTMAX
