"""The way to the disk: YAML and JSON read strictly, files written whole, locks."""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import errno
import fcntl
import functools
import hashlib
import json
import os
import re
import shlex
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import yaml

from espnet_topdown.errors import (
    CREATE,
    DATA,
    MISSING,
    RETRY,
    TopDownError,
    disk_error,
    warn,
)

MAX_BYTES = 8_000_000  # a BPE token list inlined in config.yaml is far below this


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML as ESPnet reads it (`1e-3` is a text), a key given only once."""

    def construct_mapping(self, node, deep=False):  # type: ignore[no-untyped-def]
        if isinstance(node, yaml.MappingNode):
            lines: dict[Any, int] = {}
            for key_node, _ in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":  # "<<": no key itself
                    continue
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, str):
                    continue
                line = key_node.start_mark.line + 1
                if key in lines:
                    what = f"'{key}' in lines {lines[key]} and {line} of {self.name}"
                    raise TopDownError("E_YAML_DUP", what, "keep one of them")
                lines[key] = line
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Everything written out, without aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # the method of PyYAML's
        return True


def read_text(path: Path) -> str:
    """Read the UTF-8 text of a file.

    Returns:
        The text, without a byte order mark.

    Raises:
        TopDownError: E_MISSING (66), E_TOO_LARGE (65) or E_UTF8 (65).
    """
    if not path.is_file():
        raise TopDownError("E_MISSING", f"no file {path}", "check the path", MISSING)
    size = path.stat().st_size
    if size > MAX_BYTES:
        what = f"{path} has {size} bytes, at most {MAX_BYTES} are read"
        do = "check that this is the right file"
        raise TopDownError("E_TOO_LARGE", what, do, DATA)
    return decode_utf8(path.read_bytes(), path).removeprefix("\ufeff")


_MARKS = {  # byte order marks, the longer ones first
    "UTF-32": (b"\xff\xfe\0\0", b"\0\0\xfe\xff"),
    "UTF-16": (b"\xff\xfe", b"\xfe\xff"),
}


def decode_utf8(data: bytes, path: Path) -> str:
    """The text of a file's bytes, or how to convert the file.

    Text in UTF-16 or UTF-32 is known by its mark, or by a zero byte beside every line
    feed.

    Args:
        data: The bytes.
        path: Where they are from, for the message.

    Returns:
        The text.

    Raises:
        TopDownError: E_UTF8 (65), with line and byte.
    """
    coding = next((c for c, marks in _MARKS.items() if data.startswith(marks)), "")
    zeros = [data[i : 1 << 16 : 4].count(0) for i in range(4)]
    ends = "BE" if zeros[0] > zeros[3] else "LE"
    beside = max(data.count(b"\n\0"), data.count(b"\0\n"))
    many = beside or 4 * sum(zeros) >= len(data[: 1 << 16])
    if not coding and any(zeros) and many and beside == data.count(b"\n"):
        coding = ("UTF-32" if sum(zeros) > 2 * max(zeros) + 1 else "UTF-16") + ends
    if coding:
        where = f"line 1 byte 1 is {coding}, not UTF-8"
    else:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as e:
            line, start = data.count(b"\n", 0, e.start), data.rfind(b"\n", 0, e.start)
            where = f"line {line + 1} byte {e.start - start} is not UTF-8"
            if sum(zeros):
                coding = "UTF-16" + ends
    name, new = (shlex.quote(f"{path}{suffix}") for suffix in ("", ".utf8"))
    run = (
        f"run: iconv -f {coding or 'latin1'} -t UTF-8 {name} >{new} && mv {new} {name}"
    )
    do = run if coding else f"find out what it is; if latin1, {run}"
    raise TopDownError("E_UTF8", f"{path} {where}", do, DATA)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping: no tags that make objects, no key twice, few aliases.

    Returns:
        The mapping, with numbers as ESPnet reads them: ``1e-3`` is a text.

    Raises:
        TopDownError: E_YAML, E_YAML_DUP or E_YAML_UNSAFE (78), or those of read_text.
    """
    return parse_yaml(read_text(path), path)


def parse_yaml(text: str, path: Path) -> dict[str, Any]:
    """Read the YAML mapping that a text holds, see ``read_yaml``.

    Args:
        text: YAML.
        path: Where it is from, for messages.

    Returns:
        The mapping, the caller's own.

    Raises:
        TopDownError: E_YAML, E_YAML_DUP or E_YAML_UNSAFE (78).
    """
    return copy.deepcopy(_parsed(str(path), text))


@functools.lru_cache(maxsize=32)  # by its text: parsing takes most of a search's time
def _parsed(path: str, text: str) -> dict[str, Any]:
    if len(re.findall(r"(?m)(?:^|[\s\[,:])\*[A-Za-z0-9_]", text)) > 100:
        what = f"more than 100 aliases in {path}"
        raise TopDownError("E_YAML_UNSAFE", what, "write them out")
    try:
        loader = _StrictLoader(text)
        loader.name = path
        data = loader.get_single_data()
    except yaml.constructor.ConstructorError as e:
        raise _yaml_error("E_YAML_UNSAFE", path, e) from None
    except (yaml.YAMLError, ValueError) as e:
        raise _yaml_error("E_YAML", path, e) from None
    except RecursionError:
        what = f"{path}: lists or mappings too deep"
        raise TopDownError("E_YAML", what, "write it flat") from None
    if not isinstance(data, dict):
        held = "is empty" if data is None else f"holds a {type(data).__name__}"
        what = f"{path} {held}, need a mapping"
        raise TopDownError("E_YAML", what, "write 'key: value' lines")
    return data


def _yaml_error(code: str, path: str, error: Exception) -> TopDownError:
    mark = getattr(error, "problem_mark", None)
    line = f" line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or str(error)
    return TopDownError(code, f"{path}{line}: {problem}", "correct that line")


def read_json(path: Path) -> Any:
    """Read JSON.

    Returns:
        What it holds.

    Raises:
        TopDownError: E_JSON (65) with the line, or those of read_text.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as e:
        what = f"{path} line {e.lineno}: {e.msg}"
        do = "move the file aside and run the same command again"
        raise TopDownError("E_JSON", what, do, DATA) from None


def yaml_bytes(data: Mapping[str, Any]) -> bytes:
    """Write YAML of a mapping, in its own order, without aliases.

    Returns:
        UTF-8.
    """
    text = yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text.encode()


def write_yaml(path: Path, data: Mapping[str, Any]) -> None:
    """Write a mapping in its own order, atomically."""
    write_bytes(path, yaml_bytes(data))


def json_bytes(data: Any) -> bytes:
    """Write JSON with one key a line.

    Returns:
        UTF-8.
    """
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def write_json(path: Path, data: Any) -> None:
    """Write JSON with one key a line, atomically."""
    write_bytes(path, json_bytes(data))


def write_bytes(path: Path, data: bytes | Iterable[bytes], sync: bool = True) -> None:
    """Write to a temporary name, fsync, rename: a reader sees all of it or none.

    Args:
        path: Its folder is there.
        data: What the file will hold, or its parts one after another.
        sync: False for one of many files that can be made again.

    Raises:
        TopDownError: E_DISK (74) when the disk is full, E_CREATE (73) when the
            folder cannot be written to; what was there before stays.
    """
    size_bytes = len(data) if isinstance(data, bytes) else 0
    with replacing(path, size_bytes, sync) as f:
        f.writelines([data] if isinstance(data, bytes) else data)


@contextlib.contextmanager
def replacing(path: Path, size_bytes: int = 0, sync: bool = True) -> Iterator[BinaryIO]:
    """A file to write, which takes its place when it is whole; see ``write_bytes``.

    Args:
        path: Its folder is there.
        size_bytes: Of the whole file, for the error; 0 where that is not known.
        sync: False for one of many files that can be made again.

    Yields:
        The file.

    Raises:
        TopDownError: E_DISK (74), E_CREATE (73).
    """
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with tmp.open("wb") as f:
            yield f
            f.flush()
            if sync:
                os.fsync(f.fileno())
        os.replace(tmp, path)
        if sync:
            sync_folder(path.parent)
    except BaseException as e:  # parts may fail to be made
        with contextlib.suppress(OSError):
            size_bytes = size_bytes or tmp.stat().st_size
            tmp.unlink()
        if isinstance(e, OSError):
            raise disk_error(path, size_bytes, e) from e
        raise


def check_output(folder: Path, names: Iterable[str], ours: bytes = b"") -> None:
    """Refuse an output folder in which somebody else also writes.

    Args:
        folder: ``--output_dir``; it need not be there.
        names: Files that show that it is somebody else's.
        ours: What stands in them (a regular expression) if they are ours after all.

    Raises:
        TopDownError: E_CREATE (73).
    """
    for name in names:
        path = Path(folder) / name
        if not path.exists():
            continue
        if ours and path.is_file() and re.search(ours, path.read_bytes()):
            continue
        do = "name another output, or move that file away"
        raise TopDownError("E_CREATE", f"{path} is there and not ours", do, CREATE)


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written to, before all the work.

    Args:
        folder: ``--output_dir``; it need not be there.

    Raises:
        TopDownError: E_CREATE (73).
    """
    place = Path(folder)
    there = next(path for path in (place, *place.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        what = f"{there} is no folder that can be written to"
        raise TopDownError("E_CREATE", what, "name another output folder", CREATE)


def check_apart(source: Path, folder: Path) -> None:
    """Refuse to write data over those that they are made from.

    Args:
        source: What is read.
        folder: What would be written.

    Raises:
        TopDownError: E_CREATE (73).
    """
    if Path(source).resolve() == Path(folder).resolve():
        what = f"{folder} is {source}, which is only read"
        raise TopDownError("E_CREATE", what, "give another output", CREATE)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256(path: Path) -> str:
    """Digest of a file's bytes.

    Returns:
        64 hexadecimal digits.
    """
    with Path(path).open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def link(target: str, path: Path) -> None:
    """Point a relative symlink at ``target``, atomically."""
    tmp = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.tmp")
    if tmp.is_symlink():
        tmp.unlink()
    tmp.symlink_to(target)
    os.replace(tmp, path)


def str2bool(text: str) -> bool:
    """Read one of the two words that ESPnet's options take.

    Returns:
        Which of them it is.

    Raises:
        ArgumentTypeError: For another word; argparse shows it.
    """
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, got '{text}'")
    return text.lower() == "true"


_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclasses.dataclass(eq=False)
class Lock:
    """One holder of a file at a time; the system drops the lock when it dies.

    Args:
        path: the file; its folder is made if need be.
        lifetime: ``"family"``: held while the holder lives or any process that has its
            descriptor, such as a fork. ``"process"``: held by this process alone; a
            loader's worker that outlives it does not keep it. (Such a lock also ends
            when this process closes another descriptor of the file.)
        wait_seconds: for how long another holder is waited for.
        doing: what the holder does, for those who find the file held.

    >>> with Lock(Path("/tmp/doctest.lock")):
    ...     pass
    """

    path: Path
    lifetime: str = "family"
    wait_seconds: float = 0.0
    doing: str = ""
    _fd: int = dataclasses.field(default=-1, init=False)

    def __enter__(self) -> Lock:
        """Take the lock.

        Returns:
            This lock.

        Raises:
            TopDownError: E_LOCKED (75) naming the holder; E_CREATE (73); E_DISK (74).
        """
        deadline = time.monotonic() + self.wait_seconds
        looks = 3  # somebody who only asks who holds it is in the way for a moment
        while not self.acquire():
            looks -= 1
            owner = lock_holder(self.path)
            if time.monotonic() >= deadline and (owner or looks < 1):
                what = f"{self.path.parent} is held by {holder_name(owner)}"
                do = "wait until it has finished, or stop it"
                do += ", then run the same command again"
                raise TopDownError("E_LOCKED", what, do, RETRY)
            time.sleep(0.1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def acquire(self) -> bool:
        """Take the lock and sign it.

        Returns:
            False if another holds it now.

        Raises:
            TopDownError: E_CREATE (73); E_DISK (74).
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as e:
            raise disk_error(self.path, 1, e) from e
        if not lock_file(self._fd, self.path, self.lifetime):
            os.close(self._fd)
            return False
        me = {"host": socket.gethostname(), "pid": os.getpid(), "since": utc_now()}
        signed = {**me, "doing": self.doing} if self.doing else me
        with contextlib.suppress(OSError):  # the lock holds without a name, too
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, json.dumps(signed).encode() + b"\n", 0)
        return True

    def release(self) -> None:
        """Let go of the lock."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
        os.close(self._fd)
        self._fd = -1


def lock_file(fd: int, path: str | os.PathLike[str], lifetime: str = "family") -> bool:
    """Lock an open file; where the file system has no locks this only warns.

    Args:
        fd: Of the file, open for writing.
        path: Of the file, for the warning.
        lifetime: See ``Lock``.

    Returns:
        False if another holds it now.
    """
    lock = {"family": fcntl.flock, "process": fcntl.lockf}[lifetime]
    try:
        lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        if e.errno not in _NO_LOCKS_HERE:
            return False
        what = f"the file system of {path} has no locks"
        warn("W_LOCK_NOT_ENFORCED", f"{what}; start the same work only once")
    return True


def lock_holder(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read who holds a lock.

    A lock whose holder was killed still has its name in it, but is free.

    Returns:
        ``host``, ``pid``, ``since``, ``doing``; empty if nobody does.
    """
    for _ in range(5):  # the holder takes the lock first and signs it then
        if not is_held(path):
            break
        with contextlib.suppress(OSError, ValueError, TypeError):
            return dict(json.loads(Path(path).read_bytes()))
        time.sleep(0.05)
    return {}


def holder_name(owner: Mapping[str, Any]) -> str:
    """The holder of a lock as a phrase.

    Args:
        owner: From ``lock_holder``.

    Returns:
        For example as here.

    >>> holder_name({"pid": 7, "host": "vm", "since": "10:00", "doing": "exp/m1.4"})
    'pid 7 on vm since 10:00 (exp/m1.4)'
    >>> holder_name({})
    'another process'
    """
    if not owner:
        return "another process"
    doing = f" ({owner['doing']})" if owner.get("doing") else ""
    name = f"pid {owner.get('pid')} on {owner.get('host')} since {owner.get('since')}"
    return name + doing


def is_held(path: str | os.PathLike[str]) -> bool:
    """Ask whether a process holds the lock of a file, be it signed or not.

    Returns:
        False also without the file.
    """
    with contextlib.suppress(OSError), open(path, "rb") as f:  # else nobody can
        for lock in (fcntl.flock, fcntl.lockf):  # the two lifetimes
            try:
                lock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                return True
    return False


def supports_locks(folder: Path) -> bool:
    """Try whether a folder's file system has locks.

    Returns:
        True if a second holder is refused.
    """
    with contextlib.suppress(OSError):
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".lock") as first:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return is_held(first.name)
    return False


def utc_now() -> str:
    """The time as our files have it.

    Returns:
        Such as ``2026-01-31T08:30:00Z``.
    """
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
