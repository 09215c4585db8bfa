"""Early abandon: end a retraining that trails the model it has to beat.

Off by default. The retraining's best validation value so far is compared with that of
the accepted model at the same epoch of its own training; the model that results is
scored like any other, so a wrong guess can cost quality but never a wrong number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_topdown.errors import TopDownError
from espnet_topdown.yaml_io import read_json, write_json

if TYPE_CHECKING:
    from espnet_topdown.experiment import Experiment

RULE, MARK = "abandon.json", "abandoned.json"


@dataclass(frozen=True)
class Rule:
    """When to give up.

    Attributes:
        margin: relative; 0.1 allows a value 10 % worse than the accepted model's.
        grace: epochs in which nothing is given up.
    """

    margin: float
    grace: int

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read ``MARGIN:GRACE``.

        >>> Rule.parse("0.1:5")
        Rule(margin=0.1, grace=5)
        """
        found = re.fullmatch(r"(\d+\.?\d*):(\d+)", text)
        if not found or int(found[2]) < 1:
            what = f"--abandon '{text}' is not MARGIN:GRACE"
            do = "give for example 0.1:5 (10 %, after 5 epochs)"
            raise TopDownError("E_RANGE", what, do)
        return cls(float(found[1]), int(found[2]))

    def trails(
        self, own: Mapping[int, float], other: Mapping[int, float], mode: str = "min"
    ) -> bool:
        """Whether ``own`` is behind ``other``; both hold a value for each epoch.

        >>> Rule(0.1, 2).trails({1: 9, 2: 8}, {1: 5, 2: 4})
        True
        >>> Rule(0.1, 2).trails({1: 9, 2: 4.3}, {1: 5, 2: 4})
        False
        """
        last = max(own, default=0)
        if last < self.grace:
            return False
        best = min if mode == "min" else max
        there = [v for e, v in other.items() if e <= last]
        if not there:
            return False
        mine, theirs = best(own.values()), best(there)
        allowed = self.margin * abs(theirs)
        return mine > theirs + allowed if mode == "min" else mine < theirs - allowed


def write_rule(
    folder: Path,
    rule: Rule,
    criterion: tuple[str, str, str],
    curve: Mapping[int, float],
) -> None:
    """Tell a prepared job whose curve it has to keep up with."""
    curve_ = {str(e): v for e, v in sorted(curve.items())}
    what: dict[str, Any] = {**asdict(rule), "criterion": list(criterion)}
    write_json(Path(folder) / RULE, {**what, "curve": curve_})


def keep_up(folder: Path, option: str, accepted: Experiment) -> None:
    """Give a prepared job the curve of the model that it has to beat."""
    c = accepted.criteria[0]
    curve = {e: s[c.phase][c.key] for e, s in accepted.stats.items()}
    write_rule(folder, Rule.parse(option), (c.phase, c.key, c.mode), curve)


def should_stop(folder: Path, stats: Mapping[int, Mapping[str, Any]]) -> bool:
    """Whether a training is to end after this epoch; leaves a mark if so.

    Args:
        folder: of the job; without a rule there nothing is ever given up.
        stats: epoch -> phase -> key -> value, as the trainer's reporter has them.
    """
    path = Path(folder) / RULE
    if not path.is_file():
        return False
    told = read_json(path)
    phase, key, mode = told["criterion"]
    own = {
        int(e): float(phases[phase][key])
        for e, phases in stats.items()
        if key in phases.get(phase, {})
    }
    other = {int(e): float(v) for e, v in told["curve"].items()}
    if not Rule(told["margin"], told["grace"]).trails(own, other, mode):
        return False
    last = max(own)
    known = max(e for e in other if e <= last)
    write_json(
        Path(folder) / MARK,
        {"epoch": last, "value": own[last], "accepted": other[known], "key": key},
    )
    return True


def abandoned(folder: Path) -> int:
    """The epoch after which a training was given up, 0 if it was not."""
    path = Path(folder) / MARK
    return int(read_json(path)["epoch"]) if path.is_file() else 0
