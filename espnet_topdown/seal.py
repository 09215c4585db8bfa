"""``.done``: the digests of what a finished job left, so that a change is noticed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown.errors import DATA, TopDownError
from espnet_topdown.weights import sha256
from espnet_topdown.yaml_io import read_json, write_json

DONE = ".done"
FILES = ("retrain.yaml", "train.yaml", "config.yaml", "frozen.pth", "score.json")
CHECKPOINT = "checkpoint.pth"  # says how many epochs there were


def write_seal(folder: Path) -> None:
    """Mark a job as done; nothing that decides may change from now on."""
    folder = Path(folder)
    links = {p.name: os.readlink(p) for p in folder.glob("*.pth") if p.is_symlink()}
    names = {n for n in (*FILES, CHECKPOINT) if (folder / n).is_file()}
    names |= {p.name for p in folder.glob("*epoch.pth") if not p.is_symlink()}
    digests = {name: sha256(folder / name) for name in sorted(names)}
    links = dict(sorted(links.items()))
    write_json(folder / DONE, {"schema": 1, "sha256": digests, "links": links})


def read_seal(folder: Path) -> dict[str, Any]:
    """What ``.done`` says; empty if it is absent, or of a version without digests.

    Raises:
        TopDownError: E_DIGEST (65) when it is damaged.
    """
    path = Path(folder) / DONE
    if not path.is_file() or path.read_bytes() in (b"", b"trained, verified, scored\n"):
        return {}
    try:
        found = read_json(path)
        if set(found) != {"schema", "sha256", "links"}:
            raise ValueError("other keys")
    except (TopDownError, ValueError, TypeError) as e:
        raise _changed(path, "is damaged") from e
    return found


def check_seal(folder: Path, seal: Mapping[str, Any] | None = None) -> list[str]:
    """Compare files with their digests; returns those that are gone.

    The checkpoint and models but the best may have been removed to make room.

    Raises:
        TopDownError: E_DIGEST (65).
    """
    folder = Path(folder)
    seal = read_seal(folder) if seal is None else seal
    gone = []
    for name, digest in seal.get("sha256", {}).items():
        path = folder / name
        if not path.is_file():
            gone.append(name)
        elif sha256(path) != digest:
            raise _changed(path, f"has changed since {folder.name} was finished")
    needed = {*FILES, *seal.get("links", {}).values()} & set(gone)
    if needed:
        raise _changed(folder / min(needed), "is gone")
    return gone


def _changed(path: Path, what: str) -> TopDownError:
    do = f"bring it back, or move {path.parent} away and run the same command again"
    return TopDownError("E_DIGEST", f"{path} {what}", do, DATA)
