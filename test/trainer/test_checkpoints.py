"""Saves, links and repair of a folder; a training killed at any point goes on the same.

The training runs in a fork that sends itself SIGKILL; at night at more points, with
TOPDOWN_KILL_POINTS=all at every one.
"""

from __future__ import annotations

import math
import os
import pathlib
import resource
import shutil
import signal
from pathlib import Path

import pytest
import torch
from dying import in_child
from espnet2.main_funcs import average_nbest_models
from espnet2.train import trainer as stock
from trained_state import ENCODERS, differing, options, state

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer._checkpoints import durable, repair, save

LOSS = [["valid", "loss", "min"]]


def test_save_replaces_whole_and_keeps_the_one_before(tmp_path):
    path, kept = tmp_path / "checkpoint.pth", tmp_path / "checkpoint.pth.prev"
    for epoch in (1, 2):
        save({"a": torch.tensor(epoch)}, path)
    before = kept.read_bytes()
    with kept.open("rb") as opened:
        save({"a": torch.tensor(3)}, path)
        assert opened.read() == before != kept.read_bytes()
    assert torch.load(path, weights_only=True)["a"] == 3
    assert torch.load(kept, weights_only=True)["a"] == 2
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.pth", "checkpoint.pth.prev"]


def test_a_full_disk_says_so_and_loses_nothing(tmp_path):
    """A limit of the process stands in for the disk; torch hides the reason."""
    save({"a": torch.zeros(3)}, tmp_path / "checkpoint.pth")
    before = (tmp_path / "checkpoint.pth").read_bytes()

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(TopDownError, match="E_DISK: .*need 1.* B, free .* B") as e:
            save({"a": torch.ones(100_000)}, tmp_path / "checkpoint.pth")
        assert e.value.status == 74

    assert in_child(work, tmp_path.with_suffix(".log")) == 0
    assert (tmp_path / "checkpoint.pth").read_bytes() == before
    assert os.listdir(tmp_path) == ["checkpoint.pth"]


def test_what_torch_cannot_save_is_no_disk_error(tmp_path):
    with pytest.raises(Exception, match="pickle|local object"):
        save({"a": lambda: None}, tmp_path / "1epoch.pth")


def test_only_the_two_modules_of_espnet_find_other_names(tmp_path):
    (tmp_path / "1epoch.pth").touch()
    before = torch.save, torch.load, pathlib.Path, stock.torch, stock.Path
    with pytest.raises(KeyError), durable(Reporter=str):
        assert stock.Reporter is str
        assert stock.torch.save is average_nbest_models.torch.save is save
        assert stock.torch.nn is torch.nn
        link = stock.Path(tmp_path) / "latest.pth"
        for epoch in (1, 2):  # as ESPnet's trainer does it
            if link.is_symlink() or link.exists():
                link.unlink()
            link.symlink_to(f"{epoch}epoch.pth")
            assert os.readlink(link) == f"{epoch}epoch.pth"
            link.unlink()
            assert link.is_symlink()
        (stock.Path(tmp_path) / "1epoch.pth").unlink()
        assert os.listdir(tmp_path) == ["latest.pth"]
        assert before[:3] == (torch.save, torch.load, pathlib.Path)
        raise KeyError
    assert before == (torch.save, torch.load, pathlib.Path, stock.torch, stock.Path)
    pathlib.Path(tmp_path / "latest.pth").unlink()
    assert os.listdir(tmp_path) == []


def test_nothing_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'canary'}",))

    path = tmp_path / "1epoch.pth"
    torch.save({"a": Evil()}, path)
    with durable():
        loads = [m.torch.load for m in (stock, average_nbest_models)]
        loads += [m.safe_torch_load for m in (stock,) if hasattr(m, "safe_torch_load")]
        for load in loads:
            with pytest.raises(TopDownError, match="E_CKPT_UNSAFE"):
                load(path, map_location="cpu", weights_only=False)
    assert not (tmp_path / "canary").exists()


@pytest.mark.espnet
def test_espnet_saves_and_links_nowhere_else(train, monkeypatch):
    """A release that saves in another module would lose the promise: here it fails."""
    torch_save, symlink_to = torch.save, pathlib.Path.symlink_to
    files, links = set(), set()

    def saved(obj, file, **options):
        files.add(str(getattr(file, "name", file)))
        torch_save(obj, file, **options)

    def linked(self, target, *args):
        links.add(self.name)
        symlink_to(self, target, *args)

    monkeypatch.setattr(torch, "save", saved)
    monkeypatch.setattr(pathlib.Path, "symlink_to", linked)
    folder = train(keep_nbest_models=2)
    assert (folder / "valid.loss.ave_2best.pth").exists()
    assert len(files) > 4 and len(links) >= 3
    assert all(n.endswith(f".{os.getpid()}.tmp") for n in files | links)


def write(folder, losses):
    """A folder after ``len(losses)`` epochs, without links."""
    folder.mkdir(exist_ok=True)
    stats = {}
    for epoch, loss in enumerate(losses, 1):
        stats[epoch] = {"valid": {"loss": loss}}
        model = {"one": torch.ones(9), "w": torch.tensor(float(epoch))}
        reporter = {"epoch": epoch, "stats": dict(stats)}
        save({"model": model, "reporter": reporter}, folder / "checkpoint.pth")
        save(model, folder / f"{epoch}epoch.pth")
    return folder


def test_links_and_surplus(tmp_path):
    """The last epoch comes back; temporaries of the dead go."""
    folder = write(tmp_path / "exp", [3.0, 1.0, 2.0])
    (folder / "valid.loss.best.pth").symlink_to("3epoch.pth")
    (folder / "3epoch.pth").write_bytes(b"PK cut")
    dead = folder / ".checkpoint.pth.4194999.tmp"
    alive = folder / f".checkpoint.pth.{os.getppid()}.tmp"
    for path in (dead, alive):
        path.touch()
    repair(folder, LOSS, keep=1)
    assert os.readlink(folder / "valid.loss.best.pth") == "2epoch.pth"
    assert os.readlink(folder / "latest.pth") == "3epoch.pth"
    assert not (folder / "1epoch.pth").exists()
    assert (folder / "2epoch.pth").exists()
    assert torch.load(folder / "3epoch.pth", weights_only=True)["w"] == 3.0
    assert not dead.exists() and alive.exists()


def test_no_link_for_what_the_model_lacks(tmp_path):
    folder = write(tmp_path / "exp", [math.nan, math.nan])
    repair(folder, LOSS, keep=1)
    assert not (folder / "valid.loss.best.pth").is_symlink()
    for empty in (tmp_path / "none", tmp_path):
        repair(empty, LOSS, keep=1)


def flip(path):
    data = bytearray(path.read_bytes())
    data[data.index(torch.ones(9).numpy().tobytes()) + 2] ^= 0x40
    path.write_bytes(bytes(data))


DAMAGES = {
    "truncated": lambda p: p.write_bytes(p.read_bytes()[:-200]),
    "empty": lambda p: p.write_bytes(b""),
    "missing": lambda p: p.unlink(),
    "a flipped bit": flip,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint(tmp_path, damage, caplog):
    """It gives way to the one before; without that, training never begins anew."""
    folder = write(tmp_path / "exp", [3.0, 1.0])
    DAMAGES[damage](folder / "checkpoint.pth")
    for _ in range(2):
        repair(folder, LOSS, keep=1)
        assert os.readlink(folder / "latest.pth") == "1epoch.pth"
        assert not (folder / "checkpoint.pth.prev").exists()
    assert "W_REPAIRED" in caplog.text
    folder = write(tmp_path / "first", [3.0])
    DAMAGES[damage](folder / "checkpoint.pth")
    with pytest.raises(TopDownError, match="E_(CKPT_|DIGEST).*move .* away") as e:
        repair(folder, LOSS, keep=1)
    assert e.value.status == 65
    assert (e.value.code == "E_DIGEST") == (damage == "a flipped bit")


def kill_points(monkeypatch, reached) -> None:
    """Call ``reached`` before each rename, link and removal, and after each save."""
    replace, torch_save, unlink = os.replace, torch.save, pathlib.Path.unlink

    def replaced(a, b, **kwargs):
        if str(b).endswith((".pth", ".prev")):
            reached(f"rename to {Path(b).name}")
        replace(a, b, **kwargs)

    def saved(obj, file, **kwargs):
        torch_save(obj, file, **kwargs)
        reached("written, not renamed")

    def removed(path, *args, **kwargs):
        if path.suffix == ".pth":
            reached(f"remove {path.name}")
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(torch, "save", saved)
    monkeypatch.setattr(pathlib.Path, "unlink", removed)


night = pytest.mark.nightly
KILLS = [pytest.param("rnn", 3), pytest.param("rnn", 99, marks=night)]  # at most
KILLS += [pytest.param(e, 5, marks=night) for e in ENCODERS if e != "rnn"]


@pytest.mark.espnet
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("encoder, most", KILLS)
def test_killed_around_a_save_and_continued(
    train, tmp_path, monkeypatch, encoder, most
):
    """SIGKILL at points spread evenly over those of a training of two epochs."""
    conf = options(encoder, max_epoch=2, num_workers=0)
    conf.pop("num_iters_per_epoch", None)
    points: list[str] = []
    with monkeypatch.context() as patch:
        kill_points(patch, points.append)
        expected = state(train("reference", **conf))
    n, passed = len(points), []
    assert n > 12 and len(expected) > 20

    def die_at(name: str) -> None:
        passed.append(name)
        if len(passed) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    every = os.environ.get("TOPDOWN_KILL_POINTS") == "all"
    tries = n if every else min(n, most)
    for at in ((2 * i + 1) * n // (2 * tries) + 1 for i in range(tries)):
        with monkeypatch.context() as patch:
            kill_points(patch, die_at)
            status = in_child(lambda: train("killed", **conf), tmp_path / "log")
            assert status == 128 + signal.SIGKILL, (tmp_path / "log").read_text()
        result = train("killed", **conf)
        wrong = differing(state(result), expected)
        assert wrong == [], f"killed at {points[at - 1]} ({at} of {n})"
        assert not list(result.glob(".*.tmp"))
        shutil.rmtree(result)


STOPPED = {"max_epoch": 9, "patience": 0, "optim_conf": {"lr": 1e-9}}
STOPPED["early_stopping_criterion"] = ["valid", "loss", "max"]


@pytest.mark.espnet
@pytest.mark.parametrize("options, most", [({}, 3), (STOPPED, 8)], ids=["end", "early"])
def test_training_again_changes_nothing(train, options, most):
    """Neither when it has come to its end, nor when it was stopped early."""
    folder = train(**options)
    before = {p.name: p.stat().st_mtime_ns for p in folder.glob("*epoch.pth")}
    curve = (folder / "curve.jsonl").read_text()
    assert len(curve.splitlines()) <= most
    train(**options)
    assert before == {p.name: p.stat().st_mtime_ns for p in folder.glob("*epoch.pth")}
    assert curve == (folder / "curve.jsonl").read_text()
