"""Find the files of WSJ0 and WSJ1 in any layout that copies of the discs have.

Copies differ in the names of the disc folders (``11-13.1``, ``11_13_1``, ``13_34.1``,
or none at all) and in case. What they share is the path from ``wsj0`` or ``wsj1`` on:
files are known by that path in lower case, and by their disc where there is one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_topdown.errors import DATA, MISSING, TopDownError
from espnet_topdown.files import read_text

_DISC = re.compile(r"(\d+)[-_.](\d+)[-_.](\d+)")
_ENTRY = re.compile(r"\s*([^:\s]+):[\s/]*(\S+)\s*")
_UTT = re.compile(r"[a-z0-9]{8}")


def disc_id(name: str) -> str:
    """The form that index files use, or ``""`` for another folder.

    >>> disc_id("13-34.1"), disc_id("13_34.1"), disc_id("wsj0")
    ('13_34_1', '13_34_1', '')
    """
    found = _DISC.fullmatch(name)
    return "_".join(found.groups()) if found else ""


@dataclass(frozen=True)
class Entry:
    """One line of an index file; ``where`` is for messages."""

    disc: str
    key: str
    where: str

    @property
    def utt(self) -> str:
        """The utterance id."""
        return self.key.rpartition("/")[2]


@dataclass
class Discs:
    """The files found below some folders.

    Attributes:
        audio: ``wsj0/si_tr_s/01i/01ic0201`` -> its copies.
        dots: Session, such as ``01ic02`` -> its transcript files in a fixed order.
        indices: ``wsj0/doc/indices/...ndx`` -> its copies.
    """

    roots: list[Path]
    audio: dict[str, list[Path]] = field(default_factory=dict)
    dots: dict[str, list[Path]] = field(default_factory=dict)
    indices: dict[str, list[Path]] = field(default_factory=dict)

    def index(self, disc: str, key: str) -> Path | None:
        """An index file, from this disc if it has it."""
        return _choose(self.indices.get(key, []), disc)

    def sound(self, entry: Entry) -> Path | None:
        """The audio of an index line; some index files name a wrong disc."""
        return _choose(self.audio.get(entry.key, []), entry.disc)

    def names(self) -> set[str]:
        """The ids of the discs that hold audio."""
        paths = [path for copies in self.audio.values() for path in copies]
        return {_disc_of(path) for path in paths} - {""}


def _choose(copies: list[Path], disc: str) -> Path | None:
    right = [path for path in copies if _disc_of(path) == disc]
    return (right or copies or [None])[0]


def _disc_of(path: Path) -> str:
    """The disc that a file is on: the folder above the last ``wsj0`` or ``wsj1``."""
    parts = [part.lower() for part in path.absolute().parts]
    at = _corpus_at(parts)
    return disc_id(parts[at - 1]) if at else ""


def _corpus_at(parts: Sequence[str]) -> int:
    places = [i for i, part in enumerate(parts) if part in ("wsj0", "wsj1")]
    return places[-1] if places else 0


def _walk(roots: Iterable[Path]) -> Iterator[Path]:
    """All files, every folder once: roots may be equal, nested or linked."""
    seen: set[tuple[int, int]] = set()
    for root in roots:
        for folder, below, names in os.walk(root, followlinks=True):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                below.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            below.sort()
            yield from (Path(folder, name) for name in sorted(names))


def scan(roots: Iterable[Path]) -> Discs:
    """Look at every file name below ``roots`` once."""
    discs = Discs(list(roots))
    dots: dict[str, list[tuple[str, Path]]] = {}
    for path in _walk(discs.roots):
        stem, _, suffix = path.name.lower().rpartition(".")
        if suffix not in ("wv1", "dot", "ndx"):
            continue
        parts = [part.lower() for part in path.absolute().parts]
        key = "/".join(parts[_corpus_at(parts) :])
        if suffix == "wv1":
            discs.audio.setdefault(key[: -len(".wv1")], []).append(path)
        elif suffix == "dot" and len(stem) == 8 and stem.endswith("00"):
            dots.setdefault(stem[:6], []).append((key, path))
        elif suffix == "ndx":
            for name in _index_names(parts):
                discs.indices.setdefault(name, []).append(path)
    discs.dots = {name: [p for _, p in sorted(files)] for name, files in dots.items()}
    if not discs.indices or not discs.audio:
        raise _unknown_layout(discs)
    return discs


def _index_names(parts: Sequence[str]) -> Iterator[str]:
    """The path from each ``wsj0`` or ``wsj1`` on; some lie in a second one."""
    for i, part in enumerate(parts):
        if part in ("wsj0", "wsj1"):
            yield "/".join(parts[i:])


def _unknown_layout(discs: Discs) -> TopDownError:
    names = [p.name for root in discs.roots for p in sorted(root.iterdir())]
    what = " and ".join(map(str, discs.roots)) + f" hold {', '.join(names[:8])}"
    what = what if names else what.replace(" hold ", " hold nothing")
    lack = ".wv1 files" if discs.indices else ".ndx files (doc/indices)"
    return TopDownError(
        "E_WSJ_LAYOUT",
        f"no {lack} in a folder wsj0 or wsj1: {what}",
        "name the folders that hold 11-1.1, 11-13.1, 13-34.1, ... or wsj0 and wsj1",
        MISSING,
    )


def read_index(path: Path) -> list[Entry]:
    """The entries of an ``.ndx`` file, in its order; E_WSJ_INDEX for a bad line."""
    entries = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        where = f"{path} line {number}"
        found = _ENTRY.fullmatch(line)
        if found:
            key = found.group(2).lower()
            key = key[: -len(".wv1")] if key.endswith(".wv1") else key
            disc = re.sub("[-.]", "_", found.group(1))
            entries.append(Entry(disc, key, where))
        if not found or not _UTT.fullmatch(entries[-1].utt):
            what = f"{where}: '{line.strip()[:60]}'"
            do = "copy the file again; a line is '11_1_1:wsj0/si_tr_s/...'"
            raise TopDownError("E_WSJ_INDEX", what, do, DATA)
    return entries
