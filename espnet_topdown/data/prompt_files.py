"""The archives of the telephone prompts: where they come from, and what is in them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.data.archives import (
    apt_download,
    check_digest,
    http_download,
    members,
)
from espnet_topdown.data.kaldi_dir import check_id
from espnet_topdown.errors import DATA, MISSING, USAGE, TopDownError, nearest
from espnet_topdown.files import read_yaml, write_bytes


def catalogue() -> dict[str, Any]:
    """The contents of ``prompts.yaml``."""
    return read_yaml(Path(__file__).with_name("prompts.yaml"))


def language(lang: str) -> dict[str, Any]:
    """One language of the catalogue, or E_LANG."""
    known = catalogue()["languages"]
    if lang not in known:
        what = f"no prompts in '{lang}' ({nearest(lang, known)})"
        raise TopDownError("E_LANG", what, "choose a --lang that is there", USAGE)
    return known[lang]


def obtain(lang: str, downloads: Path, source: str, url: str) -> Path:
    """The folder with a language's recordings, fetched and unpacked if need be.

    ``source``: ``local`` (archives already in ``downloads``), ``apt``, ``http``, or
    ``auto``, which tries these in turn.
    """
    version = catalogue()["version"]
    folder = downloads / f"asterisk-core-sounds-{lang}-{version}"
    if (folder / ".done").exists():
        return folder
    downloads.mkdir(parents=True, exist_ok=True)
    tries = ("local", "apt", "http") if source == "auto" else (source,)
    failures: list[str] = []
    for how in tries:
        try:
            archives = _archives(how, lang, version, downloads, url)
            break
        except TopDownError as e:
            if e.code != "E_DOWNLOAD":
                raise
            failures.append(str(e).split(". Do:")[0].replace("E_DOWNLOAD: ", ""))
    else:
        raise TopDownError(
            "E_DOWNLOAD",
            "; ".join(failures),
            f"put {_tarball(lang, version)} or {' and '.join(language(lang)['sha256'])}"
            f" into {downloads}",
            MISSING,
        )
    return unpack(archives, folder, lang, language(lang))


def _tarball(lang: str, version: str) -> str:
    return f"asterisk-core-sounds-{lang}-wav-{version}.tar.gz"


def _archives(
    how: str, lang: str, version: str, downloads: Path, url: str
) -> list[Path]:
    debs = [downloads / name for name in language(lang)["sha256"]]
    tarball = downloads / _tarball(lang, version)
    if how == "apt":
        apt_download([deb.name.split("_")[0] for deb in debs], downloads)
    elif how == "http":
        http_download(f"{url.rstrip('/')}/{tarball.name}", tarball)
        return [tarball]
    if all(deb.exists() for deb in debs):
        return debs
    if tarball.exists() and how == "local":
        return [tarball]
    found = sorted(p.name for p in downloads.glob(f"asterisk-core-sounds-{lang}*_*"))
    what = f"{downloads} has no archive of version {version}"
    what += f" (it has {', '.join(found)})" if found else ""
    raise TopDownError("E_DOWNLOAD", what, "fetch it", MISSING)


def unpack(
    archives: Sequence[Path], folder: Path, lang: str, spec: Mapping[str, Any]
) -> Path:
    """Write the recordings and the transcript of verified archives to ``folder``."""
    hashes: dict[str, str] = {}
    for archive in archives:
        if archive.name in spec["sha256"]:
            check_digest(archive, spec["sha256"][archive.name])
        for name, data in members(archive):
            target = _target(name.parts, lang)
            if target is None:
                continue
            if name.suffix == ".gz":
                data = gzip.decompress(data)
            check_id(target.replace("/", "_"), str(archive))
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (folder / target).write_bytes(data)
            hashes[target] = hashlib.sha256(data).hexdigest()
    listing = "".join(f"{hashes[k]}  {k}\n" for k in sorted(hashes))
    digest = hashlib.sha256(listing.encode()).hexdigest()
    if digest != spec["contents"]:
        raise TopDownError(
            "E_DIGEST",
            f"the {len(hashes)} files of {archives[0]} have sha256 {digest[:12]}..."
            f" expected {spec['contents'][:12]}...",
            f"delete {', '.join(str(a) for a in archives)} and fetch them again",
            DATA,
        )
    write_bytes(folder / ".done", listing.encode())
    return folder


def _target(parts: tuple[str, ...], lang: str) -> str | None:
    """Where a member goes: recordings keep the path below the voice's folder."""
    transcript = f"core-sounds-{lang}.txt"
    if parts[-1] in (transcript, transcript + ".gz"):
        return transcript
    if not parts[-1].endswith(".wav"):
        return None
    if "sounds" in parts:
        parts = parts[parts.index("sounds") + 2 :]
    return "/".join(("wav", *parts))
