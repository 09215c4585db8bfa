"""Find the files of Switchboard and eval2000 in the layouts that copies have.

A copy has the folders LDC97S62, LDC2002S09 and LDC2002T43, in upper or lower case.
Below them files are known by their names, so it does not matter whether the audio is
in one folder or in ``swb1_d1/data`` to ``swb1_d4/data``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from espnet_topdown.errors import MISSING, TopDownError, warn

CORPORA = ("LDC97S62", "LDC2002S09", "LDC2002T43")
TRANSCRIPTIONS = "swb_ms98_transcriptions"
SOURCE = "www.openslr.org/5 (switchboard_word_alignments.tar.gz)"
_AUDIO = re.compile(r"sw0?(\d{4})\.sph")
_EVAL_AUDIO = re.compile(r"((?:en|sw)_\d+)\.sph")
_TRANSCRIPT = re.compile(r"sw(\d{4})([ab])-ms98-a-trans\.text")
DICTIONARY = "sw-ms98-dict.text"
REFERENCE = {  # of eval2000: file -> the corpus that has it
    "hub5e_00.pem": "LDC2002S09",
    "hub5e00.english.000405.stm": "LDC2002T43",
    "en20000405_hub5.glm": "LDC2002T43",
}
SHOWN = 3


@dataclass
class Discs:
    """What was found.

    Attributes:
        audio: Conversation, such as ``2001`` -> its two-channel file.
        transcripts: Conversation and side, such as ``2001A`` -> its transcript.
        dictionary: The pronouncing dictionary of the transcripts, or None.
        eval_audio: ``en_4156`` -> its two-channel file.
        reference: PEM, STM and GLM file by name.
        twice: Files that are there under a name that another one has.
    """

    audio: dict[str, Path] = field(default_factory=dict)
    transcripts: dict[str, Path] = field(default_factory=dict)
    dictionary: Path | None = None
    eval_audio: dict[str, Path] = field(default_factory=dict)
    reference: dict[str, Path] = field(default_factory=dict)
    twice: list[Path] = field(default_factory=list)


def scan(root: str) -> Discs:
    """Look for everything below ``root``.

    Raises:
        TopDownError: E_SWBD_ROOT (66) when ``root``, one of the corpora below it, the
            transcripts or a reference file is not there.
    """
    folders = _corpora(root)
    discs = Discs()
    for path in _files(folders["LDC97S62"]):
        _take_training(discs, path)
    beside = [p for p in Path(root).iterdir() if p.name.lower() == TRANSCRIPTIONS]
    for path in (p for folder in beside for p in _files(folder)):
        _take_training(discs, path)
    for path in _files(folders["LDC2002S09"]):
        if found := _EVAL_AUDIO.fullmatch(path.name.lower()):
            _put(discs.eval_audio, found.group(1), path, discs.twice)
    for name, corpus in REFERENCE.items():
        hits = [p for p in _files(folders[corpus]) if p.name.lower() == name]
        if hits:
            discs.reference[name] = hits[0]
    _check(discs, folders)
    return discs


def _corpora(root: str) -> dict[str, Path]:
    if not root or not Path(root).is_dir():
        what = f"SWBD is {root}, no folder" if root else "SWBD is not set"
        do = f"write SWBD=/where/it/is in db.sh: the folder with {', '.join(CORPORA)}"
        raise TopDownError("E_SWBD_ROOT", what, do, MISSING)
    there = {p.name.upper(): p for p in sorted(Path(root).iterdir()) if p.is_dir()}
    missing = [name for name in CORPORA if name not in there]
    if missing:
        have = ", ".join(sorted(there)) or "nothing"
        what = f"SWBD={root} has no folder {' or '.join(missing)} (it has {have})"
        do = "put the corpora there under these names, or links to them"
        raise TopDownError("E_SWBD_ROOT", what, do, MISSING)
    return {name: there[name] for name in CORPORA}


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            yield Path(place, name)


def _take_training(discs: Discs, path: Path) -> None:
    name = path.name.lower()
    if found := _AUDIO.fullmatch(name):
        _put(discs.audio, found.group(1), path, discs.twice)
    elif found := _TRANSCRIPT.fullmatch(name):
        side = f"{found.group(1)}{found.group(2).upper()}"
        _put(discs.transcripts, side, path, discs.twice)
    elif name == DICTIONARY and discs.dictionary is None:
        discs.dictionary = path


def _put(found: dict[str, Path], key: str, path: Path, twice: list[Path]) -> None:
    if key in found:
        twice.append(path)
    else:
        found[key] = path


def _check(discs: Discs, folders: dict[str, Path]) -> None:
    if not discs.audio:
        what = f"no sw0NNNN.sph below {folders['LDC97S62']}"
        do = "copy the audio of LDC97S62 there"
        raise TopDownError("E_SWBD_ROOT", what, do, MISSING)
    if not discs.transcripts or discs.dictionary is None:
        lacking = DICTIONARY if discs.transcripts else "sw2001A-ms98-a-trans.text, ..."
        what = f"no {lacking} below {folders['LDC97S62']}"
        do = f"unpack {SOURCE} in {folders['LDC97S62']}/transcriptions"
        raise TopDownError("E_SWBD_TRANSCRIPTS", what, do, MISSING)
    for name, corpus in REFERENCE.items():
        if name not in discs.reference:
            what = f"no {name} below {folders[corpus]}"
            raise TopDownError("E_SWBD_ROOT", what, f"copy all of {corpus}", MISSING)
    if discs.twice:
        what = f"{len(discs.twice)} files have the name of another one, e.g. "
        what += ", ".join(map(str, discs.twice[:SHOWN]))
        warn("W_SWBD_TWICE", f"{what}: the first is used")
