"""Successive halving: a level's candidates train to a rung, only the best go on.

Off by default. A rung is a number of epochs. At each one the best validation values so
far are compared; those that go on continue the same training as if it had never
paused, the others end there and are scored. Nothing is frozen from a stopped model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.abandon import best_so_far, give_up, stopped_before, went_on
from espnet_topdown.errors import TopDownError
from espnet_topdown.jobs.run import is_done
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.records import Journal
from espnet_topdown.search.composition import Composition


@dataclass(frozen=True)
class Halving:
    """When candidates are compared, and how many go on.

    Attributes:
        rungs: epochs, rising; all below the number of epochs of a whole training.
        eta: the best 1/eta go on, rounded up; infinity lets only the best one.
    """

    rungs: tuple[int, ...]
    eta: float

    @classmethod
    def parse(cls, halving: str, proxy: str, epochs: int) -> Halving | None:
        """Read ``--halving ETA:MIN_EPOCHS`` or ``--proxy FRACTION``.

        >>> Halving.parse("2:10", "", 60)
        Halving(rungs=(10, 20, 40), eta=2)
        >>> Halving.parse("", "0.25", 60)
        Halving(rungs=(15,), eta=inf)

        Raises:
            TopDownError: E_RANGE, also for a rung that no training would reach.
        """
        if proxy:
            return _proxy(proxy, epochs)
        if not halving:
            return None
        found = re.fullmatch(r"([1-9]\d{0,3}):([1-9]\d{0,5})", halving)
        if not found or int(found[1]) < 2:
            what = f"--halving '{halving}' is not ETA:MIN_EPOCHS with ETA 2 or more"
            do = "give for example 2:10 (compare after 10, 20, 40.. epochs, half go on)"
            raise TopDownError("E_RANGE", what, do)
        eta, rung = int(found[1]), int(found[2])
        if rung >= epochs:
            raise _too_late(f"--halving {halving}", rung, epochs)
        rungs = [rung]
        while rungs[-1] * eta < epochs:
            rungs.append(rungs[-1] * eta)
        return cls(tuple(rungs), eta)

    def keep(self, n: int) -> int:
        """How many of ``n`` candidates go on from a rung."""
        return max(1, math.ceil(n / self.eta))

    def stopped(
        self, values: Mapping[Composition, float], mode: str
    ) -> list[Composition]:
        """Those that do not go on; of equal ones the first in order does.

        >>> m = Composition.parse
        >>> values = {m("m1.2"): 0.3, m("m2.1"): 0.2, m("m3"): math.nan}
        >>> [str(c) for c in Halving((5,), 3).stopped(values, "min")]
        ['m1.2', 'm3']
        """
        sign = 1 if mode == "min" else -1

        def order(node: Composition) -> tuple[bool, float, Composition]:
            bad = not math.isfinite(values[node])
            return bad, 0.0 if bad else sign * values[node], node

        return sorted(values, key=order)[self.keep(len(values)) :]

    def epochs(self, n: int, whole: int) -> int:
        """What ``n`` candidates take together when none ends by itself.

        >>> Halving((10, 20, 40), 2).epochs(3, 60)  # 3 to 10, 2 to 20, 1 to the end
        90
        """
        total = done = 0
        for rung in self.rungs:
            if n < 2:
                break
            total, done, n = total + n * (rung - done), rung, self.keep(n)
        return total + n * (whole - done)

    def survivors(self, n: int) -> int:
        """How many of ``n`` candidates are trained to their end."""
        for _ in self.rungs:
            n = self.keep(n)
        return n

    def __str__(self) -> str:
        """For example ``rungs at epochs 10, 20: the best half goes on``."""
        after = ", ".join(map(str, self.rungs))
        part = "one" if self.eta == math.inf else f"1/{self.eta}"
        return f"compared after epochs {after}, the best {part} goes on"


def _proxy(text: str, epochs: int) -> Halving:
    found = re.fullmatch(r"0?\.\d+", text)
    if not found or not float(text):
        what = f"--proxy '{text}' is not a fraction between 0 and 1"
        do = "give for example 0.25: compare after a quarter of the epochs"
        raise TopDownError("E_RANGE", what, do)
    rung = max(1, round(float(text) * epochs))
    if rung >= epochs:
        raise _too_late(f"--proxy {text}", rung, epochs)
    return Halving((rung,), math.inf)


def _too_late(option: str, rung: int, epochs: int) -> TopDownError:
    what = f"{option} compares after epoch {rung}, a retraining has {epochs}"
    return TopDownError("E_RANGE", what, "compare earlier, or raise --max_epoch")


class Rungs:
    """The comparisons of one search: from its journal, else from its folders.

    Attributes:
        ended: candidates that a comparison stopped.
    """

    def __init__(
        self, halving: Halving, journal: Journal, events: Iterable[Mapping[str, Any]]
    ) -> None:
        self.halving = halving
        self.journal = journal
        told = [e for e in events if e["event"] == "rung"]
        self._made = {(e["level"], e["epoch"]): e for e in told}
        self.ended = {Composition.parse(n) for e in told for n in e["stopped"]}

    def goals(self, level: Sequence[Composition]) -> dict[Composition, int]:
        """How far the unfinished candidates of a level have to train now.

        What can be decided is decided, written down, and the stopped ones are marked.

        Returns:
            A rung, or 0: to the end. Those that wait at a rung are left out.
        """
        alive, out = sorted(level), []
        for rung in self.halving.rungs:
            if len(alive) < 2:
                break
            event = self._made.get((len(alive[0].parts), rung))
            if event is None:
                late = [c for c in alive if not self._reached(c, rung)]
                if late:
                    return {**dict.fromkeys(late, rung), **self._unfinished(out)}
                if all(self._ended_by_itself(c) for c in alive):
                    break  # there is nothing to save
                event = self._decide(alive, rung)
            lost = [c for c in alive if str(c) in event["stopped"]]
            for node in self._unfinished(lost):
                self._mark(node, event)
            out += lost
            alive = [c for c in alive if c not in lost]
        return self._unfinished([*alive, *out])

    def _unfinished(self, nodes: Iterable[Composition]) -> dict[Composition, int]:
        return {c: 0 for c in nodes if not is_done(self._folder(c))}

    def _ended_by_itself(self, node: Composition) -> bool:
        folder = self._folder(node)
        return is_done(folder) and not stopped_before(folder)

    def _folder(self, node: Composition) -> Path:
        return self.journal.path.parent / str(node)

    def _reached(self, node: Composition, rung: int) -> bool:
        folder = self._folder(node)
        if is_done(folder):
            return True
        if not (folder / "checkpoint.pth").is_file():
            return False
        return Experiment(folder).last_epoch >= rung

    def _decide(self, alive: Sequence[Composition], rung: int) -> Mapping[str, Any]:
        criterion = Experiment(self._folder(alive[0])).criteria[0]
        values = {
            c: best_so_far(Experiment(self._folder(c)), criterion, rung) for c in alive
        }
        lost = self.halving.stopped(values, criterion.mode)
        event = self.journal.append(
            "rung",
            level=len(alive[0].parts),
            epoch=rung,
            key=f"{criterion.phase} {criterion.key}",
            values={str(c): v if math.isfinite(v) else None for c, v in values.items()},
            stopped=[str(c) for c in lost],
        )
        self._made[event["level"], rung] = event
        self.ended |= set(lost)
        return event

    def _mark(self, node: Composition, event: Mapping[str, Any]) -> None:
        folder = self._folder(node)
        last = Experiment(folder).last_epoch
        value = event["values"][str(node)]
        told = {"rung": event["epoch"], "went_on": went_on(event)}
        give_up(folder, last, value, event["key"], **told)
