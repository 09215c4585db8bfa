"""NIST's reference files: STM (segments and text), PEM (segments) and GLM (rules)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.data.kaldi_dir import read_lines
from espnet_topdown.errors import DATA, TopDownError, warn

IGNORED = "IGNORE_TIME_SEGMENT_"
_LABEL = re.compile(r';;\s*LABEL\s+"([^"]*)"', re.IGNORECASE)
_ASIDE = re.compile(r"<[BE]_ASIDE>", re.IGNORECASE)
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
        if label := _LABEL.match(line):
            declared.add(label.group(1).lower())
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
    return _ASIDE.sub("", line.replace("((", "(", 1))


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
