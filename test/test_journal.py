"""The journal survives a crash at any byte."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from espnet_topdown import records as journal_module
from espnet_topdown.errors import TopDownError
from espnet_topdown.records import Journal

EVENTS = [
    ("search_open", {"node": "m5"}),
    ("scored", {"node": "m1.4", "errors": 131, "note": 'a "quote"\nñ \u2028'}),
    ("accepted", {"node": "m1.1.3", "chains": ["x"], "of": {"a": None}}),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "with space & 'quote'" / "journal.jsonl"


@pytest.fixture
def written(path: Path) -> Path:
    path.parent.mkdir()
    journal = Journal(path)
    for event, fields in EVENTS:
        journal.append(event, **fields)
    return path


def names(path: Path) -> list[str]:
    return [e["event"] for e in Journal(path).events()]


def test_events_come_back_in_order_with_their_fields(written: Path) -> None:
    events = Journal(written).events()
    assert [e["seq"] for e in events] == [0, 1, 2]
    for got, (event, fields) in zip(events, EVENTS):
        assert got["event"] == event
        assert {k: got[k] for k in fields} == fields
    assert len(written.read_bytes().splitlines()) == 3
    assert json.loads(written.read_text().splitlines()[1])["errors"] == 131


def test_no_journal_is_no_events(path: Path) -> None:
    assert Journal(path).events() == []


def test_a_new_object_continues_the_chain(written: Path) -> None:
    assert Journal(written).append("search_done")["seq"] == 3
    assert names(written)[-1] == "search_done"


def test_append_returns_what_is_read_back(written: Path) -> None:
    record = Journal(written).append("planned", node="m2.3")
    assert Journal(written).events()[-1] == record


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
        with pytest.raises(TopDownError) as caught:
            Journal(written).events()
        assert caught.value.code == "E_JOURNAL_CORRUPT"
        assert caught.value.status == 65
        with pytest.raises(TopDownError):
            Journal(written).append("never")


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


def test_a_torn_line_that_cannot_be_set_aside_stays(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torn = written.read_bytes() + b'{"seq": 9'
    written.write_bytes(torn)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for where, call in ((os, "truncate"), (Path, "write_bytes")):
        with monkeypatch.context() as patch:
            patch.setattr(where, call, full)
            with pytest.raises(TopDownError, match="E_DISK.*need 9 B"):
                Journal(written).append("scored", node="m5")
        assert written.read_bytes() == torn
    Journal(written).append("scored", node="m5")
    assert len(names(written)) == 4


@pytest.mark.parametrize("part", [0, 1, 20])
def test_disk_full_leaves_the_journal_as_it_was(
    written: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    before = written.read_bytes()
    journal = Journal(written)
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if part == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[:part])

    monkeypatch.setattr(journal_module.os, "write", full)
    with pytest.raises(TopDownError, match="E_DISK.*need .* B") as caught:
        journal.append("scored", node="m5")
    monkeypatch.undo()
    assert caught.value.status == 74
    assert written.read_bytes() == before
    journal.append("scored", node="m5")
    assert len(names(written)) == 4


def test_a_failing_fsync_is_not_an_event(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written.read_bytes()

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(journal_module.os, "fsync", broken)
    with pytest.raises(TopDownError, match="E_DISK"):
        Journal(written).append("scored")
    assert written.read_bytes() == before


def test_real_file_size_limit(written: Path) -> None:
    before = written.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(TopDownError, match="E_DISK"):
            Journal(written).append("scored")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert written.read_bytes() == before


def test_folder_that_cannot_hold_a_journal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((TopDownError, NotADirectoryError)):
        Journal(tmp_path / "file" / "journal.jsonl").append("x")
    with pytest.raises(TopDownError, match="E_CREATE") as caught:
        Journal(tmp_path / "none" / "journal.jsonl").append("x")
    assert caught.value.status == 73


@pytest.mark.parametrize("fields", [{"seq": 1}, {"time": ""}, {"chain": ""}])
def test_own_fields_cannot_be_given(written: Path, fields: dict) -> None:
    with pytest.raises(ValueError):
        Journal(written).append("x", **fields)


def test_nan_is_refused_before_anything_is_written(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(ValueError):
        Journal(written).append("scored", loss=float("nan"))
    assert written.read_bytes() == before


KILLED = """
import os, signal, sys
from espnet_topdown.records import Journal
j = Journal(sys.argv[1])
for n in range(10**6):
    j.append("n", n=n)
    print(n, flush=True)
"""


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE
        )
        with child, child.stdout:
            said = child.stdout.readline()
            time.sleep(0.1)
            child.kill()
            said += child.stdout.read()
        numbers = said.decode().split("\n")[:-1]
        events = Journal(path).events()
        assert [e["seq"] for e in events] == list(range(len(events)))
        assert int(numbers[-1]) in [e["n"] for e in events[-len(numbers) - 1 :]]
