"""The lines of a transcript of one side of a Switchboard conversation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.data.kaldi_dir import read_lines

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
