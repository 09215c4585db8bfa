"""The evaluation set eval2000 (Hub5 2000): segments, text, scoring files.

The text is what ESPnet's recipe shows models; it is not what is scored. Published word
error rates come from the STM and GLM files, see ``score/hub5.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.data.stm import (
    Segment,
    check_glm,
    compare,
    ignored_utts,
    mended_stm,
    read_pem,
    read_stm,
)

SIDES, SEGMENTS = 80, 4459  # of the whole set; segments that are scored
PART_SEGMENTS = {"swbd": 1831, "callhm": 2628}
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
            (sides, SIDES, "sides with audio"),
            (self.scored, SEGMENTS, "scored segments"),
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
    text = {s.utt: clean(s.text) for s in said}
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


def clean(text: str) -> str:
    """What models are compared with while they are developed.

    >>> clean("UM-HUM (%UH) I CAN'T (%UM) SAY")
    "um-hum i can't say"
    """
    text = _MARK.sub("", _HESITATION.sub("", f" {text.lower()}"))
    return " ".join(text.replace("(", "").replace(")", "").split())
