"""Fetch and open archives without trusting them."""

from __future__ import annotations

import hashlib
import http.client
import io
import logging
import lzma
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from espnet_topdown.errors import DATA, DISK_ERRORS, MISSING, TopDownError, disk_error
from espnet_topdown.files import write_bytes

T = TypeVar("T")
_MAX_BYTES = 1 << 30  # of an archive, and of everything in one


def check_digest(path: Path, expected: str) -> None:
    """Compare a file's digest; E_DIGEST shows the start of both.

    Args:
        path: A file.
        expected: Hexadecimal digits: 64 of SHA-256, or 32 of MD5, which some corpora
            are published with.

    Raises:
        TopDownError: E_DIGEST (65).
    """
    name = "md5" if len(expected) == 32 else "sha256"
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, name).hexdigest()
    if digest != expected:
        size = f"{Path(path).stat().st_size} bytes"
        what = f"{path} ({size}) {name} {digest[:12]}... expected {expected[:12]}..."
        do = "delete the file and run the same command again"
        raise TopDownError("E_DIGEST", what, do, DATA)


def members(
    path: Path, max_bytes: int = _MAX_BYTES
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The regular files of a ``.tar.*`` or a Debian package, links left out.

    Nothing is written here, so that a member's name cannot choose where: an
    absolute name or one with ``..`` is E_ARCHIVE_PATH.

    Args:
        path: The archive.
        max_bytes: What all of it may unpack to.

    Returns:
        Name and bytes of each, one after the other.

    Raises:
        TopDownError: E_ARCHIVE_PATH (65); E_ARCHIVE (65) for one that cannot be read,
            or unpacks to more than ``max_bytes``.
    """
    total = 0
    try:
        with tarfile.open(fileobj=_tar_stream(Path(path)), mode="r:*") as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise _broken("E_ARCHIVE_PATH", path, f"holds '{member.name[:80]}'")
                stream = tar.extractfile(member) if member.isreg() else None
                total += member.size
                if total > max_bytes:
                    what = f"unpacks to more than {max_bytes >> 20} MiB"
                    raise _broken("E_ARCHIVE", path, what)
                if stream is not None:
                    yield name, stream.read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as e:
        raise _broken("E_ARCHIVE", path, f"cannot be read ({e})") from None


def unpack(path: Path, folder: Path, max_bytes: int = _MAX_BYTES) -> None:
    """Write the regular files of an archive below a folder.

    A file that is there with its whole length is kept, and no other appears before it
    is whole, so that the same call goes on after a stop.

    Args:
        path: The archive.
        folder: Made as needed.
        max_bytes: See ``members``.

    Raises:
        TopDownError: Those of ``members`` and ``write_bytes``.
    """
    for name, data in members(path, max_bytes):
        target = Path(folder) / name
        if not (target.is_file() and target.stat().st_size == len(data)):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, data, sync=False)


def _broken(code: str, path: Path, what: str) -> TopDownError:
    do = "delete the file and fetch it again"
    return TopDownError(code, f"{path} {what}", do, DATA)


def _tar_stream(path: Path) -> io.BufferedIOBase:
    if path.suffix != ".deb":
        return path.open("rb")
    for name, data in _ar_members(path):
        if name.startswith("data.tar"):
            if name.endswith(".zst"):
                raise _broken("E_ARCHIVE", path, "is packed with zstd")
            return io.BytesIO(data)
    raise _broken("E_ARCHIVE", path, "is not a Debian package")


def _ar_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """The parts of an ``ar`` archive: 60-byte headers, even offsets."""
    data = path.read_bytes()
    position = 8 if data.startswith(b"!<arch>\n") else len(data)
    while position + 60 <= len(data):
        header = data[position : position + 60]
        size_text = header[48:58].strip()
        size = int(size_text) if size_text.isdigit() else len(data)
        position += 60
        if position + size > len(data):
            raise _broken("E_ARCHIVE", path, "is cut off")
        name = header[:16].decode("ascii", "replace").strip(" /")
        yield name, data[position : position + size]
        position += size + size % 2


def apt_download(packages: Sequence[str], folder: Path) -> None:
    """``apt-get download`` into ``folder``, whole or not at all; needs no root.

    Args:
        packages: Their names.
        folder: Gets them; it is there.

    Raises:
        TopDownError: E_DOWNLOAD (66).
    """
    if shutil.which("apt-get") is None:
        raise _not_fetched("no apt-get on this machine")
    logging.info("apt-get download %s", " ".join(packages))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".apt-") as made:
        run = subprocess.run(
            ["apt-get", "download", *packages], cwd=made, capture_output=True, text=True
        )
        if run.returncode != 0:  # what it leaves may be cut off
            lines = [x for x in run.stderr.splitlines() if x.startswith("E:")]
            raise _not_fetched("apt-get: " + " ".join(lines or ["failed"])[:300])
        for package in Path(made).iterdir():
            package.replace(folder / package.name)


def http_download(url: str, target: Path) -> None:
    """Fetch a file; ``target`` appears only when it is complete.

    What was fetched before a stop stays in ``<target>.part``, and the next call goes on
    after it where the server can.

    Args:
        url: Begins with http:// or https://.
        target: In a folder that is there.

    Raises:
        TopDownError: E_DOWNLOAD (66), or E_DISK (74).
    """
    if not url.startswith(("http://", "https://")):
        raise _not_fetched(f"not an http address: {url}")
    part = target.with_name(target.name + ".part")
    there = part.stat().st_size if part.exists() else 0
    logging.info("fetching %s%s", url, f", from byte {there} on" if there else "")
    asked = {"Range": f"bytes={there}-"} if there else {}
    try:
        request = urllib.request.Request(url, headers=asked)
        with urllib.request.urlopen(request, timeout=60) as reply:
            there = there if reply.status == 206 else 0
            with part.open("ab" if there else "wb") as f:
                shutil.copyfileobj(reply, f)
            expected = reply.headers.get("Content-Length")
        size = part.stat().st_size
        if expected is not None and size != there + int(expected):
            raise _not_fetched(f"{url}: {size} of {there + int(expected)} bytes")
        part.replace(target)
    except (http.client.HTTPException, OSError, ValueError) as e:  # URLError is one
        if isinstance(e, OSError) and e.errno in DISK_ERRORS:
            raise disk_error(part, 0, e) from None
        if there and getattr(e, "code", 0) == 416:  # nothing follows what is there
            part.unlink()
            return http_download(url, target)
        raise _not_fetched(f"{url}: {e}") from None


def _not_fetched(what: str) -> TopDownError:
    do = "check the network, or put the file into the downloads folder yourself"
    return TopDownError("E_DOWNLOAD", what, do, MISSING)


def obtain(source: str, ways: Mapping[str, Callable[[], T]], do: str) -> T:
    """What the first way gives that can fetch it.

    Args:
        source: The name of one way, or ``auto`` for all of them in turn.
        ways: Name -> what returns the thing, or raises E_DOWNLOAD.
        do: The remedy if none can.

    Returns:
        The thing.

    Raises:
        TopDownError: E_DOWNLOAD (66) with every reason; any other error of a way.
    """
    reasons = []
    for how in ways if source == "auto" else (source,):
        try:
            return ways[how]()
        except TopDownError as e:
            if e.code != "E_DOWNLOAD":
                raise
            reasons.append(e.what)
    raise TopDownError("E_DOWNLOAD", "; ".join(reasons), do, MISSING)
