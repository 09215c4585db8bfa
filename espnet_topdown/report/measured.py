"""What was decoded for each row of the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_topdown.files import read_json
from espnet_topdown.scoring.counts import Counts
from espnet_topdown.search.rows import Paper, Row, check_count


@dataclass(frozen=True)
class Measured:
    """One row under one decoder: set -> counts and number of utterances."""

    row: Row
    seed: int
    decoder: str
    counts: dict[str, Counts] = field(default_factory=dict)
    utts: dict[str, int] = field(default_factory=dict)


def read_rows(
    paper: Paper, folder: Path, allow_partial: bool = False
) -> list[Measured]:
    """Every row of the paper, as far as it was decoded below ``folder``.

    Raises:
        TopDownError: E_EVAL_SET when a set has not the paper's number of utterances.
    """
    found = []
    for row in paper.rows.values():
        seed = paper.seed(row)
        decodings = sorted((Path(folder) / row.name).glob("decode_*"))
        for place in decodings:
            one = Measured(row, seed, place.name[len("decode_") :])
            for path in sorted(place.rglob("score.json")):
                if path.parent.name in paper.sets:
                    _read_score(one, path, paper, allow_partial)
            if one.counts:
                found.append(one)
        if not any(m.row is row for m in found):
            found.append(Measured(row, seed, ""))
    return found


def _read_score(one: Measured, path: Path, paper: Paper, allow_partial: bool) -> None:
    score, name = read_json(path), path.parent.name
    check_count(name, score["utts"], paper.sets, allow_partial)
    c = score[paper.unit]
    one.counts[name] = Counts(c["ref"], c["corr"], c["sub"], c["del"], c["ins"])
    one.utts[name] = score["utts"]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None for the latter of one value.

    >>> mean_and_deviation([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    squares = sum((v - mean) ** 2 for v in values)
    return mean, math.sqrt(squares / (len(values) - 1))
