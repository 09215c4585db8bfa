"""Kill a training at the points of its saves, mend the folder, go on: the same model.

The training runs in a fork that sends itself SIGKILL; with TOPDOWN_KILL_POINTS=all at
every point.
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
from trained_state import differing, everything, note, options

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer import checkpoint
from espnet_topdown.trainer.checkpoint import durable, save


def test_save_replaces_and_keeps_the_one_before(tmp_path):
    path = tmp_path / "checkpoint.pth"
    for i in range(3):
        save({"a": torch.tensor(i)}, path)
    assert torch.load(path, weights_only=True)["a"] == 2
    previous = tmp_path / "checkpoint.pth.prev"
    assert torch.load(previous, weights_only=True)["a"] == 1
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.pth", "checkpoint.pth.prev"]


def test_the_one_before_is_replaced_whole(tmp_path):
    path, kept = tmp_path / "checkpoint.pth", tmp_path / "checkpoint.pth.prev"
    for epoch in (1, 2):
        save({"a": torch.tensor(epoch)}, path)
    before = kept.read_bytes()
    with kept.open("rb") as opened:
        save({"a": torch.tensor(3)}, path)
        assert opened.read() == before != kept.read_bytes()


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


def kill_points(monkeypatch, reached) -> None:
    """Call ``reached`` before each rename, link and removal, and after each save."""
    replace, torch_save, unlink = os.replace, checkpoint._torch_save, checkpoint._unlink

    def replaced(a, b, **kwargs):
        if str(b).endswith((".pth", ".prev")):
            reached(f"rename to {Path(b).name}")
        replace(a, b, **kwargs)

    def saved(obj, file, **kwargs):
        torch_save(obj, file, **kwargs)
        reached("written, not renamed")

    def removed(path, **kwargs):
        if path.suffix == ".pth":
            reached(f"remove {path.name}")
        unlink(path, **kwargs)

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(checkpoint, "_torch_save", saved)
    monkeypatch.setattr(checkpoint, "_unlink", removed)


def in_child(work) -> int:
    """The exit status of a fork, -9 where it killed itself."""
    child = os.fork()
    if child == 0:
        status = 70
        torch.set_num_threads(1)
        with contextlib.suppress(BaseException):
            work()
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


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


KILLS = {"rnn": 99, "vgg_rnn": 5, "transformer": 5, "conformer": 5}  # at most, in CI


@pytest.mark.espnet
@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("encoder", KILLS)
def test_killed_around_a_save_and_continued(train, monkeypatch, encoder):
    """SIGKILL at points spread evenly over those of a training of two epochs."""
    conf = options(encoder, max_epoch=2, num_workers=0)
    conf.pop("num_iters_per_epoch", None)
    points: list[str] = []
    with monkeypatch.context() as patch:
        kill_points(patch, points.append)
        expected = everything(train("reference", **conf))
    n, passed = len(points), []
    assert n > 12 and len(expected) > 20

    def die_at(name: str) -> None:
        passed.append(name)
        if len(passed) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    every = os.environ.get("TOPDOWN_KILL_POINTS") == "all"
    tries = n if every else min(n, KILLS[encoder])
    for at in ((2 * i + 1) * n // (2 * tries) + 1 for i in range(tries)):
        with monkeypatch.context() as patch:
            kill_points(patch, die_at)
            assert in_child(lambda: train("killed", **conf)) == -signal.SIGKILL
        result = train("killed", **conf)
        wrong = differing(everything(result), expected)
        note("trainer", encoder, at, n, len(wrong))
        assert wrong == [], f"killed at {points[at - 1]} ({at} of {n})"
        assert not list(result.glob(".*.tmp"))
        shutil.rmtree(result)
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
