"""Kill a training at each point of its saves, mend the folder, go on: the same model.

A kill is an exception that nothing catches inside the training; what is on disk is
then the same as after SIGKILL, since every write before it was a system call.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer import checkpoint
from espnet_topdown.trainer.checkpoint import durable, save


class Killed(BaseException):
    """Not an Exception, so that no handler of the training takes it for an error."""


def test_save_replaces_and_keeps_the_one_before(tmp_path):
    path = tmp_path / "checkpoint.pth"
    for i in range(3):
        save({"a": torch.tensor(i)}, path)
    assert torch.load(path, weights_only=True)["a"] == 2
    previous = tmp_path / "checkpoint.pth.prev"
    assert torch.load(previous, weights_only=True)["a"] == 1
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.pth", "checkpoint.pth.prev"]


def test_a_full_disk_says_so_and_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "1epoch.pth"
    save({"a": torch.zeros(3)}, path)
    before = path.read_bytes()

    def full(self, data):
        self.error = OSError(errno.ENOSPC, "No space left on device")
        raise self.error

    monkeypatch.setattr(checkpoint._Recorder, "write", full)
    with pytest.raises(TopDownError, match="E_DISK.*free .* B") as e:
        save({"a": torch.ones(3)}, path)
    assert e.value.status == 74
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["1epoch.pth"]


def test_a_really_full_disk(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "wb", buffering=0) as file:
        record = checkpoint._Recorder(file)
        with pytest.raises(Exception):  # noqa: B017 torch raises one of several
            torch.save({"a": torch.zeros(100_000)}, record)
    assert record.error.errno == errno.ENOSPC


def test_no_room_for_an_epoch(tmp_path, monkeypatch):
    save({"a": torch.zeros(3)}, tmp_path / "checkpoint.pth")
    checkpoint.check_room(tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(TopDownError, match="E_DISK.*free 10 B"):
        checkpoint.check_room(tmp_path)


def test_links_are_never_missing(tmp_path, monkeypatch):
    link = tmp_path / "latest.pth"
    seen = []
    with durable(tmp_path):
        for epoch in (1, 2):
            (tmp_path / f"{epoch}epoch.pth").touch()
            if link.is_symlink() or link.exists():
                link.unlink()
                seen.append(os.readlink(link))
            link.symlink_to(f"{epoch}epoch.pth")
            seen.append(os.readlink(link))
        (tmp_path / "1epoch.pth").unlink()
    assert seen == ["1epoch.pth", "1epoch.pth", "2epoch.pth"]
    assert not (tmp_path / "1epoch.pth").exists()
    link.unlink()
    assert not link.is_symlink()  # everything is as before


def test_nothing_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'canary'}",))

    torch.save({"a": Evil()}, tmp_path / "1epoch.pth")
    with durable(tmp_path), pytest.raises(Exception):  # noqa: B017
        torch.load(tmp_path / "1epoch.pth", weights_only=False)
    assert not (tmp_path / "canary").exists()


def kill_points(monkeypatch, at: int) -> list[str]:
    """Kill before the n-th rename, save or removal inside a training."""
    passed: list[str] = []

    def point(name: str) -> None:
        passed.append(name)
        if len(passed) == at:
            raise Killed(name)

    replace, torch_save, unlink = os.replace, checkpoint._torch_save, checkpoint._unlink

    def replaced(a, b, **kwargs):
        if str(b).endswith((".pth", ".prev")):
            point(f"rename to {Path(b).name}")
        replace(a, b, **kwargs)

    def saved(obj, file, **kwargs):
        torch_save(obj, file, **kwargs)
        point("written, not renamed")

    def removed(path, **kwargs):
        if path.suffix == ".pth":
            point(f"remove {path.name}")
        unlink(path, **kwargs)

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(checkpoint, "_torch_save", saved)
    monkeypatch.setattr(checkpoint, "_unlink", removed)
    return passed


def contents(folder: Path) -> dict[str, object]:
    """Every model file by its tensors and every link by its target."""
    found: dict[str, object] = {}
    for path in sorted(folder.glob("*.pth")):
        if path.is_symlink():
            found[path.name] = os.readlink(path)
        elif path.name != "checkpoint.pth":
            state = torch.load(path, weights_only=True)
            found[path.name] = {n: t.numpy().tobytes() for n, t in state.items()}
    return found


@pytest.mark.espnet
@pytest.mark.parametrize("first", range(1, 9))
def test_killed_anywhere_and_continued(train, monkeypatch, first):
    """Every eighth point from ``first`` on, until the training ends before one."""
    expected = contents(train("reference", max_epoch=2))
    for at in range(first, 1000, 8):
        with monkeypatch.context() as patch:
            passed = kill_points(patch, at)
            try:
                train("killed", max_epoch=2)
                break
            except Killed:
                pass
        result = train("killed", max_epoch=2)
        assert contents(result) == expected, f"killed at {passed[-1]} ({at})"
        assert not list(result.glob(".*.tmp"))
        shutil.rmtree(result)
    assert at > 12
    assert pathlib.Path.unlink is checkpoint._unlink


@pytest.mark.espnet
@pytest.mark.parametrize("seconds", [0.0, 0.07, 0.13, 0.31])
def test_sigkill_and_continued(train, tmp_path, seconds):
    """A process of its own, killed some time after its first epoch is saved."""
    expected = contents(train("reference", max_epoch=6))
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        with contextlib.suppress(BaseException):
            train("killed", max_epoch=6)
        os._exit(0)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (tmp_path / "killed" / "checkpoint.pth").exists():
            break
        time.sleep(0.01)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert contents(train("killed", max_epoch=6)) == expected


@pytest.mark.espnet
@pytest.mark.parametrize("accum_grad", [1, 2])
def test_resumed_is_bit_identical(train, accum_grad):
    changes = dict(accum_grad=accum_grad, specaug="specaug")
    masks = {"apply_time_warp": False, "apply_time_mask": False}
    changes.update(specaug_conf={**masks, "freq_mask_width_range": 3})
    expected = contents(train("whole", max_epoch=4, **changes))
    train("parts", max_epoch=2, **changes)
    assert contents(train("parts", max_epoch=4, **changes)) == expected


@pytest.mark.espnet
def test_training_again_changes_nothing(train):
    folder = train()
    before = {p.name: p.stat().st_mtime_ns for p in folder.glob("*epoch.pth")}
    train()
    assert before == {p.name: p.stat().st_mtime_ns for p in folder.glob("*epoch.pth")}


@pytest.mark.espnet
def test_stopped_early_stays_stopped(train):
    options = dict(max_epoch=9, patience=0, optim_conf={"lr": 1e-9})
    options.update(early_stopping_criterion=["valid", "loss", "max"])
    folder = train(**options)
    before = sorted(p.name for p in folder.glob("*epoch.pth"))
    epochs = len((folder / "curve.jsonl").read_text().splitlines())
    assert epochs < 9
    train(**options)
    assert before == sorted(p.name for p in folder.glob("*epoch.pth"))
    assert epochs == len((folder / "curve.jsonl").read_text().splitlines())
