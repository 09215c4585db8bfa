"""Switchboard-1 and eval2000 (Hub5 2000): from the corpora to data directories.

    python3 local/prepare_swbd.py --help

Three steps: ``write_lists`` finds and checks everything without reading audio,
``convert`` makes FLAC files of 16 kHz (in shards, resumable), ``write_sets`` writes
``data/<set>``. No Kaldi, no pipes, nothing is fetched, and Fisher is not needed. The
training transcripts are Mississippi State University's; the text of eval2000 is what
ESPnet's recipe shows models and not what is scored: published word error rates come
from the STM and GLM files (``score_hub5.py``).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_topdown.cli.parser import SHARDS, STEP, flag, option, script
from espnet_topdown.data import audio, sphere
from espnet_topdown.data.kaldi_dir import (
    c_sorted,
    check_sets,
    read_lines,
    read_pairs,
    refuse_or_warn,
    write_dir,
    write_lines,
    write_pairs,
)
from espnet_topdown.errors import DATA, MISSING, USAGE, TopDownError, warn
from espnet_topdown.files import read_json, write_json

IGNORED = "IGNORE_TIME_SEGMENT_"
_LABEL = re.compile(r';;\s*LABEL\s+"([^"]*)"', re.IGNORECASE)
_STM_ASIDE = re.compile(r"<[BE]_ASIDE>", re.IGNORECASE)
SHOWN = 3  # examples in a message


@dataclass(frozen=True)
class Segment:
    """Something that one side of a conversation says; times in seconds.

    ``where`` is file and line, for messages; ``text`` is as written.
    """

    file: str
    side: str
    start: float
    end: float
    where: str
    text: str = ""

    @property
    def recording(self) -> str:
        """The side of the conversation."""
        return f"{self.file}-{self.side}"

    @property
    def utt(self) -> str:
        """The utterance id; hundredths of a second, cut off and not rounded.

        >>> Segment("en_4001", "A", 1.15, 2.5, "").utt
        'en_4001-A_000114-000250'
        """
        times = f"{int(self.start * 100):06d}-{int(self.end * 100):06d}"
        return f"{self.recording}_{times}"


def read_pem(path: Path) -> list[Segment]:
    """``file side speaker start end`` lines, sorted by side and time.

    Raises:
        TopDownError: E_PEM for a line that is not so, or whose end is not after its
            start. Segments that overlap are a warning.
    """
    found = []
    for where, line in _content(path):
        words = line.split()
        if len(words) != 5:
            what = f"{where}: {len(words)} words, not 5"
            raise TopDownError("E_PEM", what, "correct the line", DATA)
        found.append(_segment(words, where, "E_PEM"))
    return _in_order(found, path)


def read_stm(path: Path) -> list[Segment]:
    """Segments with text and without those that are not scored.

    Raises:
        TopDownError: E_STM for a line that is not ``file side speaker start end
            <labels> words...``; E_STM_LABEL for a label that the head of the file does
            not declare (sclite stops at it); E_STM_TEXT for parentheses that csrfilt
            cannot read.
    """
    declared, found = set(), []
    for line in read_lines(path):
        if match := _LABEL.match(line):
            declared.add(match.group(1).lower())
    for where, line in _content(path):
        words = line.split(None, 6)
        if len(words) < 6 or not re.fullmatch(r"<.*>", words[5]):
            what = f"{where}: not 'file side speaker start end <labels> words'"
            raise TopDownError("E_STM", what, "correct the line", DATA)
        for label in words[5][1:-1].split(","):
            if label.lower() not in declared:
                what = f"{where}: label '{label}' is not declared at the head"
                do = f'add the line \';; LABEL "{label}" "{label}" "{label}"\''
                raise TopDownError("E_STM_LABEL", what, do, DATA)
        text = words[6].strip() if len(words) > 6 else ""
        check_parentheses(text, where)
        if IGNORED not in text:
            found.append(_segment(words, where, "E_STM", text))
    return _in_order(found, path)


def check_parentheses(text: str, where: str) -> None:
    """E_STM_TEXT for a ``))`` that is left when ``((`` is mended."""
    if "))" in mended(text):
        what = f"{where}: '))' cannot be read by csrfilt"
        do = "write '(' and ')' once each"
        raise TopDownError("E_STM_TEXT", what, do, DATA)


def mended(line: str) -> str:
    """A line as it is scored: a doubled parenthesis mended, marks of asides gone.

    >>> mended("((TH-) YEAH <B_ASIDE> NOT")
    '(TH-) YEAH  NOT'
    """
    return _STM_ASIDE.sub("", line.replace("((", "(", 1))


def mended_stm(path: Path) -> list[str]:
    """All lines of an STM file as it is scored; comments stay."""
    return [
        line if line.startswith(";;") else mended(line) for line in read_lines(path)
    ]


def only_sides(lines: Iterable[str], sides: set[str]) -> list[str]:
    """The lines of an STM file for some sides, ``en_4001-A``; comments stay."""
    return [
        line
        for line in lines
        if line.startswith(";;") or "-".join(line.split(None, 2)[:2]) in sides
    ]


def check_glm(path: Path) -> list[str]:
    """The lines of a GLM file; E_GLM unless the first is a comment."""
    lines = read_lines(path)
    if not lines or not lines[0].startswith(";;"):
        what = f"{path} line 1 is no comment, so csrfilt would not read the file"
        do = "put a line ';;' before it"
        raise TopDownError("E_GLM", what, do, DATA)
    return lines


def compare(pem: Iterable[Segment], stm: Iterable[Segment], ignored: set[str]) -> None:
    """E_STM_PEM unless both hold the same segments.

    Args:
        pem: Segments of the PEM file.
        stm: Segments of the STM file.
        ignored: Utterances of the STM file that are not scored; PEM may have them.
    """
    ours, theirs = ({s.utt: s for s in segments} for segments in (pem, stm))
    for one, other, name in ((ours, theirs, "STM"), (theirs, ours, "PEM")):
        only = [s for u, s in one.items() if u not in other and u not in ignored]
        if only:
            what = f"{len(only)} segments are not in the {name} file, e.g. "
            what += "; ".join(f"{s.utt} ({s.where})" for s in only[:SHOWN])
            do = "take both files from the same release of the corpus"
            raise TopDownError("E_STM_PEM", what, do, DATA)


def ignored_utts(path: Path) -> set[str]:
    """The utterances of an STM file that are not scored."""
    found = set()
    for where, line in _content(path):
        words = line.split(None, 6)
        if len(words) > 6 and IGNORED in words[6]:
            found.add(_segment(words, where, "E_STM").utt)
    return found


def _content(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_lines(path), 1):
        if line.strip() and not line.startswith(";;"):
            yield f"{path} line {number}", line


def _segment(words: Sequence[str], where: str, code: str, text: str = "") -> Segment:
    try:
        start, end = float(words[3]), float(words[4])
    except ValueError:
        what = f"{where}: '{words[3]} {words[4]}' are not two times in seconds"
        raise TopDownError(code, what, "correct the line", DATA) from None
    if not 0 <= start < end < 1e6:
        what = f"{where}: from {start} s to {end} s"
        raise TopDownError(code, what, "make the end come after the start", DATA)
    return Segment(words[0], words[1], start, end, where, text)


def _in_order(segments: list[Segment], path: Path) -> list[Segment]:
    """Sorted; says which overlap, and refuses the same segment twice."""
    found = sorted(segments, key=lambda s: (s.recording, s.start, s.end))
    late = []
    for a, b in zip(found, found[1:]):
        if a.utt == b.utt:
            what = f"{a.utt} is twice: {a.where} and {b.where}"
            raise TopDownError("E_STM_PEM", what, "delete one of the lines", DATA)
        if a.recording == b.recording and b.start < a.end:
            late.append(b)
    if late:
        what = f"{path}: {len(late)} segments begin before the last one of their side "
        what += f"ends, e.g. {', '.join(s.where for s in late[:SHOWN])}"
        warn("W_SEGMENTS", what + ": used as they are")
    return found


_LINE = re.compile(r"sw(\d{4}[AB])-ms98-a-\d+\s+(\S+)\s+(\S+)\s*(.*)")
OVERLAP = 1  # hundredths of a second that rounding may cause


@dataclass(frozen=True)
class Line:
    """Times in hundredths of a second; words as written."""

    start: int
    end: int
    words: str


def read_transcript(
    path: Path, side: str, problems: list[tuple[str, str]]
) -> Iterator[Line]:
    """The lines of a side such as ``2001A``, those that are wrong left out.

    What is wrong goes to ``problems`` as code and text: E_SWBD_LINE for a line that is
    not ``id start end words``, E_SWBD_TIMES for times that are not in order.
    """
    last = 0
    for number, text in enumerate(read_lines(path), 1):
        if not text.strip():
            continue
        where = f"{path} line {number}"
        found = _LINE.fullmatch(text.strip())
        times = _times(found.group(2), found.group(3)) if found else None
        if found is None or times is None:
            problems.append(("E_SWBD_LINE", f"{where} is not 'id start end words'"))
        elif found.group(1) != side:
            what = f"{where} belongs to {found.group(1)}, not {side}"
            problems.append(("E_SWBD_LINE", what))
        elif times[1] <= times[0]:
            if "[silence]" not in found.group(4).lower():
                what = (
                    f"{where}: ends at {times[1] / 100} s, begins at {times[0] / 100}"
                )
                problems.append(("E_SWBD_TIMES", what))
        elif times[0] < last - OVERLAP:
            what = f"{where}: begins at {times[0] / 100} s, before the last one's end "
            what += f"({last / 100} s)"
            problems.append(("E_SWBD_TIMES", what))
        else:
            last = times[1]
            yield Line(*times, found.group(4))


def _times(start: str, end: str) -> tuple[int, int] | None:
    """Rounded to hundredths of a second; None where these are no times."""
    try:
        a, b = int(100 * float(start) + 0.5), int(100 * float(end) + 0.5)
    except (ValueError, OverflowError):
        return None
    return (a, b) if a >= 0 else None


_SILENCE = re.compile(r"\s\[silence\](?=\s|$)", re.IGNORECASE)
_ASIDE = re.compile(r"</?[be]_aside>", re.IGNORECASE)
# One after the other, each on what the last one left.
_WORD_RULES = [
    (re.compile(pattern, re.IGNORECASE), new)
    for pattern, new in (
        (r"^\[laughter-(.+)\](-?)$", r"\1\2"),  # laughed while speaking
        (r"^\[(.+)/.+\](-?)$", r"\1\2"),  # said, not what was meant
        (r"^-?\[[^][]+\](.+)$", r"-\1"),  # the start was not spoken
        (r"^(.+)\[[^][]+\]-?$", r"\1-"),  # the end was not spoken
        (r"([^][]+)\[.+\]$", r"\1"),
        (r"^\{(.+)\}$", r"\1"),  # a word of the speaker's own
        (r"[a-z]\[([^][])+\][a-z]", r"\1-"),  # the middle: published data are so
        (r"_\d$", ""),  # a variant of the pronunciation
    )
]
# Letter names as the dictionary writes them, for letters that it has no entry for.
_NAMES = """A ey, B b iy, C s iy, D d iy, E iy, F eh f, G jh iy, H ey ch, I ay, J jh ey,
K k ey, L eh l, M eh m, N eh n, O ow, P p iy, Q k y uw, R aa r, S eh s, T t iy, U y uw,
V v iy, W d ah b ax l y uw, X eh k s, Y w ay, Z z iy"""
LETTERS = {name.strip()[0]: name.strip()[2:] for name in _NAMES.split(",")}
# Acronyms that the dictionary spells wrongly.
MISSPELT = ("NAACP", "NIT", "NTSC")


def clean_transcript(text: str) -> str:
    """The words of a transcript line, silences and marks of asides taken out.

    >>> clean_transcript("[silence] them_1 {alrighty} <b_aside> hold [laughter-on]")
    'them alrighty hold on'
    """
    kept = _ASIDE.sub("", _SILENCE.sub("", f" {text}"))
    return " ".join(map_word(word) for word in kept.split())


def map_word(word: str) -> str:
    """One word without the transcribers' brackets.

    >>> map_word("[laughter-w[ould]-]"), map_word("[it'n/isn't]"), map_word("[noise]")
    ('w-', "it'n", '[noise]')
    """
    for pattern, new in _WORD_RULES:
        word = pattern.sub(new, word, count=1)
    return word


def read_acronyms(lines: Iterable[str]) -> dict[str, str]:
    """Acronym -> how it is written, from the lines of the pronouncing dictionary.

    An acronym is a word of letters, perhaps with ``s`` or ``'s``, that is pronounced as
    the names of its letters.

    >>> read_acronyms(["MTV eh m t iy v iy", "TVs t iy v iy z", "them dh eh m"])["TVs"]
    't._v.s'
    """
    said: dict[str, set[str]] = {}
    for line in lines:
        word, *phones = line.split() or ["#"]
        if not word.startswith("#") and phones:
            said.setdefault(word, set()).add(" ".join(phones))
    names = {letter: {name} for letter, name in LETTERS.items()}
    names.update({w: p for w, p in said.items() if re.fullmatch("[A-Z]", w)})
    found = {letter: f"{letter.lower()}." for letter in names}
    for word in MISSPELT:
        found[word] = dotted(word)
    for word, ways in said.items():
        if re.fullmatch(r"[A-Za-z]+('?s)?", word):
            for spoken in ways:
                found.update(_acronym(word, spoken, names))
    return found


def _acronym(word: str, spoken: str, names: Mapping[str, set[str]]) -> dict[str, str]:
    stem, end = word, ""
    if word.endswith("s"):
        if spoken[-2:] not in (" s", " z"):
            return {}
        stem, end = (word[:-2], "'s") if word.endswith("'s") else (word[:-1], "s")
        spoken = spoken[:-2]
    rests = {spoken}
    for letter in stem.upper():
        rests = {
            rest[len(name) :].lstrip()
            for rest in rests
            for name in names[letter]
            if rest == name or rest.startswith(f"{name} ")
        }
    return {word: dotted(stem) + end} if "" in rests and stem else {}


def dotted(letters: str) -> str:
    """As acronyms are written.

    >>> dotted("IBM")
    'i._b._m.'
    """
    return "._".join(letters.lower()) + "."


def write_acronyms(text: str, acronyms: Mapping[str, str]) -> str:
    """A text in lower case, with dots in acronyms and in single letters.

    ``I`` is the letter only beside another single capital.

    >>> write_acronyms("i watch MTV", {"MTV": "m._t._v."})
    'i watch m._t._v.'
    """
    words = text.split()
    single = [len(w) == 1 and "A" <= w <= "Z" for w in words]
    out = []
    for i, word in enumerate(words):
        alone = word == "I" and not any(
            single[max(i - 1, 0) : i] + single[i + 1 : i + 2]
        )
        out.append(word if alone or word == "i" else acronyms.get(word, word))
    return " ".join(out).lower()


def undotted(text: str) -> str:
    """Acronyms as letters between blanks, as models are trained.

    >>> undotted("m._t._v. and t._v.s them_1")
    'm t v and t vs them'
    """
    return text.replace("._", " ").replace(".", "").replace("them_1", "them")


class Repetitions:
    """Chooses which of many equal sentences stay: the published training set.

    A sentence that occurs ``limit`` times or more is kept with a chance of
    ``limit`` / occurrences, by a generator that is the same everywhere.
    """

    def __init__(self, limit: int = 300) -> None:
        self.limit, self.state = limit, 0

    def keep(self, texts: Mapping[str, str]) -> list[str]:
        """The utterances that stay, in the order of ``texts``."""
        counts: dict[str, int] = {}
        for text in texts.values():
            key = " ".join(text.split())
            counts[key] = counts.get(key, 0) + 1
        return [
            utt
            for utt, text in texts.items()
            if self._stays(counts[" ".join(text.split())])
        ]

    def _stays(self, n: int) -> bool:
        if n < self.limit:
            return True
        self.state = (self.state + 103349) % 71147
        return self.state / 71147 < self.limit / n


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


SOURCE_RATE, RATE = 8000, 16000
SIDES = "AB"


def flac_path(output_dir: Path, recording: str) -> Path:
    """Where a side's audio is: a folder for each hundred conversations."""
    return Path(output_dir) / "flac" / recording[:5] / f"{recording}.flac"


def seconds(path: Path) -> float:
    """Length of a FLAC file; 0 for one that is missing or damaged."""
    import soundfile

    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError, OSError):
        return 0.0
    return info.frames / info.samplerate


def convert(sounds: Path, output_dir: Path, nj: int = 1, job: int | None = None) -> int:
    """Convert shard ``job`` of ``nj`` (from 1), or all; see ``convert_files``.

    ``sounds`` holds lines ``conversation path``.
    """

    def one(name: str, source: Path) -> bool:
        return _one(source, name, output_dir)

    return audio.convert_files(read_pairs(sounds), one, "E_SWBD_CONVERT", nj, job)


def _one(source: Path, name: str, output_dir: Path) -> bool:
    """Convert a file unless both its sides are there; whether it was done now."""
    import soundfile

    targets = [flac_path(output_dir, f"{name}-{side}") for side in SIDES]
    header = sphere.read_header(source)
    channels = header.count("channel_count", 1)
    rate = header.count("sample_rate")
    if channels != len(SIDES) or rate != SOURCE_RATE:
        what = f"{source}: {channels} channels at {rate} Hz"
        do = f"check that it is a file of this corpus (2 channels, {SOURCE_RATE} Hz)"
        raise TopDownError("E_WAV_RATE", what, do, DATA)
    frames = (source.stat().st_size - header.size) // channels  # one byte a sample
    plain = not header.packing and header.coding == "ulaw"
    frames = frames if plain else 0
    if frames and all(abs(seconds(t) - frames / rate) < 0.001 for t in targets):
        return False
    samples, rate = sphere.read(source)
    if len(samples) < frames:  # the header counts too few: the file's size is right
        samples, rate = soundfile.read(str(source), dtype="int16", always_2d=True)
    for channel, target in enumerate(targets):
        wide = audio.resample(samples[:, channel], rate, RATE)
        audio.write(target, wide, RATE, "flac")
    return True


EVAL_SIDES, EVAL_SEGMENTS = 80, 4459  # of the whole set; segments that are scored
MARGIN = 0.1  # seconds that segments are extended by
_HESITATION = re.compile(r" \(%[^)]*\)")
_MARK = re.compile(r" <.*>")


@dataclass(frozen=True)
class Reference:
    """What the two text discs say: segments of audio, text, and the scoring files."""

    segments: dict[str, tuple[str, float, float]]  # utt -> recording, start, end
    text: dict[str, str]
    stm: list[str]
    glm: list[str]
    scored: int

    def problems(self, sides: int) -> list[tuple[str, str]]:
        """What is not as in the whole corpus: code and text."""
        found = []
        for have, want, what in (
            (sides, EVAL_SIDES, "sides with audio"),
            (self.scored, EVAL_SEGMENTS, "scored segments"),
        ):
            if have != want:
                found.append(
                    ("E_EVAL2000_COUNT", f"eval2000 has {have} {what}, not {want}")
                )
        return found


def read_reference(pem: Path, stm: Path, glm: Path) -> Reference:
    """Read and compare the three files.

    Raises:
        TopDownError: E_PEM, E_STM, E_STM_LABEL, E_STM_TEXT, E_STM_PEM or E_GLM, with
            file and line.
    """
    rules = check_glm(glm)
    said = read_stm(stm)
    parts = read_pem(pem)
    ignored = ignored_utts(stm)
    compare(parts, said, ignored)
    times = extend(parts)
    text = {s.utt: clean_reference(s.text) for s in said}
    text = {utt: words for utt, words in text.items() if words}
    return Reference(
        segments={u: times[u] for u in text},
        text=text,
        stm=mended_stm(stm),
        glm=rules,
        scored=len(said),
    )


def extend(segments: Sequence[Segment]) -> dict[str, tuple[str, float, float]]:
    """Segments with some sound before and after them, by utterance.

    Both sides get 0.1 s, or half of the gap to a neighbour that is nearer than 0.2 s;
    where neighbours overlap, nothing changes between them.

    >>> a = Segment("f", "A", 0.05, 1.0, ""); b = Segment("f", "A", 1.1, 2.0, "")
    >>> [times[1:] for times in extend([a, b]).values()]
    [(0.0, 1.05), (1.05, 2.1)]
    """
    found = {}
    for i, s in enumerate(segments):
        before, after = MARGIN, MARGIN
        if i > 0 and segments[i - 1].recording == s.recording:
            before = _share(s.start - segments[i - 1].end)
        if i + 1 < len(segments) and segments[i + 1].recording == s.recording:
            after = _share(segments[i + 1].start - s.end)
        start, end = max(s.start - before, 0.0), s.end + after
        found[s.utt] = (s.recording, round(start, 4), round(end, 4))
    return found


def _share(gap: float) -> float:
    return 0.0 if gap < 0 else min(MARGIN, gap / 2)


def clean_reference(text: str) -> str:
    """What models are compared with while they are developed.

    >>> clean_reference("UM-HUM (%UH) I CAN'T (%UM) SAY")
    "um-hum i can't say"
    """
    text = _MARK.sub("", _HESITATION.sub("", f" {text.lower()}"))
    return " ".join(text.replace("(", "").replace(")", "").split())


CONVERSATIONS = (2435, 2438)  # the two counts that complete copies have
DEV = 4000  # utterances, the first of all
REPEATED = 300  # so often a sentence may occur in the training set
SCRATCH = Path("local") / "swbd"
SETS = ("train_nodup", "train_dev", "eval2000")


@dataclass
class Corpus:
    """What was found; utterance -> recording, start and end in seconds; text."""

    segments: dict[str, tuple[str, float, float]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    sounds: dict[str, Path] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)


def run(
    swbd: str = "",
    output_dir: Path = Path("data"),
    allow_partial: bool = False,
    step: str = "all",
    nj: int = 1,
    job: int | None = None,
) -> None:
    """One step, one shard of the step ``convert``, or everything."""
    if job is not None and step != "convert":
        do = "give --step convert with --job"
        raise TopDownError("E_USAGE", f"--job with --step {step}", do, USAGE)
    out = Path(output_dir)
    if step in ("lists", "all"):
        write_lists(swbd, out, allow_partial)
    if step in ("convert", "all"):
        convert(out / SCRATCH / "sounds", out, nj, job)
    if step in ("sets", "all"):
        write_sets(out)


def write_lists(swbd: str, output_dir: Path, allow_partial: bool = False) -> None:
    """Find and check everything but audio; write lists below ``local/swbd``.

    Raises:
        TopDownError: E_SWBD_ROOT, E_SWBD_TRANSCRIPTS and what ``read_reference``
            raises; and E_SWBD_AUDIO, E_SWBD_SIDE, E_SWBD_TIMES, E_SWBD_LINE or
            E_EVAL2000_COUNT, which are warnings with ``allow_partial``; E_CREATE for
            sets that are not of this corpus.
    """
    discs = scan(swbd)
    pem, stm, glm = (discs.reference[name] for name in eval2000_files(discs))
    reference = read_reference(pem, stm, glm)
    corpus = collect(discs)
    corpus.problems += reference.problems(2 * len(discs.eval_audio))
    known = {f"{name}-{side}" for name in discs.eval_audio for side in "AB"}
    cuts = {u: c for u, c in reference.segments.items() if c[0] in known}
    corpus.problems += _no_eval_audio(reference.segments, known)
    refuse_or_warn(corpus.problems, allow_partial)
    recordings = {cut[0] for cut in corpus.segments.values()}
    sets = {"train_nodup": recordings, "train_dev": recordings, "eval2000": known}
    others = ["eval2000/stm", "eval2000/glm"]
    check_sets(output_dir, SCRATCH / "lists.json", sets, others)
    scratch = Path(output_dir) / SCRATCH
    sounds = {**corpus.sounds, **discs.eval_audio}
    write_pairs(scratch / "sounds", {k: p.as_posix() for k, p in sounds.items()})
    _write_part(scratch / "train", corpus.segments, corpus.texts)
    _write_part(scratch / "eval2000", cuts, {u: reference.text[u] for u in cuts})
    write_lines(scratch / "eval2000" / "stm", only_sides(reference.stm, known))
    write_lines(scratch / "eval2000" / "glm", reference.glm)
    write_json(scratch / "lists.json", {"schema": 1, "partial": allow_partial})
    logging.info(
        "%d conversations, %d utterances; eval2000: %d conversations, %d utterances",
        len(corpus.sounds),
        len(corpus.texts),
        len(discs.eval_audio),
        len(cuts),
    )


def eval2000_files(discs: Discs) -> list[str]:
    """Names of the PEM, STM and GLM files, in this order."""
    return sorted(discs.reference, key=lambda n: ("pem", "stm", "glm").index(n[-3:]))


def _no_eval_audio(
    segments: dict[str, tuple[str, float, float]], known: set[str]
) -> list[tuple[str, str]]:
    missing = sorted({cut[0] for cut in segments.values()} - known)
    if not missing:
        return []
    what = f"eval2000: no audio for {len(missing)} sides, e.g. "
    return [("E_SWBD_AUDIO", what + ", ".join(missing[:SHOWN]))]


def collect(discs: Discs) -> Corpus:
    """Pair audio with transcripts, and read these."""
    corpus = Corpus()
    acronyms = read_acronyms(read_lines(discs.dictionary or Path()))
    talked = {side[:4] for side in discs.transcripts}
    complete = len(discs.audio) in CONVERSATIONS
    _compare(discs, talked, complete, corpus)
    for side in sorted(discs.transcripts):
        if side[:4] not in discs.audio:
            continue
        recording = f"sw0{side[:4]}-{side[4]}"
        corpus.sounds[f"sw0{side[:4]}"] = discs.audio[side[:4]]
        path = discs.transcripts[side]
        for line in read_transcript(path, side, corpus.problems):
            if words := clean_transcript(line.words):
                utt = f"{recording}_{line.start:06d}-{line.end:06d}"
                corpus.texts[utt] = write_acronyms(words, acronyms)
                corpus.segments[utt] = (recording, line.start / 100, line.end / 100)
    return corpus


def _compare(discs: Discs, talked: set[str], complete: bool, corpus: Corpus) -> None:
    """Conversations, and sides of them, that only audio or only text has."""
    silent = sorted(talked - set(discs.audio))
    if silent:
        what = f"transcripts of {len(silent)} conversations without audio, e.g. "
        what += ", ".join(str(discs.transcripts[_first(c, discs)]) for c in silent[:1])
        if complete and len(silent) <= CONVERSATIONS[1] - CONVERSATIONS[0]:
            warn("W_SWBD_AUDIO", f"{what}: known from complete copies")
        else:
            corpus.problems.append(("E_SWBD_AUDIO", what))
    lost = sorted(set(discs.audio) - talked)
    if lost:
        what = f"no transcript for {len(lost)} conversations, e.g. "
        what += str(discs.audio[lost[0]])
        corpus.problems.append(("E_SWBD_TEXT", what))
    sides = [f"{c}{s}" for c in sorted(talked) for s in "AB"]
    one = [s for s in sides if s not in discs.transcripts]
    if one:
        other = discs.transcripts[_first(one[0][:4], discs)]
        what = f"no transcript for {len(one)} sides, e.g. {one[0]} beside {other}"
        corpus.problems.append(("E_SWBD_SIDE", what))
    if not complete:
        what = f"{len(discs.audio)} conversations with audio, not "
        what += " or ".join(map(str, CONVERSATIONS))
        corpus.problems.append(("E_SWBD_COUNT", what))


def _first(conversation: str, discs: Discs) -> str:
    return next(s for s in sorted(discs.transcripts) if s[:4] == conversation)


def _write_part(
    folder: Path, segments: dict[str, tuple[str, float, float]], texts: dict[str, str]
) -> None:
    cuts = {u: f"{r} {start:.6g} {end:.6g}" for u, (r, start, end) in segments.items()}
    if folder.name == "eval2000":
        cuts = {u: f"{r} {a:.2f} {b:.2f}" for u, (r, a, b) in segments.items()}
    write_pairs(folder / "segments", cuts)
    write_pairs(folder / "text", texts)


def write_sets(output_dir: Path) -> None:
    """Write ``<set>/{wav.scp,segments,text,utt2spk,spk2utt}``, ``eval2000/{stm,glm}``.

    The validation set is the first 4,000 utterances by id, the training set what is
    left of the others when sentences that are said very often are thinned out.
    """
    out = Path(output_dir)
    scratch = out / SCRATCH
    partial = read_json(scratch / "lists.json")["partial"]
    cuts = read_pairs(scratch / "train" / "segments")
    texts = read_pairs(scratch / "train" / "text")
    utts = c_sorted(texts)
    dev = _dev_size(len(utts), partial)
    kept = Repetitions(REPEATED).keep({u: texts[u] for u in utts[dev:]})
    sets = {
        "train_nodup": {u: undotted(texts[u]) for u in kept},
        "train_dev": {u: undotted(texts[u]) for u in utts[:dev]},
        "eval2000": read_pairs(scratch / "eval2000" / "text"),
    }
    cuts.update(read_pairs(scratch / "eval2000" / "segments"))
    lengths = _lengths(
        out, {cuts[u].split()[0] for text in sets.values() for u in text}
    )
    for name, text in sets.items():
        _check_ends(name, {u: cuts[u] for u in text}, lengths)
        speakers = {u: cuts[u].split()[0] for u in text}
        wavs = {r: flac_path(out, r).as_posix() for r in set(speakers.values())}
        lists = {"wav.scp": wavs, "segments": {u: cuts[u] for u in text}}
        write_dir(out / name, {**lists, "text": text, "utt2spk": speakers})
        logging.info("%s: %d utterances", name, len(text))
    for name in ("stm", "glm"):
        lines = read_lines(scratch / "eval2000" / name)
        write_lines(out / "eval2000" / name, lines, backup=True)


def _dev_size(n: int, partial: bool) -> int:
    if n > 2 * DEV:
        return DEV
    if not partial:
        what = f"{n} utterances in all, the first {DEV} are the validation set"
        do = (
            "complete the corpora, or give --allow_partial true"
            ' (of a recipe: --local_data_opts "--allow_partial true")'
        )
        raise TopDownError("E_SWBD_COUNT", what, do, DATA)
    warn("W_SWBD_COUNT", f"{n} utterances in all: the first tenth validates")
    return max(1, n // 10)


def _lengths(output_dir: Path, recordings: Iterable[str]) -> dict[str, float]:
    """Seconds of each converted recording."""
    found = {r: seconds(flac_path(output_dir, r)) for r in sorted(recordings)}
    lacking = [r for r, length in found.items() if not length]
    if lacking:
        what = f"{len(lacking)} recordings are not converted, e.g. "
        what += ", ".join(lacking[:SHOWN])
        raise TopDownError("E_SWBD_CONVERT", what, "run stage 1 again", DATA)
    return found


def _check_ends(name: str, cuts: dict[str, str], lengths: dict[str, float]) -> None:
    """Refuse segments that begin where the audio has ended."""
    behind = []
    for utt, cut in cuts.items():
        recording, start, _ = cut.split()
        if float(start) >= lengths[recording]:
            behind.append(f"{utt} (audio ends at {lengths[recording]:.2f} s)")
    if behind:
        what = f"{name}: {len(behind)} segments begin behind the audio's end, e.g. "
        what += "; ".join(behind[:SHOWN])
        do = "compare audio and transcripts: they are not of the same conversation"
        raise TopDownError("E_SWBD_TIMES", what, do, DATA)


main = script(
    run,
    "Prepare Switchboard and eval2000.",
    option("--swbd", "folder with the three corpora", ""),
    flag("--allow_partial", "prepare what is there of an incomplete copy"),
    STEP,
    *SHARDS,
)

if __name__ == "__main__":
    main()
