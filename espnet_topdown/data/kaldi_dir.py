"""Kaldi-style data directories: ``wav.scp``, ``text``, ``utt2spk``, ``spk2utt``.

Every list is sorted by byte value, as ``LC_ALL=C sort`` does, and replaced in one
step, so that a reader never sees half of it.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from espnet_topdown.errors import CREATE, DATA, MISSING, USAGE, TopDownError, warn
from espnet_topdown.files import check_output, decode_utf8, write_bytes, write_json

_LISTS = ("wav.scp", "text", "utt2spk", "segments")
_is_id = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._=+@-]{0,199}").fullmatch
_SHORT = 10  # characters of a value that recurs, as speakers and numbers do
T = TypeVar("T")


def c_sorted(keys: Iterable[str]) -> list[str]:
    """The order of ``LC_ALL=C sort``.

    Args:
        keys: Ids.

    Returns:
        The same ones.

    >>> c_sorted(["b", "a-1", "a", "B"])
    ['B', 'a', 'a-1', 'b']
    """
    return sorted(keys)  # by code points, which is the order of their bytes in UTF-8


def check_id(name: str, where: str) -> str:
    """Return ``name``, which becomes part of file names, or raise E_UTT_ID.

    Args:
        name: The id.
        where: File and line, for the message.

    Returns:
        The id.

    Raises:
        TopDownError: E_UTT_ID (65).
    """
    if _is_id(name):
        return name
    what = f"'{name[:80]}' ({where}) is not a valid id"
    do = "use 1-200 of A-Z a-z 0-9 . _ = + @ -, a letter or digit first, no '..'"
    raise TopDownError("E_UTT_ID", what, do, DATA)


def list_files(path: Path) -> list[Path]:
    """The files of a list: itself, or the parts that ESPnet's splits cut it into.

    Training with ``--num_splits_asr`` reads ``splits2/text/split.0`` and so on, beside
    a file ``num_splits``.

    Args:
        path: The list.

    Returns:
        Files in their order; they need not be there.

    Raises:
        TopDownError: E_SPLIT (65).
    """
    count = Path(path) / "num_splits"
    if not count.is_file():
        return [Path(path)]
    number = count.read_text(encoding="utf-8", errors="replace").strip()
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        what = f"{count} holds '{number[:80]}', not a number of parts"
        raise TopDownError("E_SPLIT", what, "split the lists again", DATA)
    return [Path(path) / f"split.{i}" for i in range(int(number))]


def read_lines(
    path: Path, as_espnet: bool = False, keep_mark: bool = False
) -> list[str]:
    """The lines of a UTF-8 list without their ends; E_UTF8 names line and byte.

    Args:
        path: The list.
        as_espnet: ESPnet reads this very file afterwards. A byte order mark, which
            it would take for a part of the first id, is then E_BOM; otherwise
            it is left out with a warning.
        keep_mark: We have written the file, and the mark is a part of a text.

    Returns:
        Texts, empty ones too.

    Raises:
        TopDownError: E_MISSING (66); E_UTF8, E_BOM or E_TEXT_LINE (65).
    """
    return list(_lines(path, as_espnet, keep_mark))


def _lines(path: Path, as_espnet: bool, keep_mark: bool = False) -> Iterator[str]:
    """The lines of ``read_lines`` by and by."""
    is_warned, number = False, 1
    for data in _blocks(path):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:  # as in UTF-16; the message needs the whole file
            decode_utf8(Path(path).read_bytes(), path)
        if number == 1 and text.startswith("\ufeff") and not keep_mark:
            if as_espnet:
                what = f"{path} line 1 starts with a byte order mark (U+FEFF)"
                do = f"run: sed -i '1s/^\\xef\\xbb\\xbf//' {shlex.quote(str(path))}"
                raise TopDownError("E_BOM", what, do, DATA)
            text = text[1:]
            warn("W_BOM", f"{path} starts with a byte order mark; ignored")
        if "\r\n" in text:
            text = text.replace("\r\n", "\n")
            if not is_warned:
                warn("W_CRLF", f"{path} has Windows line ends; ignored")
            is_warned = True
        if "\r" in text:
            number += text.count("\n", 0, text.index("\r"))
            what = f"{path} line {number} holds a carriage return, "
            what += "which ends a line too"
            do = f"run: sed -i 's/\\r/ /g' {shlex.quote(str(path))}"
            raise TopDownError("E_TEXT_LINE", what, do, DATA)
        lines = text.removesuffix("\n").split("\n")
        number += len(lines)
        yield from lines


def _blocks(path: Path) -> Iterator[bytes]:
    """Whole lines, some thousands at a time."""
    try:
        with Path(path).open("rb") as file:
            while data := file.read(1 << 20):
                yield data + file.readline()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        do = "run the stage that writes it, or check the path"
        raise TopDownError("E_MISSING", f"no file {path}", do, MISSING) from None


def read_pairs(path: Path, as_espnet: bool = False) -> dict[str, str]:
    """Read ``id value...`` lines as ESPnet reads them; an id only has the value ``""``.

    Values keep their inner spaces, whatever these are. Empty lines, ids that occur
    twice or that could not be part of a file name are errors that name the line.

    Args:
        path: The list, or a folder of its parts; see ``list_files``.
        as_espnet: See ``read_lines``.

    Returns:
        Id -> value, in the order of the file.

    Raises:
        TopDownError: E_TEXT_LINE, E_UTT_ID or E_UTT_DUP (65), and those of
            ``read_lines``.
    """
    pairs: dict[str, str] = {}
    for key, value in iter_pairs(path, as_espnet):
        if key in pairs:
            raise duplicate_error(path, key)
        pairs[key] = value
    return pairs


def iter_pairs(path: Path, as_espnet: bool = False) -> Iterator[tuple[str, str]]:
    """What ``read_pairs`` reads, line by line, for lists that nobody needs as a whole.

    Args:
        path: The list, or a folder of its parts.
        as_espnet: See ``read_lines``.

    Yields:
        Id and value; an id that occurs twice is for the caller to see.

    Raises:
        TopDownError: As ``read_pairs``, but for E_UTT_DUP.
    """
    for part in list_files(path):
        for number, line in enumerate(_lines(part, as_espnet), 1):
            words = line.split(maxsplit=1)
            if not words:
                what = f"{part} line {number} is empty"
                raise TopDownError("E_TEXT_LINE", what, "delete the line", DATA)
            key = sys.intern(words[0])  # kept once for all lists that have it
            if not _is_id(key):
                check_id(key, f"{part} line {number}")
            value = words[1].rstrip() if len(words) == 2 else ""
            if len(value) < _SHORT:
                value = sys.intern(value)
            yield key, value


def duplicate_error(path: Path, key: str) -> TopDownError:
    """The error that a list holds an id twice, with the lines.

    Args:
        path: The list, or a folder of its parts.
        key: The id.

    Returns:
        E_UTT_DUP (65).
    """
    found = ((part, number) for k, part, number in numbered_ids(path) if k == key)
    (other, n), (part, number) = itertools.islice(found, 2)
    also = "" if other == part else f"line {n} of {other}; "
    lines = number if also else f"{n}, {number}"
    what = f"{key} {also}lines {lines} of {part}"
    return TopDownError("E_UTT_DUP", what, "keep one of the lines", DATA)


def numbered_ids(path: Path) -> Iterator[tuple[str, Path, int]]:
    """The ids of a list and where they stand, for messages.

    Args:
        path: The list, or a folder of its parts.

    Yields:
        Id, file and number of each line that has an id.
    """
    for part in list_files(path):
        with part.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                key = line.decode("utf-8-sig", "replace").split(maxsplit=1)[:1]
                if key:
                    yield key[0], part, number


def locate(path: Path, key: str) -> str:
    """The file and line of a list that hold ``key``, for messages.

    A list in splits is named by its part, as in ``splits2/text/split.1 line 2``.

    Args:
        path: The list.
        key: The id.

    Returns:
        ``FILE line N``, or the file alone.
    """
    found = (
        f"{part} line {number}" for k, part, number in numbered_ids(path) if k == key
    )
    return next(found, str(path))


def write_lines(path: Path, lines: Iterable[str], backup: bool = False) -> None:
    """Replace ``path`` by these lines in one step; folders are made as needed.

    Args:
        path: The file.
        lines: Without their ends.
        backup: Keep what else the file held in ``.backup`` beside it, as Kaldi's
            scripts do: somebody may have corrected it.

    Raises:
        TopDownError: Those of ``write_bytes``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if backup and path.is_file():
        lines = list(lines)
        _back_up(path, lines)
    lines = iter(lines)
    parts = iter(lambda: list(itertools.islice(lines, 10_000)), [])
    write_bytes(path, ("\n".join([*part, ""]).encode() for part in parts))


def _back_up(path: Path, lines: Iterable[str]) -> None:
    with path.open("rb") as theirs:
        ours = (f"{line}\n".encode() for line in lines)
        if all(x == y for x, y in itertools.zip_longest(theirs, ours)):
            return
    folder = path.parent / ".backup"
    folder.mkdir(exist_ok=True)
    names = (f"{path.name}.{n}" for n in itertools.count(1))
    kept = next(folder / name for name in names if not (folder / name).exists())
    os.replace(path, kept)
    warn("W_REPLACED", f"{path} held other lines, which are kept in {kept}")


def write_pairs(path: Path, mapping: Mapping[str, str], backup: bool = False) -> None:
    """Write ``id value`` lines, sorted; the inverse of :func:`read_pairs`.

    Args:
        path: The file.
        mapping: Id -> value.
        backup: See ``write_lines``.

    Raises:
        TopDownError: E_UTT_ID or E_TEXT_LINE (65) before anything is written.
    """
    where = str(path)
    for key, value in mapping.items():
        check_id(key, where)
        if "\n" in value or "\r" in value:
            what = f"the value of {key} holds a line break"
            raise TopDownError("E_TEXT_LINE", what, "put it on one line", DATA)
    lines = (f"{k} {mapping[k]}".rstrip() for k in c_sorted(mapping))
    write_lines(path, lines, backup)


def _spk2utt(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """Return speaker -> its utterances, sorted, with a space between.

    >>> _spk2utt({"b-2": "b", "a-1": "a", "b-1": "b"})
    {'a': 'a-1', 'b': 'b-1 b-2'}
    """
    speakers: dict[str, list[str]] = {}
    for utt in c_sorted(utt2spk):
        speakers.setdefault(utt2spk[utt], []).append(utt)
    return {spk: " ".join(speakers[spk]) for spk in c_sorted(speakers)}


def read_dir(folder: Path) -> dict[str, dict[str, str]]:
    """The lists of a data directory by file name: wav.scp, and what else is there.

    Args:
        folder: A data directory.

    Returns:
        File name -> id -> value.

    Raises:
        TopDownError: E_DATA_DIR (66), and those of ``read_pairs``.
    """
    folder = Path(folder)
    lists = {n: read_pairs(folder / n) for n in _LISTS if (folder / n).exists()}
    if "wav.scp" not in lists:
        do = "run stage 1, or name a data directory"
        raise TopDownError("E_DATA_DIR", f"{folder} has no wav.scp", do, MISSING)
    return lists


def write_dir(folder: Path, lists: Mapping[str, Mapping[str, str]]) -> None:
    """Write a data directory; ``spk2utt`` follows from ``utt2spk``.

    A list that is there with other lines is kept in ``.backup``, see ``write_lines``.
    Speaker ids should be prefixes of their utterance ids: Kaldi's tools, which a
    user may run on the directory later, sort by both.

    Args:
        folder: Made as needed.
        lists: File name -> id -> value, written in this order.

    Raises:
        TopDownError: Those of ``write_pairs``.
    """
    folder = Path(folder)
    for name, pairs in lists.items():
        write_pairs(folder / name, pairs, backup=True)
    if "utt2spk" in lists:
        write_pairs(folder / "spk2utt", _spk2utt(lists["utt2spk"]), backup=True)


def check_target(folder: Path, mark: Path | str, utts: Iterable[str]) -> None:
    """Refuse to write a data directory over one that the same stage did not write.

    Args:
        folder: To be written; it need not be there.
        mark: What that stage writes, in it or elsewhere, before its lists.
        utts: The ids of ``wav.scp`` to come: a set with none of them is another one.

    Raises:
        TopDownError: E_CREATE (73).
    """
    wav_scp = Path(folder) / "wav.scp"
    if not (Path(folder) / mark).exists():
        check_output(folder, _LISTS)
    elif wav_scp.is_file() and read_pairs(wav_scp).keys().isdisjoint(utts):
        what = f"{wav_scp} is there and holds other utterances"
        do = "give another --output_dir, or move that folder away"
        raise TopDownError("E_CREATE", what, do, CREATE)


def check_sets(
    folder: Path,
    record: Path | str,
    sets: Mapping[str, Iterable[str]],
    others: Iterable[str] = (),
) -> None:
    """Refuse to write the sets of a corpus over data that its stage 1 did not write.

    Args:
        folder: Where the sets are written.
        record: The file in it that stage 1 writes before its sets.
        sets: Set -> the ids of its ``wav.scp`` to come.
        others: More files in the folder that will be written.

    Raises:
        TopDownError: E_CREATE (73).
    """
    record = (Path(folder) / record).absolute()
    if not record.exists():
        check_output(folder, others)
    for name, recordings in sets.items():
        check_target(Path(folder) / name, record, recordings)


def write_sets(
    folder: Path,
    record: str,
    sets: Mapping[str, Mapping[str, Mapping[str, str]]],
    about: Mapping[str, object],
) -> None:
    """Write the sets of a corpus and, first, the record of them; see ``check_sets``.

    Args:
        folder: Where the sets are written.
        record: The name of the file, such as ``corpus.json``.
        sets: Set -> its lists, see ``write_dir``.
        about: What the record holds.

    Raises:
        TopDownError: E_CREATE (73); those of ``write_dir``.
    """
    check_sets(folder, record, {name: lists["wav.scp"] for name, lists in sets.items()})
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / record, about)
    for name, lists in sets.items():
        write_dir(folder / name, lists)
        logging.info("%s: %d utterances", name, len(lists["text"]))


def subset(
    lists: Mapping[str, Mapping[str, str]], keep: Iterable[str]
) -> dict[str, dict[str, str]]:
    """Only the utterances in ``keep``; with segments, only their recordings.

    Args:
        lists: Of a data directory.
        keep: Ids of utterances.

    Returns:
        Lists of the same names.
    """
    wanted = set(keep)
    out = {
        name: {k: v for k, v in pairs.items() if k in wanted}
        for name, pairs in lists.items()
    }
    if "segments" in lists:
        recordings = {value.split()[0] for value in out["segments"].values()}
        out["wav.scp"] = {k: v for k, v in lists["wav.scp"].items() if k in recordings}
    return out


def keep_common(lists: Mapping[str, dict[str, str]]) -> None:
    """Remove the utterances that a list lacks from the others, as fix_data_dir.sh does.

    Args:
        lists: Of a data directory; with segments, wav.scp keeps their recordings.
    """
    cuts, wavs = lists.get("segments", {}), lists["wav.scp"]
    utts = cuts if "segments" in lists else wavs
    others = [x for name, x in lists.items() if name not in ("wav.scp", "segments")]
    if "segments" in lists:
        _keep(cuts, {u for u, v in cuts.items() if v.split()[0] in wavs})
    for pairs in others:
        _keep(utts, pairs)
    for pairs in others:
        _keep(pairs, utts)
    if "segments" in lists:
        _keep(wavs, {v.split()[0] for v in cuts.values()})


def _keep(pairs: dict[str, str], keys: Container[str]) -> None:
    for key in [k for k in pairs if k not in keys]:
        del pairs[key]


def copy_dir(source: Path, target: Path, leave_out: Sequence[str] = ()) -> None:
    """Copy the files of a data directory (no folders inside it).

    Args:
        source: A data directory.
        target: Made as needed.
        leave_out: Names of files.
    """
    Path(target).mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(source).iterdir()):
        if path.is_file() and path.name not in leave_out:
            shutil.copy2(path, Path(target) / path.name)


def shard(items: Sequence[T], job: int, nj: int) -> list[T]:
    """One of ``nj`` contiguous parts whose sizes differ by at most 1, larger first.

    Args:
        items: To be cut.
        job: Which part, from 1.
        nj: How many; with fewer items than parts, some are empty.

    Returns:
        The part.

    Raises:
        TopDownError: E_USAGE (64) for a part that is none.

    >>> [shard("abcdefg", job, 3) for job in (1, 2, 3)]
    [['a', 'b', 'c'], ['d', 'e'], ['f', 'g']]
    """
    if job < 1 or nj < 1:
        what = f"there is no shard {job} of {nj}"
        raise TopDownError("E_USAGE", what, "count them from 1", USAGE)
    size, larger = divmod(len(items), nj)
    start, end = (i * size + min(i, larger) for i in (job - 1, job))
    return list(items[start:end])


def refuse_or_warn(problems: Sequence[tuple[str, str]], allow_partial: bool) -> None:
    """What a copy of a corpus lacks: an error, or warnings if that is allowed.

    Args:
        problems: Code and text of each.
        allow_partial: As the recipe's option.

    Raises:
        TopDownError: The first code (65), with all texts.
    """
    if problems and not allow_partial:
        what = "; ".join(text for _, text in problems)
        do = "complete the copy, or prepare what is there with --allow_partial true"
        do += ' (of a recipe: --local_data_opts "--allow_partial true")'
        raise TopDownError(problems[0][0], what, do, DATA)
    for code, text in problems:
        warn(code.replace("E_", "W_", 1), text)
