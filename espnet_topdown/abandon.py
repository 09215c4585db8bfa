"""End a training early: one that trails the model it has to beat, or pauses at a rung.

Off by default. The retraining's best validation value so far is compared with that of
the accepted model at the same epoch of its own training; the model that results is
scored like any other, so a wrong guess can cost quality but never a wrong number.
A rung (see ``halving``) is an epoch after which a training waits to be continued.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json, write_json

if TYPE_CHECKING:
    from espnet_topdown.models.experiment import Criterion, Experiment

RULE, MARK, RUNG = "abandon.json", "abandoned.json", "rung.json"


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


def may_stop(folder: Path) -> bool:
    """Whether a training there has to ask after each epoch."""
    return any((Path(folder) / name).is_file() for name in (RULE, RUNG))


def should_stop(folder: Path, stats: Mapping[int, Mapping[str, Any]]) -> str:
    """Why a training is to end after this epoch, "" if it is not.

    Leaves a mark when it is given up; one that has reached its rung only waits there.

    Args:
        folder: of the job; without a rule there nothing is ever given up.
        stats: epoch -> phase -> key -> value, as the trainer's reporter has them.
    """
    if (Path(folder) / RULE).is_file() and _trails(Path(folder), stats):
        return "it trails the model it has to beat"
    if 0 < rung_of(folder) <= max(map(int, stats), default=0):
        return "it waits at its rung, to be continued or not"
    return ""


def _trails(folder: Path, stats: Mapping[int, Mapping[str, Any]]) -> bool:
    """Ask the rule there; leaves the mark."""
    told = read_json(folder / RULE)
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
    give_up(folder, last, own[last], key, accepted=other[known])
    return True


def give_up(
    folder: Path, epoch: int, value: float | None, key: str, **because: Any
) -> None:
    """Mark a training as ended after an epoch, short of its goal."""
    told = {"epoch": epoch, "value": value, **because, "key": key}
    write_json(Path(folder) / MARK, told)


def abandoned(folder: Path) -> int:
    """The epoch after which a training was given up, 0 if it was not."""
    path = Path(folder) / MARK
    return int(read_json(path)["epoch"]) if path.is_file() else 0


def stopped_before(folder: Path) -> bool:
    """Whether a comparison at a rung has ended this training."""
    path = Path(folder) / MARK
    return path.is_file() and "rung" in read_json(path)


def set_rung(folder: Path, epoch: int) -> None:
    """Let a prepared job pause after an epoch; 0: never."""
    write_json(Path(folder) / RUNG, {"epoch": epoch})


def rung_of(folder: Path) -> int:
    """The epoch after which a training pauses, 0 if it does not."""
    path = Path(folder) / RUNG
    return int(read_json(path)["epoch"]) if path.is_file() else 0


def best_so_far(trained: Experiment, criterion: Criterion, epoch: int) -> float:
    """The best value of the epochs up to this one; NaN where there is none."""
    values = [
        phases[criterion.phase][criterion.key]
        for e, phases in trained.stats.items()
        if e <= epoch and criterion.key in phases.get(criterion.phase, {})
    ]
    best = min if criterion.mode == "min" else max
    return best((v for v in values if math.isfinite(v)), default=math.nan)


def went_on(event: Mapping[str, Any]) -> dict[str, float]:
    """Who continued after a comparison, with their values."""
    values, stopped = event["values"], event["stopped"]
    return {n: v for n, v in values.items() if n not in stopped}


def why_stopped(events: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What the journal says about each candidate that a comparison stopped.

    >>> values = {"m1.2": 0.123, "m2.1": 0.14}
    >>> why_stopped([{"event": "rung", "epoch": 10, "key": "valid cer_ctc",
    ...               "values": values, "stopped": ["m2.1"]}])
    {'m2.1': 'stopped at rung 10: valid cer_ctc 0.14, m1.2 with 0.123 went on'}
    """
    found = {}
    for event in events:
        if event.get("event") != "rung":
            continue
        on = [f"{n} with {_shown(v)}" for n, v in went_on(event).items()]
        for node in event["stopped"]:
            value = _shown(event["values"][node])
            what = f"{event['key']} {value}, {', '.join(on)} went on"
            found[node] = f"stopped at rung {event['epoch']}: {what}"
    return found


def _shown(value: float | None) -> str:
    return "NaN" if value is None else f"{value:.4g}"
