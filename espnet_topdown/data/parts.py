"""Parts of a training set: the first so many percent of its utterances, or the last.

The order is that of the SHA-256 of the utterance ids. It is random, but the same on
every machine, and a larger part holds the smaller ones.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from espnet_topdown.data.kaldi_dir import (
    c_sorted,
    read_dir,
    read_lines,
    read_pairs,
    subset,
    write_dir,
    write_lines,
    write_pairs,
)
from espnet_topdown.errors import CREATE, DATA, TopDownError
from espnet_topdown.files import check_output


def _part_of(utts: Iterable[str], percent: int, last: bool = False) -> list[str]:
    """The first or the last ``percent`` of the utterances.

    Returns:
        Their ids, sorted; empty if the percentage rounds to none.

    >>> utts = [f"u{i}" for i in range(10)]
    >>> _part_of(utts, 20), _part_of(utts, 40), _part_of(utts, 20, last=True)
    (['u3', 'u9'], ['u2', 'u3', 'u5', 'u9'], ['u4', 'u7'])
    """
    mixed = sorted(utts, key=lambda utt: hashlib.sha256(utt.encode()).digest())
    if last:
        return c_sorted(mixed[round(len(mixed) * (100 - percent) / 100) :])
    return c_sorted(mixed[: round(len(mixed) * percent / 100)])


def make_part(
    name: str, percent: int, data_dir: Path, stats_dir: Path, lists: Path
) -> Path:
    """Write a part beside the whole: ``<data_dir>_<name>``, ``<stats_dir>_<name>``.

    ``unseen`` is the last part, every other one the first. The list of utterances is
    ``<lists>/<name>.txt``; once written, it never changes. Features are normalised
    with the statistics of the whole set, so that parts differ in data only.

    Args:
        name: ``p20``, ``unseen``, ...
        percent: Of the utterances.
        data_dir: The whole.
        stats_dir: Its statistics, of stage 10.
        lists: Folder of the lists of utterances.

    Returns:
        The data directory of the part.

    Raises:
        TopDownError: E_PART (65) for an empty part, or when the list holds others;
            E_CREATE (73) when the folder holds others.
    """
    data_dir, stats_dir = Path(data_dir), Path(stats_dir)
    whole = read_dir(data_dir)
    keep = _part_of(whole["wav.scp"], percent, last=name == "unseen")
    path = Path(lists) / f"{name}.txt"
    if not keep:
        what = f"{percent} % of {len(whole['wav.scp'])} utterances is none"
        raise TopDownError("E_PART", what, "use a larger training set", DATA)
    if path.is_file() and read_lines(path) != keep:
        what = f"{path} was made of another training set than {data_dir}"
        do = f"move {path.parent} and its models away, or restore the training set"
        raise TopDownError("E_PART", what, do, DATA)
    target = data_dir.with_name(f"{data_dir.name}_{name}")
    there = target / "wav.scp"
    if there.exists() and list(read_pairs(there)) != keep:
        what = f"{there} is there and holds other utterances"
        raise TopDownError("E_CREATE", what, "move that folder away", CREATE)
    stats = stats_dir.with_name(f"{stats_dir.name}_{name}")
    if not there.exists():  # it is written before its statistics
        check_output(stats, ("train", "valid"))
    write_dir(target, subset(whole, keep))
    _write_stats(stats_dir, stats, keep)
    write_lines(path, keep)
    return target


def _write_stats(source: Path, target: Path, keep: list[str]) -> None:
    (target / "train").mkdir(parents=True, exist_ok=True)
    shutil.copytree(source / "valid", target / "valid", dirs_exist_ok=True)
    for path in sorted((source / "train").iterdir()):
        if path.name.split(".")[0].endswith("_shape"):
            shapes = read_pairs(path)
            write_pairs(target / "train" / path.name, {u: shapes[u] for u in keep})
        elif path.is_file():
            shutil.copy2(path, target / "train" / path.name)
