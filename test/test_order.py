"""Durable means: write, fsync, rename, fsync of the folder, in this order.

A killed process loses nothing that it has written, so that only the order of the calls
shows whether a power failure would.
"""

from __future__ import annotations

import os
import stat

import pytest
import torch

from espnet_topdown.files import write_json
from espnet_topdown.models.weights import save_weights
from espnet_topdown.records import Journal


@pytest.fixture
def calls(monkeypatch, tmp_path):  # pytest writes when it makes the first folder
    """The names of the calls, as they come."""
    seen: list[str] = []
    fsync, replace, write = os.fsync, os.replace, os.write

    def synced(fd):
        is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        seen.append("fsync folder" if is_folder else f"fsync {os.fstat(fd).st_size}")
        fsync(fd)

    def replaced(a, b, **options):
        seen.append(f"rename {os.stat(a).st_size}")
        replace(a, b, **options)

    def written(fd, data):
        seen.append("write")
        return write(fd, data)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "write", written)
    return seen


def check(calls: list[str], path) -> None:
    n = path.stat().st_size
    assert calls == [f"fsync {n}", f"rename {n}", "fsync folder"]


def test_a_file(calls, tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    check(calls, tmp_path / "a.json")


def test_weights(calls, tmp_path):
    save_weights({"w": torch.zeros(3)}, tmp_path / "a.pth")
    check(calls, tmp_path / "a.pth")


def test_a_checkpoint(calls, tmp_path):
    from espnet_topdown.trainer.checkpoints import save

    save({"w": torch.zeros(3)}, tmp_path / "1epoch.pth")
    check(calls, tmp_path / "1epoch.pth")


def test_an_exit_status_of_a_node(calls, tmp_path):
    from espnet_topdown.cmd.node import write_status

    write_status(tmp_path / "rc.1", 0)
    check(calls, tmp_path / "rc.1")


def test_what_a_node_reads(calls, tmp_path):
    from espnet_topdown.cmd.local import parse
    from espnet_topdown.cmd.submission import Submission

    made = Submission(parse([str(tmp_path / "a.log"), "true"]))
    made.folder.mkdir(parents=True)
    made.prepare("SLURM_ARRAY_TASK_ID")
    for name in ("request.json", "job.sh"):
        size = (made.folder / name).stat().st_size
        assert calls[:3] == [f"fsync {size}", f"rename {size}", "fsync folder"]
        del calls[:3]
    assert calls == []


def test_a_journal(calls, tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append("search_open")
    assert calls == ["write", f"fsync {path.stat().st_size}", "fsync folder"]
    calls.clear()
    journal.append("started", node="m3")
    assert calls == ["write", f"fsync {path.stat().st_size}"]
