"""Fetch and open archives without trusting them."""

from __future__ import annotations

import io
import logging
import lzma
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from espnet_topdown.errors import DATA, MISSING, TopDownError
from espnet_topdown.files import sha256

T = TypeVar("T")
_MAX_BYTES = 1 << 30  # of an archive, and of everything in one


def check_digest(path: Path, expected: str) -> None:
    """Compare a file's SHA-256; E_DIGEST shows the start of both.

    Args:
        path: A file.
        expected: 64 hexadecimal digits.

    Raises:
        TopDownError: E_DIGEST (65).
    """
    digest = sha256(path)
    if digest != expected:
        raise TopDownError(
            "E_DIGEST",
            f"{path} sha256 {digest[:12]}... expected {expected[:12]}...",
            "delete the file and run the same command again",
            DATA,
        )


def members(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The regular files of a ``.tar.*`` or a Debian package, links left out.

    Nothing is written here, so that a member's name cannot choose where: an
    absolute name or one with ``..`` is E_ARCHIVE_PATH.

    Args:
        path: The archive.

    Returns:
        Name and bytes of each, one after the other.

    Raises:
        TopDownError: E_ARCHIVE_PATH (65); E_ARCHIVE (65) for one that cannot be read,
            or unpacks to more than 1 GiB.
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
                if total > _MAX_BYTES:
                    raise _broken("E_ARCHIVE", path, "unpacks to more than 1 GiB")
                if stream is not None:
                    yield name, stream.read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as e:
        raise _broken("E_ARCHIVE", path, f"cannot be read ({e})") from None


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
        yield (
            header[:16].decode("ascii", "replace").strip(" /"),
            data[position : position + size],
        )
        position += size + size % 2


def apt_download(packages: Sequence[str], folder: Path) -> None:
    """``apt-get download`` into ``folder``; needs no root. Raises E_DOWNLOAD.

    Args:
        packages: Their names.
        folder: Gets them; it is there.

    Raises:
        TopDownError: E_DOWNLOAD (66).
    """
    if shutil.which("apt-get") is None:
        raise _not_fetched("no apt-get on this machine")
    logging.info("apt-get download %s", " ".join(packages))
    run = subprocess.run(
        ["apt-get", "download", *packages],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )
    if run.returncode != 0:
        lines = [x for x in run.stderr.splitlines() if x.startswith("E:")]
        raise _not_fetched("apt-get: " + " ".join(lines or ["failed"])[:300])


def http_download(url: str, target: Path) -> None:
    """Fetch a file; ``target`` appears only when it is complete.

    Args:
        url: Begins with http:// or https://.
        target: In a folder that is there.

    Raises:
        TopDownError: E_DOWNLOAD (66).
    """
    if not url.startswith(("http://", "https://")):
        raise _not_fetched(f"not an http address: {url}")
    logging.info("fetching %s", url)
    part = target.with_name(target.name + ".part")
    try:
        with urllib.request.urlopen(url, timeout=60) as reply, part.open("wb") as f:
            shutil.copyfileobj(reply, f)
            expected = reply.headers.get("Content-Length")
        if expected is not None and part.stat().st_size != int(expected):
            raise _not_fetched(f"{url}: {part.stat().st_size} of {expected} bytes")
        part.replace(target)
    except (urllib.error.URLError, OSError, ValueError) as e:
        raise _not_fetched(f"{url}: {e}") from None
    finally:
        part.unlink(missing_ok=True)


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
