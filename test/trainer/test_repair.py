"""What can be lost or damaged in a folder, and what is made of it."""

from __future__ import annotations

import math
import os

import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer.checkpoint import save
from espnet_topdown.trainer.repair import Saved, rank, repair, stopped_early

LOSS = [["valid", "loss", "min"]]


def write(folder, losses):
    """A folder after ``len(losses)`` epochs, without links."""
    folder.mkdir(exist_ok=True)
    stats = {}
    for epoch, loss in enumerate(losses, 1):
        stats[epoch] = {"valid": {"loss": loss}}
        model = {"w": torch.tensor(float(epoch))}
        reporter = {"epoch": epoch, "stats": dict(stats)}
        save({"model": model, "reporter": reporter}, folder / "checkpoint.pth")
        save(model, folder / f"{epoch}epoch.pth")
    return folder


RANKS = [
    ([3.0, 1.0, 2.0], "min", [2, 3, 1]),
    ([3.0, 1.0, 2.0], "max", [1, 3, 2]),
    ([math.nan, 0.5, 0.4], "min", [3, 2, 1]),
    ([0.5, math.nan, 0.4], "max", [1, 3, 2]),
    ([1.0, 1.0], "min", [1, 2]),  # of equal ones the earlier
]


@pytest.mark.parametrize("losses, mode, expected", RANKS, ids=str)
def test_nan_is_last(losses, mode, expected):
    stats = {e: {"valid": {"loss": v}} for e, v in enumerate(losses, 1)}
    assert rank(stats, "valid", "loss", mode) == expected


def test_links_and_surplus(tmp_path):
    folder = write(tmp_path / "exp", [3.0, 1.0, 2.0])
    (folder / "valid.loss.best.pth").symlink_to("3epoch.pth")
    saved = repair(folder, LOSS, keep=1)
    assert saved.epoch == 3
    assert os.readlink(folder / "valid.loss.best.pth") == "2epoch.pth"
    assert os.readlink(folder / "latest.pth") == "3epoch.pth"
    assert not (folder / "1epoch.pth").exists()
    assert (folder / "2epoch.pth").exists()


def test_no_link_for_what_the_model_lacks(tmp_path):
    folder = write(tmp_path / "exp", [math.nan, math.nan])
    repair(folder, LOSS, keep=1)
    assert not (folder / "valid.loss.best.pth").is_symlink()


def test_last_epoch_comes_back(tmp_path):
    folder = write(tmp_path / "exp", [3.0, 1.0])
    (folder / "2epoch.pth").write_bytes(b"PK cut")
    repair(folder, LOSS, keep=1)
    assert torch.load(folder / "2epoch.pth", weights_only=True)["w"] == 2.0


DAMAGES = {
    "truncated": lambda p: p.write_bytes(p.read_bytes()[:-200]),
    "empty": lambda p: p.write_bytes(b""),
    "missing": lambda p: p.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_falls_back_to_the_one_before(tmp_path, damage, caplog):
    folder = write(tmp_path / "exp", [3.0, 1.0])
    DAMAGES[damage](folder / "checkpoint.pth")
    assert repair(folder, LOSS, keep=1).epoch == 1
    assert "W_REPAIRED" in caplog.text
    assert not (folder / "checkpoint.pth.prev").exists()
    assert repair(folder, LOSS, keep=1).epoch == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_never_begins_anew(tmp_path, damage):
    folder = write(tmp_path / "exp", [3.0])
    DAMAGES[damage](folder / "checkpoint.pth")
    with pytest.raises(TopDownError, match="E_CKPT_.*move .* away") as e:
        repair(folder, LOSS, keep=1)
    assert e.value.status == 65


def test_a_flipped_bit_is_seen(tmp_path):
    folder = tmp_path / "exp"
    folder.mkdir()
    model = {"w": torch.zeros(1000)}
    reporter = {"epoch": 1, "stats": {1: {"valid": {"loss": 1.0}}}}
    path = folder / "checkpoint.pth"
    save({"model": model, "reporter": reporter}, path)
    data = bytearray(path.read_bytes())
    data[data.index(b"\0" * 3000) + 1000] ^= 0x40
    path.write_bytes(bytes(data))
    with pytest.raises(TopDownError, match="E_DIGEST"):
        repair(folder, LOSS, keep=1)


def test_temporaries_of_the_dead_only(tmp_path):
    folder = write(tmp_path / "exp", [1.0])
    dead = folder / ".checkpoint.pth.4194999.tmp"
    alive = folder / f".checkpoint.pth.{os.getppid()}.tmp"
    for path in (dead, alive):
        path.touch()
    repair(folder, LOSS, keep=1)
    assert not dead.exists() and alive.exists()


def test_nothing_there(tmp_path):
    assert repair(tmp_path / "none", LOSS, keep=1) is None
    assert repair(tmp_path, LOSS, keep=1) is None


EARLY = [
    ([3.0, 1.0, 2.0, 2.0], 1, True),
    ([3.0, 1.0, 2.0, 2.0], 2, False),
    ([3.0, 1.0, 2.0, 2.0], None, False),
    ([3.0, 2.0, 1.0], 0, False),
]


@pytest.mark.parametrize("losses, patience, stopped", EARLY, ids=str)
def test_stopped_early(losses, patience, stopped):
    stats = {e: {"valid": {"loss": v}} for e, v in enumerate(losses, 1)}
    saved = Saved(len(losses), stats)
    assert stopped_early(saved, patience, LOSS[0]) is stopped
