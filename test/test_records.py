"""The journal survives a crash at any byte; what was sealed may not change."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.records import DONE, Journal, check_seal, read_seal, write_seal

EVENTS = [
    ("search_open", {"node": "m5"}),
    ("scored", {"node": "m1.4", "errors": 131, "note": 'a "quote"\nñ \u2028'}),
    ("accepted", {"node": "m1.1.3", "chains": ["x"], "of": {"a": None}}),
]
BEST = "valid.loss.best.pth"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A journal of three events."""
    path = tmp_path / "with space & 'quote'" / "journal.jsonl"
    path.parent.mkdir()
    journal = Journal(path)
    assert journal.events() == []
    for event, fields in EVENTS:
        assert journal.append(event, **fields) == journal.events()[-1]
    return path


def names(path: Path) -> list[str]:
    return [e["event"] for e in Journal(path).events()]


def test_events_come_back_in_order_with_their_fields(written: Path) -> None:
    assert Journal(written).append("search_done")["seq"] == 3  # continues the chain
    events = Journal(written).events()
    assert [e["seq"] for e in events] == [0, 1, 2, 3]
    for got, (event, fields) in zip(events, EVENTS):
        assert got["event"] == event
        assert {k: got[k] for k in fields} == fields
    lines = written.read_bytes().splitlines()
    assert len(lines) == 4 and json.loads(lines[1])["errors"] == 131


def test_every_torn_length_of_the_last_line(
    written: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = written.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    for size in range(start, len(whole)):
        written.write_bytes(whole[:size])
        caplog.clear()
        assert names(written) == ["search_open", "scored"]
        assert written.stat().st_size == size, "reading must not change the file"
        Journal(written).append("again")
        assert names(written) == ["search_open", "scored", "again"]
        assert ("W_JOURNAL_TORN" in caplog.text) == (size > start)
        copies = list((written.parent / "quarantine").glob("*"))
        assert [c.read_bytes() for c in copies] == [whole[start:size]] * (size > start)
        for copy in copies:
            copy.unlink()


def test_every_flipped_bit_is_found_or_cut_off_as_torn(written: Path) -> None:
    whole = written.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 7)
        written.write_bytes(damaged)
        if place == len(whole) - 1:  # the last line has lost its end
            assert names(written) == ["search_open", "scored"]
            continue
        for use in (Journal(written).events, lambda: Journal(written).append("x")):
            with pytest.raises(TopDownError, match="E_JOURNAL_CORRUPT") as caught:
                use()
            assert caught.value.status == 65


@pytest.mark.parametrize(
    "change, line",
    [
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], lines[2]], 2),
        (lambda lines: [lines[0], lines[2], lines[1]], 2),
        (lambda lines: [*lines, lines[2]], 4),
        (lambda lines: [lines[0], b"\n", *lines[1:]], 2),
        (lambda lines: [b"{}\n"], 1),
        (lambda lines: [lines[0], b"\0" * 40 + b"\n"], 2),
    ],
    ids=["first lost", "lost", "swapped", "twice", "blank", "no chain", "zeros"],
)
def test_edits_name_the_line(written: Path, change, line: int) -> None:
    written.write_bytes(b"".join(change(written.read_bytes().splitlines(True))))
    with pytest.raises(TopDownError, match=rf"journal.jsonl line {line} "):
        Journal(written).events()


def test_another_writer_is_noticed(written: Path) -> None:
    first, second = Journal(written), Journal(written)
    first.append("a")
    second.append("b")
    with pytest.raises(TopDownError, match="E_JOURNAL_RACE") as caught:
        first.append("c")
    assert caught.value.status == 75
    assert names(written)[3:] == ["a", "b"]


def full(*args: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def part(fd: int, data: bytes, write: Callable = os.write) -> int:
    return write(fd, data[:20])


@pytest.mark.parametrize(
    "where, call, does",
    [
        (os, "write", full),
        (os, "write", part),
        (os, "fsync", full),
        (os, "truncate", full),
        (Path, "write_bytes", full),
    ],
)
def test_a_disk_that_fails_leaves_the_journal_as_it_was(
    written: Path, monkeypatch: pytest.MonkeyPatch, where, call, does
) -> None:
    """The last two: a torn line that cannot be set aside stays."""
    if call in ("truncate", "write_bytes"):
        written.write_bytes(written.read_bytes() + b'{"seq": 9')
    before, journal = written.read_bytes(), Journal(written)
    with monkeypatch.context() as patch:
        patch.setattr(where, call, does)
        with pytest.raises(TopDownError, match="E_DISK.*need .* B") as caught:
            journal.append("scored", node="m5")
    assert caught.value.status == 74
    assert written.read_bytes() == before
    journal.append("scored", node="m5")
    assert len(names(written)) == 4


@pytest.mark.parametrize(
    "fields", [{"seq": 1}, {"time": ""}, {"chain": ""}, {"loss": float("nan")}]
)
def test_fields_that_cannot_be_written(written: Path, fields: dict) -> None:
    before = written.read_bytes()
    with pytest.raises(ValueError):
        Journal(written).append("x", **fields)
    assert written.read_bytes() == before


KILLED = """
import sys
from espnet_topdown.records import Journal
j = Journal(sys.argv[1])
for n in range(10**6):
    j.append("n", n=n)
    print(n, flush=True)
"""


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE
        )
        with child, child.stdout:
            printed = child.stdout.readline()
            time.sleep(0.1)
            child.kill()
            printed += child.stdout.read()
        numbers = printed.decode().split("\n")[:-1]
        events = Journal(path).events()
        assert [e["seq"] for e in events] == list(range(len(events)))
        assert int(numbers[-1]) in [e["n"] for e in events[-len(numbers) - 1 :]]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A sealed one, with two models."""
    folder = tmp_path / "m1.2"
    folder.mkdir()
    files = ("retrain.yaml", "score.json", "frozen.pth", "3epoch.pth", "4epoch.pth")
    for name in files:
        (folder / name).write_text(json.dumps({"name": name}))
    (folder / BEST).symlink_to("4epoch.pth")
    write_seal(folder)
    assert check_seal(folder) == []
    assert read_seal(folder)["links"] == {BEST: "4epoch.pth"}
    return folder


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}'])
def test_a_seal_that_says_nothing(job: Path, text: str) -> None:
    (job / DONE).write_text(text)
    with pytest.raises(TopDownError, match="E_DIGEST.*is damaged"):
        read_seal(job)


@pytest.mark.parametrize("text", ["", "trained, verified, scored\n"])
def test_finished_by_a_version_without_digests(job: Path, text: str) -> None:
    (job / DONE).write_text(text)
    assert read_seal(job) == {} and check_seal(job) == []


def test_a_model_that_is_not_the_best_may_go(job: Path) -> None:
    (job / "3epoch.pth").unlink()
    assert check_seal(job) == ["3epoch.pth"]
    (job / "4epoch.pth").unlink()
    with pytest.raises(TopDownError, match="E_DIGEST.*4epoch.pth is gone"):
        check_seal(job)
