"""The journal of a search, append-only; the seal of a job.

A line is one JSON object. Its last field, ``chain``, is a digest of the line and of the
``chain`` before it, so that a lost, moved or edited line is noticed. The chain has no
key: it finds accidents and careless edits, not an attacker.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from espnet_topdown.errors import DATA, RETRY, TopDownError, disk_error, warn
from espnet_topdown.files import read_json, sha256, sync_folder, utc_now, write_json

DONE = ".done"
SEALED = (  # what decides in a job, beside its models
    "retrain.yaml",
    "stack.yaml",
    "train.yaml",
    "config.yaml",
    "frozen.pth",
    "score.json",
)
CHECKPOINT = "checkpoint.pth"  # says how many epochs there were

_CHAIN = re.compile(rb', "chain": "([0-9a-f]{16})"\}$')
_RESERVED = ("seq", "time", "chain")


class Journal:
    """What happened, one event a line; written by the holder of the lock only.

    Reading never changes the file. The first ``append`` cuts off a last line that a
    crash left half-written (a copy goes to ``quarantine/`` beside the journal).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._tip: tuple[int, str, int] | None = None  # lines, last chain, bytes

    def events(self) -> list[dict]:
        """Read all whole events.

        Returns:
            Oldest first; none where there is no journal yet.

        Raises:
            TopDownError: E_JOURNAL_CORRUPT (65) with the line.
        """
        return _parse(_read(self.path), self.path)[0]

    def append(self, event: str, **fields: object) -> dict:
        """Write one event durably: it is on disk when this returns.

        Args:
            event: Its kind.
            **fields: What JSON can hold; not ``seq``, ``time``, ``chain``.

        Returns:
            The event as ``events`` reads it.

        Raises:
            ValueError: For a field that is the journal's own, or NaN.
            TopDownError: E_DISK (74) when the line could not be written; the journal
                is then as it was before. E_JOURNAL_RACE (75), E_JOURNAL_CORRUPT (65).
        """
        if any(name in fields for name in _RESERVED):
            raise ValueError(f"{_RESERVED} are the journal's own fields")
        seq, chain, size = self._tip or self._open()
        record = {"seq": seq, "time": utc_now(), "event": event, **fields}
        body = json.dumps(record, allow_nan=False)
        chain = _link(chain, body.encode())
        line = f'{body[:-1]}, "chain": "{chain}"}}\n'.encode()
        self._write(line, size)
        self._tip = (seq + 1, chain, size + len(line))
        return {**record, "chain": chain}

    def _open(self) -> tuple[int, str, int]:
        data = _read(self.path)
        events, size = _parse(data, self.path)
        if size < len(data):
            copy = _quarantine(self.path, data[size:], size)
            what = f"the last line was half-written ({len(data) - size} bytes)"
            warn("W_JOURNAL_TORN", f"{self.path}: {what}; cut off, copy in {copy}")
        return len(events), events[-1]["chain"] if events else "", size

    def _write(self, line: bytes, size: int) -> None:
        try:
            new = not self.path.exists()
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as e:
            raise disk_error(self.path, 1, e) from e
        try:
            if os.fstat(fd).st_size != size:
                what = f"{self.path} was changed by another process meanwhile"
                do = "see who runs a search here, then run the same command again"
                raise TopDownError("E_JOURNAL_RACE", what, do, RETRY)
            _append_or_restore(fd, line, size, self.path)
        finally:
            os.close(fd)
        if new:
            sync_folder(self.path.parent)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _link(previous: str, body: bytes) -> str:
    return hashlib.sha256(previous.encode() + body).hexdigest()[:16]


def _parse(data: bytes, path: Path) -> tuple[list[dict], int]:
    events, size, problem = _scan(data)
    if problem:
        what = f"{path} line {len(events) + 1} {problem}"
        do = "restore the file from a backup, or run "
        do += "'espnet-topdown fsck --repair true'"
        raise TopDownError("E_JOURNAL_CORRUPT", what, do, DATA)
    return events, size


def _scan(data: bytes) -> tuple[list[dict], int, str]:
    # The events up to the first bad line, their bytes, what is wrong with that line. A
    # last line without an end is left out; it was being written when a crash came.
    events: list[dict] = []
    chain, size = "", 0
    for line in data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]:
        match = _CHAIN.search(line)
        if match is None:
            return events, size, "is not an event"
        body = line[: match.start()] + b"}"
        if _link(chain, body) != match[1].decode():
            return events, size, "was changed, or a line before it is missing"
        chain, size = match[1].decode(), size + len(line) + 1
        events.append({**json.loads(body), "chain": chain})
    return events, size, ""


def recover(path: Path) -> list[str]:
    """Keep the whole lines of a torn or damaged journal; the rest is set aside.

    The caller holds the lock.

    Returns:
        What was done, a line each.

    Raises:
        TopDownError: E_DISK (74).
    """
    data = _read(path)
    events, size, problem = _scan(data)
    if size == len(data):
        return []
    copy = _quarantine(path, data[size:], size)
    if problem:
        Journal(path).append("journal_cut", at=len(events), because=problem)
    return [f"{len(data) - size} bytes after line {len(events)} -> {copy}"]


def _quarantine(path: Path, torn: bytes, size: int) -> Path:
    folder = path.parent / "quarantine"
    copy = folder / f"{path.name}.{size}.{time.time_ns()}"
    try:
        folder.mkdir(exist_ok=True)
        copy.write_bytes(torn)
        os.truncate(path, size)
    except OSError as e:
        raise disk_error(path, len(torn), e) from e
    return copy


def _append_or_restore(fd: int, line: bytes, size: int, path: Path) -> None:
    try:
        written = os.write(fd, line)
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(fd)
    except OSError as e:
        with contextlib.suppress(OSError):  # then the line is torn, as after a crash
            os.ftruncate(fd, size)
        raise disk_error(path, len(line), e) from e


def write_seal(folder: Path) -> None:
    """Mark a job as done; nothing that decides may change from now on."""
    links = {p.name: os.readlink(p) for p in folder.glob("*.pth") if p.is_symlink()}
    names = {n for n in (*SEALED, CHECKPOINT) if (folder / n).is_file()}
    names |= {p.name for p in folder.glob("*epoch.pth") if not p.is_symlink()}
    digests = {name: sha256(folder / name) for name in sorted(names)}
    links = dict(sorted(links.items()))
    write_json(folder / DONE, {"schema": 1, "sha256": digests, "links": links})


def read_seal(folder: Path) -> dict[str, Any]:
    """Read ``.done``.

    Returns:
        ``sha256`` and ``links`` by file; empty if it is absent, or of a version
        without digests.

    Raises:
        TopDownError: E_DIGEST (65) when it is damaged.
    """
    path = Path(folder) / DONE
    if not path.is_file() or path.read_bytes() in (b"", b"trained, verified, scored\n"):
        return {}
    try:
        seal = read_json(path)
        if set(seal) != {"schema", "sha256", "links"}:
            raise ValueError("other keys")
    except (TopDownError, ValueError, TypeError) as e:
        raise _seal_broken(path, "is damaged") from e
    return seal


def check_seal(folder: Path) -> list[str]:
    """Compare files with their digests.

    Args:
        folder: The job.

    Returns:
        The files that are gone: the checkpoint and models but the best may have been
        removed to make room.

    Raises:
        TopDownError: E_DIGEST (65).
    """
    seal = read_seal(folder)
    gone = []
    for name, digest in seal.get("sha256", {}).items():
        path = folder / name
        if not path.is_file():
            gone.append(name)
        elif sha256(path) != digest:
            raise _seal_broken(path, f"has changed since {folder.name} was finished")
    needed = {*SEALED, *seal.get("links", {}).values()} & set(gone)
    if needed:
        raise _seal_broken(folder / min(needed), "is gone")
    return gone


def _seal_broken(path: Path, what: str) -> TopDownError:
    do = f"bring it back, or move {path.parent} away and run the same command again"
    return TopDownError("E_DIGEST", f"{path} {what}", do, DATA)
