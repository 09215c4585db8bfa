"""python3 local/prepare_queen.py --downloads downloads --output_dir data

The voices of the game "Flight of the Amazon Queen" (English, actors, 11,025 Hz) as a
speech corpus: data/{train,dev,test}/{wav.scp,text,utt2spk,spk2utt}.

Everything is in one file, ``queen.1c``; its numbers are big-endian. It starts with a
table: ``QTBL``, the release (6 bytes), two zeros, how voices are coded (1: MP3), the
number of entries (2), and for each its name (12), a 1, its offset and size (4 each).
``NAME.DOG`` is a dialogue (see :func:`read_dialogue`), ``QUEEN2.JAS`` holds what Joe
says about things, and ``*.SB`` are the voices. Commands to the game cut a line into
texts. The n-th text, if it has a letter or digit, is spoken in the voice file of this
line whose eighth character is n (hexadecimal). This holds for 2,553 of the 2,555 lines
with a voice; the others are left out.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_topdown.cli.parser import option, path, script, source
from espnet_topdown.data import archives, audio
from espnet_topdown.data.archives import apt_download, http_download, members
from espnet_topdown.data.kaldi_dir import check_sets, write_dir, write_lines
from espnet_topdown.errors import DATA, MISSING, USAGE, TopDownError

if TYPE_CHECKING:
    import numpy as np

GAME = "queen.1c"
SHA256 = "cc91960d133fcd4173eda4bac304e80d2bbdbaa085640287ab9e0507bd603f67"
RELEASE = b"CEM10\0"  # on CD, English
PACKAGE = "flight-of-the-amazon-queen"
URL = f"https://deb.debian.org/debian/pool/main/f/{PACKAGE}/{PACKAGE}_1.0.0-9_all.deb"
SPEECH_RATE = 11025  # Hz
DEV, TEST = 400, 600  # utterances; every other one is for training
SECONDS = (0.7, 14.0)
LETTERS_A_SECOND = (7.0, 25.0)  # spaces counted
MIN_LETTERS = 6
FIRST_REMARK = 41  # the number in the file names of line 0 of QUEEN2.JAS
# Keys of dialogues in which the other voice (a dog, two tribes, a man in a mask) speaks
# no English, and the words of a gorilla that elsewhere does; see README.md.
NO_ENGLISH = {
    "03": r"\b(\w*ung[ah]|whoop|oo+p|eep)",
    **dict.fromkeys(("14", "19", "78", "79"), ""),
}
COMMAND = re.compile(r"\*(?:XY\d+\(\d+,\d+\)|[A-Z]{2}|\d\d)")

Table = Mapping[str, "tuple[int, int]"]  # name -> offset and size


@dataclass(frozen=True)
class Line:
    """A line of the script, as the game holds it; its voice files begin with key."""

    key: str
    speaker: str
    text: str


@dataclass(frozen=True)
class Utterance:
    """A spoken line that is used."""

    utt: str
    speaker: str
    text: str
    wav: Path
    seconds: float


class Unusable(Exception):
    """Why a line is left out."""


def bad(offset: int, what: str) -> TopDownError:
    """E_DATA for a ``queen.1c`` that is not what it should be at this byte."""
    do = f"put the {GAME} of Debian's {PACKAGE} in its place"
    return TopDownError("E_DATA", f"{GAME} byte {offset}: {what}", do, DATA)


def field(code: str, data: bytes, at: int, start: int = 0) -> int:
    """One number of a part that begins at byte ``start`` of the file."""
    if not 0 <= at <= len(data) - struct.calcsize(code):
        raise bad(start + at, "the file ends inside a field")
    return int(struct.unpack_from(f">{code}", data, at)[0])


def read_table(data: bytes) -> dict[str, tuple[int, int]]:
    """The table of ``queen.1c``: name -> offset and size in bytes.

    Raises:
        TopDownError: E_DATA (65) with the offset, for another kind of file, another
            release or language, or one that was cut.
    """
    if data[:4] != b"QTBL":
        raise bad(0, "the file does not begin with QTBL")
    if data[4:10] != RELEASE:
        have, want = (x.decode("latin-1").rstrip("\0") for x in (data[4:10], RELEASE))
        raise bad(4, f"release {have!r}, need {want!r} (English, with voices)")
    if data[10:13] != b"\0\0\1":
        raise bad(10, f"voices coded as {data[10:13].hex()}, need 000001 (MP3)")
    n = field("H", data, 13)
    end = 15 + 21 * n
    table: dict[str, tuple[int, int]] = {}
    for at in range(15, end, 21):
        field("I", data, at + 17)  # all of the entry is there
        name = data[at : at + 12].rstrip(b"\0").decode("latin-1")
        if not re.fullmatch(r"[A-Z0-9_]+(\.[A-Z0-9]{2,3})?", name) or name in table:
            raise bad(at, f"{name!r} is not a new name")
        if data[at + 12] != 1:
            raise bad(at + 12, f"{name} is in file {data[at + 12]}, need 1")
        offset, size = field("I", data, at + 13), field("I", data, at + 17)
        if offset != end:
            raise bad(at + 13, f"{name} begins at {offset}, need {end}")
        end += size
        if end > len(data):
            raise bad(at + 17, f"{name} ends at {end}, the file at {len(data)}")
        table[name] = offset, size
    if end != len(data):
        raise bad(end, f"{len(data) - end} bytes after the last entry")
    return table


def read_dialogue(name: str, data: bytes, start: int) -> list[Line]:
    """The lines of one dialogue, Joe's first.

    Offsets count from byte 20. The number of levels (0; its sign has a meaning of its
    own) and the key (4) give the names; Joe's lines follow the levels of 96 bytes, the
    others' are from (22) to (24); their numbers are at 6 and 8. A line: 0, its id, the
    length of its text, the text, zeros up to a multiple of four.

    Args:
        name: of the entry; without digits and ending it is the other speaker.
        data: the whole entry.
        start: where the entry begins in ``queen.1c``, for messages.
    """
    size = field("I", data, 8, start) & 0x7FFFFFFF
    if data[:4] != b"AmBk" or data[12:20] != b"Datas   " or size != len(data) - 12:
        raise bad(start, f"{name} is not a bank of {len(data)} bytes")
    data, start = data[20:], start + 20
    levels, key, n_joe, n_other = (field("h", data, at, start) for at in (0, 4, 6, 8))
    if not 0 <= key <= 99 or n_joe < 0 or n_other < 0:
        raise bad(start + 4, f"{name} has key {key} and {n_joe}, {n_other} lines")
    begin, end = field("h", data, 22, start), field("h", data, 24, start)
    other = name.split(".")[0].rstrip("0123456789").lower()
    parts = [("J", "joe", n_joe, 32 + 96 * abs(levels), begin)]
    parts += [("P", other, n_other, begin, end)]
    lines: list[Line] = []
    for letter, speaker, n, at, stop in parts:
        for _ in range(n):
            zero, number = field("h", data, at, start), field("h", data, at + 2, start)
            text = data[at + 5 : at + 5 + field("B", data, at + 4, start)]
            following = (at + 8 + len(text)) // 4 * 4
            rest = data[at + 5 + len(text) : following]
            if zero or rest.strip(b"\0") or following > len(data):
                raise bad(start + at, f"{name} has no line here")
            at = following
            if number >= 0:
                of = f"{key:02d}{number:04X}{letter}"
                lines.append(Line(of, speaker, text.decode("latin-1")))
        if at != stop:
            raise bad(start + at, f"lines of {name} end here, need {start + stop}")
    return lines


def read_script(data: bytes, table: Table) -> list[Line]:
    """Every line that may be spoken, in the order of the table."""
    lines: list[Line] = []
    for name, (offset, size) in table.items():
        part = data[offset : offset + size]
        if name.endswith(".DOG"):
            lines += read_dialogue(name, part, offset)
        elif name == "QUEEN2.JAS":
            if not part.endswith(b"\r\n"):
                raise bad(offset + size, f"{name} does not end with a line end")
            for i, text in enumerate(part.decode("latin-1").split("\r\n")[:-1]):
                lines.append(Line(f"JOE{FIRST_REMARK + i:04d}", "joe", text))
    return lines


def is_no_english(line: Line) -> bool:
    """Whether it is noises or an invented language."""
    words = NO_ENGLISH.get(line.key[:2])
    text = COMMAND.sub(" ", line.text).lower()
    return words is not None and re.search(words, text) is not None


def words_of(line: str, files: str) -> str:
    """What is heard in a line: a-z, apostrophe and space.

    Args:
        line: as the game holds it.
        files: the numbers of its voice files, one character each.

    >>> words_of("*16Hello, I'm Joe!*02Who?*XY05(1,2)*03", "23")
    "hello i'm joe who"

    Raises:
        Unusable: with the reason.
    """
    texts = COMMAND.split(line)
    text = " ".join(texts)
    for pattern, reason in (
        (r"\*", "unknown command"),
        (r"[0-9]", "numeral of unknown reading"),
        (r"<", "a sound is described"),
        (r"[^ -~]", "not an English letter"),
    ):
        if re.search(pattern, text):
            raise Unusable(reason)
    spoken = [n for n, text_n in enumerate(texts, 1) if re.search(r"\w", text_n)]
    if files != "".join(f"{n:X}" for n in spoken):
        raise Unusable("its voice files are not its texts")
    words = re.sub(r"[^a-z']", " ", text.lower()).split()
    words = [word for word in words if word.strip("'")]
    if sum(map(len, words)) < MIN_LETTERS:
        raise Unusable("too few letters")
    return " ".join(words)


def collect(
    data: bytes, table: Table, folder: Path
) -> tuple[list[Utterance], Counter[str]]:
    """Join voices and texts; sound goes to ``folder``, one FLAC file a line.

    Returns:
        what is used, sorted by id, and how many lines were left out for which reason.
    """
    import numpy as np

    voices: dict[str, list[str]] = {}
    for name in sorted(table):
        if name.endswith(".SB"):
            voices.setdefault(name[:7], []).append(name)
    lines = [line for line in read_script(data, table) if line.key in voices]
    texts_of: dict[str, set[str]] = {}
    for line in lines:
        texts_of.setdefault(line.key, set()).add(line.text)
    used: dict[str, Utterance] = {}
    dropped: Counter[str] = Counter()
    for line in lines:
        names = voices[line.key]
        try:
            if len(texts_of[line.key]) > 1:
                raise Unusable("two texts for one voice")
            if line.speaker != "joe" and is_no_english(line):
                raise Unusable("no English")
            text = words_of(line.text, "".join(name[7] for name in names))
            samples = np.concatenate([decode(data, table, name) for name in names])
            seconds = len(samples) / SPEECH_RATE
            if not SECONDS[0] <= seconds <= SECONDS[1]:
                raise Unusable("too short or too long")
            if not LETTERS_A_SECOND[0] <= len(text) / seconds <= LETTERS_A_SECOND[1]:
                raise Unusable("speech is too fast or too slow for its text")
        except Unusable as e:
            dropped[str(e)] += 1
            continue
        utt = f"{line.speaker}-{line.key}"
        wav = folder / f"{line.key}.flac"
        audio.write(wav, samples, SPEECH_RATE, "flac")
        used[utt] = Utterance(utt, line.speaker, text, wav, seconds)
    return [used[utt] for utt in sorted(used)], dropped


def decode(data: bytes, table: Table, name: str) -> np.ndarray:
    """The int16 samples (T,) of one voice file."""
    import soundfile

    offset, size = table[name]
    stream = io.BytesIO(data[offset : offset + size])
    try:
        samples, rate = soundfile.read(stream, dtype="int16", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as e:
        raise bad(offset, f"{name} cannot be read as MP3 ({e})") from None
    if rate != SPEECH_RATE or samples.shape[1] != 1 or not len(samples):
        have = f"{len(samples)} samples, {rate} Hz, {samples.shape[1]} channels"
        raise bad(offset, f"{name} has {have}, need {SPEECH_RATE} Hz and 1 channel")
    return samples[:, 0]


def _rank(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def split(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Equal texts go to one set; a hash of the text decides to which.

    It is no random generator, so the sets are the same everywhere.
    """
    groups: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault(utterance.text, []).append(utterance)
    sets: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for text in sorted(groups, key=_rank):
        small = [n for n, size in (("dev", DEV), ("test", TEST)) if len(sets[n]) < size]
        sets[(small or ["train"])[0]] += groups[text]
    return sets


def first_minutes(train: Sequence[Utterance], minutes: int) -> list[Utterance]:
    """The part of this length; a longer part holds a shorter one.

    Raises:
        TopDownError: E_RANGE (64) if there is not that much.
    """
    there_are = sum(u.seconds for u in train) / 60
    if not 0 < minutes <= there_are:
        what = f"--train_minutes {minutes}: there are {there_are:.1f}"
        raise TopDownError("E_RANGE", what, "give a number from 1 to that", USAGE)
    part: list[Utterance] = []
    seconds = 0.0
    for utterance in sorted(train, key=lambda u: (_rank(u.text), u.utt)):
        if seconds < 60 * minutes:
            part.append(utterance)
            seconds += utterance.seconds
    return part


def obtain(downloads: Path, source: str, url: str) -> bytes:
    """The bytes of ``queen.1c``, fetched if need be; its digest decides, not a name.

    Args:
        source: ``local`` (``queen.1c`` or a package of Debian in ``downloads``),
            ``apt``, ``http``, or ``auto``, which tries these in turn.

    Raises:
        TopDownError: E_DOWNLOAD, E_DATA, E_DIGEST or E_ARCHIVE.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    package = downloads / url.rsplit("/", 1)[-1]

    def local() -> bytes:
        return _verified(*_game(downloads))

    def apt() -> bytes:
        apt_download([PACKAGE], downloads)
        return local()

    def http() -> bytes:
        http_download(url, package)
        return local()

    ways = {"local": local, "apt": apt, "http": http}
    return archives.obtain(
        source, ways, f"put {GAME} or {package.name} into {downloads}"
    )


def _game(downloads: Path) -> tuple[Path, bytes]:
    if (downloads / GAME).is_file():
        return downloads / GAME, (downloads / GAME).read_bytes()
    found = downloads.glob(f"{PACKAGE}_*.deb")
    packages = sorted(found, key=lambda path: path.stat().st_mtime)
    if not packages:
        what = f"{downloads} has neither {GAME} nor {PACKAGE}_*.deb"
        raise TopDownError("E_DOWNLOAD", what, "fetch it", MISSING)
    for name, data in members(packages[-1]):
        if name.name == GAME:
            return packages[-1], data
    what = f"{packages[-1]} holds no {GAME}"
    do = "delete the file and fetch it again"
    raise TopDownError("E_ARCHIVE", what, do, DATA)


def _verified(path: Path, data: bytes) -> bytes:
    logging.info("reading %s", path)
    read_table(data)  # says more than a digest about another release
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        what = f"{GAME} of {path} has sha256 {digest[:12]}... need {SHA256[:12]}..."
        do = f"delete {path} and run the same command again"
        raise TopDownError("E_DIGEST", what, do, DATA)
    return data


def prepare(
    downloads: Path, output_dir: Path, source: str, url: str, train_minutes: int
) -> dict[str, Any]:
    """Write ``output_dir/{train,dev,test}``; returns what ``queen.json`` holds.

    With ``train_minutes`` also ``train_<N>min``, a part of ``train``. Paths in
    ``wav.scp`` start with ``downloads`` as given.
    """
    data = obtain(downloads, source, url)
    used, dropped = collect(data, read_table(data), downloads / PACKAGE)
    sets = split(used)
    if train_minutes:
        part = first_minutes(sets["train"], train_minutes)
        sets[f"train_{train_minutes}min"] = part
    utts = {name: [u.utt for u in utterances] for name, utterances in sets.items()}
    check_sets(output_dir, "queen.json", utts)
    summary = {
        "sets": {name: _figures(utterances) for name, utterances in sets.items()},
        "left_out": dict(sorted(dropped.items())),
    }
    _show(summary)
    text = json.dumps(summary, indent=1)
    write_lines(output_dir / "queen.json", text.splitlines())
    for name, utterances in sets.items():
        lists = {
            "wav.scp": {u.utt: u.wav.as_posix() for u in utterances},
            "text": {u.utt: u.text for u in utterances},
            "utt2spk": {u.utt: u.speaker for u in utterances},
        }
        write_dir(output_dir / name, lists)
    return summary


def _figures(utterances: Sequence[Utterance]) -> dict[str, Any]:
    hours: dict[str, float] = {}
    for utterance in utterances:
        before = hours.get(utterance.speaker, 0.0)
        hours[utterance.speaker] = before + utterance.seconds / 3600
    return {
        "utterances": len(utterances),
        "characters": sum(len(u.text) for u in utterances),
        "hours": round(sum(hours.values()), 3),
        "hours_of_speaker": {name: round(hours[name], 3) for name in sorted(hours)},
    }


def _show(summary: Mapping[str, Any]) -> None:
    hours: dict[str, list[str]] = {}
    for name, has in summary["sets"].items():
        figures = f"{has['utterances']} utterances, {has['characters']} characters"
        logging.info("%s: %s, %.2f h", name, figures, has["hours"])
        for speaker, of_speaker in has["hours_of_speaker"].items():
            hours.setdefault(speaker, []).append(f"{name} {of_speaker:.3f}")
    for speaker in sorted(hours):
        logging.info("hours of %s: %s", speaker, ", ".join(hours[speaker]))
    for reason, n in summary["left_out"].items():
        logging.info("left out: %d lines, %s", n, reason)


main = script(
    prepare,
    f"Prepare the voices of {PACKAGE}.",
    path("--downloads", "package, or the game's sound", default=Path("downloads")),
    source("local", "apt", "http"),
    option("--url", "the package, for --source http", URL),
    option("--train_minutes", "also make data/train_<N>min, a part of data/train", 0),
)

if __name__ == "__main__":
    main()
