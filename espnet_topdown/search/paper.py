"""The rows of the paper's tables as data: how each is made, and in which order.

Everything about a row is in ``score/paper.yaml``; this module only reads it and puts
rows behind the rows that they need. Nothing is trained or written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from espnet_topdown.errors import USAGE, TopDownError, nearest
from espnet_topdown.files import read_yaml

FILE = Path(__file__).with_name("paper.yaml")
RANDOM = "random"  # `from` of a classifier that was never trained


@dataclass(frozen=True)
class Row:
    """One row of a table, or one point of a figure.

    Attributes:
        how: "joint", "search" (Algorithm 1) or "retrain".
        of: The row whose experiment is retrained; "" for joint training.
        source: The row whose weights are frozen, "random", or "".
        seed: None in a retraining: as the row it is ``of``.
        data: The part of the training set; "" is all of it.
        paper: The paper's numbers, by set; empty for points of a figure.
        args: More options of the joint training.
        epoch: Of ``source``, from its harvest; None takes its best.
        table: Its number; None for points of a figure, which have ``figure``.
        group: The same for rows that differ in their seed only.
        average: Decode the mean of so many best epochs; 0 takes the single best one.
        times: The epochs of the baseline times this (language models).
        beyond: Not a row of the paper's.
    """

    name: str
    label: str
    how: str
    config: str = ""
    of: str = ""
    freeze: str = ""
    source: str = ""
    seed: int | None = None
    any_order: bool = False
    data: str = ""
    decode: str = "greedy"
    table: int | None = None
    figure: int | None = None
    args: str = ""
    epoch: int | None = None
    paper: tuple[float, ...] = ()
    group: str = ""
    average: int = 0
    times: int = 1
    beyond: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Rows that must be trained before this one."""
        return tuple(dict.fromkeys(n for n in (self.of, self.source) if n != RANDOM))


@dataclass(frozen=True)
class Paper:
    """What the paper says about one corpus.

    ``within`` is the test set whose parts the ``sets`` are, scored by ``hubscr.pl``; ""
    where each set is one of its own.
    """

    name: str
    about: str
    unit: str
    sets: Mapping[str, int]  # name -> number of utterances
    parts: Mapping[str, int]  # name of a part of the training set -> percent
    rows: Mapping[str, Row]
    within: str = ""

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Names that stand for several rows."""
        rows = self.rows.values()
        found = {"all": [r.name for r in rows if r.table]}
        for number in sorted({r.table for r in rows if r.table}):
            found[f"table{number}"] = [r.name for r in rows if r.table == number]
        for number in sorted({r.figure for r in rows if r.figure}):
            found[f"figure{number}"] = [r.name for r in rows if r.figure == number]
        if any(r.beyond for r in rows):
            found["beyond"] = [r.name for r in rows if r.beyond]
        others = [r for r in rows if not (r.table or r.figure or r.beyond)]
        if others:
            found["controls"] = [r.name for r in others]
        if "figure1" in found:  # Section 3
            section = found["table1"] + found["figure1"] + found["figure2"]
            found["transfer"] = section
        return found

    def chosen(self, names: Sequence[str]) -> list[Row]:
        """The rows that these names stand for.

        Raises:
            TopDownError: E_ROW (64) for a name that is neither a row nor a group.
        """
        found: dict[str, Row] = {}
        for name in names:
            for one in self.groups.get(name, [name]):
                if one not in self.rows:
                    known = [*self.groups, *self.rows]
                    what = f"--row {name} is unknown ({nearest(name, known, 5)})"
                    do = f"take rows, or one of {', '.join(self.groups)}"
                    raise TopDownError("E_ROW", what, do, USAGE)
                found[one] = self.rows[one]
        return list(found.values())

    def in_order(self, names: Sequence[str]) -> list[Row]:
        """The rows and all that they need, each once, needed ones first."""
        found: dict[str, Row] = {}

        def add(row: Row) -> None:
            for need in row.needs:
                if need:
                    add(self.rows[need])
            found.setdefault(row.name, row)

        for row in self.chosen(names):
            add(row)
        return list(found.values())

    def seed(self, row: Row) -> int:
        """The seed that a row is trained with."""
        return row.seed if row.seed is not None else self.seed(self.rows[row.of])


def read_paper(name: str, path: Path = FILE) -> Paper:
    """What ``path`` says of a corpus.

    Raises:
        TopDownError: E_PAPER (64) for a corpus that is not in it.
    """
    papers = read_yaml(path)
    if name not in papers:
        what = f"--paper '{name}' is unknown ({nearest(name, papers)})"
        do = f"take one of {', '.join(papers)}, or add rows to {path.name}"
        raise TopDownError("E_PAPER", what, do, USAGE)
    entry = papers[name]
    specs = dict(entry["rows"])
    for number, figure in entry.get("figures", {}).items():
        specs.update(_points(number, figure))
    return Paper(
        name=name,
        about=entry["about"],
        unit=entry["unit"],
        sets=entry["sets"],
        parts=entry.get("parts", {}),
        rows={n: _row(n, spec) for n, spec in specs.items()},
        within=entry.get("within", ""),
    )


def _points(number: int, figure: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of a figure: each pattern with each seed or epoch."""
    found = {}
    for pattern, spec in figure["rows"].items():
        one = {**spec, "figure": number}
        if "{s}" in pattern:
            group = pattern.replace(".{s}", "")
            for s in figure["seeds"]:
                seed = int(spec["seed"]) + 1000 * s
                point = {**one, "seed": seed, "group": group}
                found[pattern.replace("{s}", str(s))] = point
        elif "{e}" in pattern:
            for e in figure["epochs"]:
                found[pattern.replace("{e}", str(e))] = {**one, "epoch": e}
        else:
            found[pattern] = one
    return found


def _row(name: str, spec: Mapping[str, Any]) -> Row:
    values = {k: v for k, v in spec.items() if k not in ("from", "paper")}
    values.setdefault("how", "joint")
    return Row(
        name=name,
        source=spec.get("from", ""),
        paper=tuple(spec.get("paper", ())),
        **values,
    )
