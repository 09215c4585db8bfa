"""python bench/search_replay.py exp/full_1000 exp/full_2000 exp/full_3000

What cheaper searches would have cost and found, from searches that were really run with
`--search full`. Nothing is trained: with the same seeds on the same machine a training
repeats itself bit for bit, and the rules below only decide which trainings run and for
how long. The decisions are those of the package, on the recorded curves and errors.

Exact: which trainings and epochs a rule would have run; the validation errors of a
chosen model that was trained to its end. Not exact: minutes, which depend on what else
the machine did. A training that would have been ended before its best epoch has no
recorded errors: it is taken not to be chosen (its own validation value was worse, or
it would not have been ended; a real search would score it and see). Where `--abandon`
would freeze its layers all the same, the trainings that follow are counted as they were
recorded, with other frozen values, and the row says `~`.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from espnet_topdown.abandon import Rule  # noqa: E402
from espnet_topdown.files import read_json, read_yaml  # noqa: E402
from espnet_topdown.halving import Halving  # noqa: E402
from espnet_topdown.report.curves import read_curve  # noqa: E402
from espnet_topdown.search.composition import Composition  # noqa: E402
from espnet_topdown.search.strategies import STRATEGIES, Space, outcome  # noqa: E402

RULES = (  # what is compared: options of `search`
    "--search full",
    "--search greedy",
    "--search beam --width 2",
    "--search full --abandon 0.05:10",
    "--search full --abandon 0.1:10",
    "--search full --abandon 0.2:10",
    "--search greedy --abandon 0.1:10",
    "--search full --halving 2:8",
    "--search full --halving 3:10",
    "--search full --proxy 0.25",
)


@dataclass(frozen=True)
class Training:
    """One model as it was really trained.

    Attributes:
        values: epoch -> the trainer's validation value.
        seconds: epoch -> of training and validation.
        errors: on the validation set; None where it was not scored.
        ref: symbols that these errors are of.
        test: errors and symbols of the test set, where that was decoded.
    """

    values: dict[int, float]
    seconds: dict[int, float]
    errors: float | None = None
    ref: int = 0
    test: tuple[int, int] | None = None


@dataclass(frozen=True)
class Recorded:
    """A search that was run."""

    name: str
    space: Space
    mode: str
    max_epoch: int
    trained: dict[Composition, Training]


@dataclass
class Replayed:
    """What a rule would have done.

    Attributes:
        epochs: of each retraining, in the order of the search.
        best: the chosen model; None where the record does not reach so far.
        lacking: trainings that the record does not have.
        inexact: those whose start or score would have been another one.
    """

    epochs: dict[Composition, int] = field(default_factory=dict)
    best: Composition | None = None
    lacking: list[Composition] = field(default_factory=list)
    inexact: list[Composition] = field(default_factory=list)


def read_recorded(folder: Path) -> Recorded:
    """Read a search folder, finished or not; paths in it are relative to its recipe."""
    asked = read_yaml(folder / "search.yaml")
    base = folder.resolve().parents[len(Path(asked["base_exp"]).parents) - 1]
    base = base / asked["base_exp"]
    config = read_yaml(base / "config.yaml")
    _, key, mode = next(c for c in config["best_model_criterion"] if c[0] == "valid")
    trained = {}
    for path in sorted(folder.glob("m*/retrain.yaml")):
        node = path.parent
        name = Composition.parse(node.name)
        curves = base if name.parent is None else node
        trained[name] = _training(node, curves, key, asked)
    epochs = int(asked.get("max_epoch") or config["max_epoch"])
    space = Space(len(asked["layers"]), int(asked["max_frozen"]))
    return Recorded(folder.name, space, mode, epochs, trained)


def read_together(folders: Sequence[str]) -> Recorded:
    """The first search, with what it lacks from the others."""
    first, *others = (read_recorded(Path(f)) for f in folders)
    for name, training in ((n, t) for o in others for n, t in o.trained.items()):
        mine = first.trained.get(name)
        if mine is None or mine.errors is None:
            first.trained[name] = training
        elif mine.test is None and mine.values == training.values:
            first.trained[name] = dataclasses.replace(mine, test=training.test)
    return first


def bounded(search: Recorded, most: int) -> Recorded:
    """The part of a search that freezes at most so many layers."""
    space = Space(search.space.n, min(most, search.space.max_frozen))
    return dataclasses.replace(search, space=space)


def _training(node: Path, curves: Path, key: str, asked: dict) -> Training:
    curve = read_curve(curves)
    values = {e.epoch: e.valid[key] for e in curve if key in e.valid}
    seconds = {e.epoch: e.seconds or 0.0 for e in curve}
    errors, ref = _errors(node / "score.json", asked["criterion"]) or (None, 0)
    decoded = node / f"decode_{asked['decoder']}" / "test" / "score.json"
    test = _errors(decoded, asked["criterion"])
    return Training(values, seconds, errors, ref, test)


def _errors(path: Path, criterion: str) -> tuple[int, int] | None:
    """Errors, and symbols that they are of; None where nothing was scored."""
    if not path.is_file():
        return None
    counts = read_json(path)[criterion]
    return counts["sub"] + counts["del"] + counts["ins"], counts["ref"]


def replay(search: Recorded, rule: argparse.Namespace) -> Replayed:
    """Follow a rule through a record, as far as the record goes."""
    halving = Halving.parse(rule.halving, rule.proxy, search.max_epoch)
    space = dataclasses.replace(search.space, width=rule.width)
    found, errors = Replayed(), {}
    while batch := STRATEGIES[rule.search](space, errors):
        level = min(len(c.parts) for c in batch)
        batch = [c for c in batch if len(c.parts) == level]
        scored = {c for c, t in search.trained.items() if t.errors is not None}
        found.lacking = [c for c in batch if c not in scored]
        if found.lacking:
            return found
        lasts = {c: _last(search, c, rule.abandon, found.epochs) for c in batch}
        if halving and level > 1:
            stopped = halve(halving, lasts, search)
            space = dataclasses.replace(space, ended=space.ended | stopped)
        for node in batch:
            errors[node] = _counted(search, node, lasts[node], found)
            if node.parent:
                found.epochs[node] = lasts[node]
    found.best = outcome(rule.search, space, errors).best
    return found


def _last(
    search: Recorded, node: Composition, abandon: str, cut: dict[Composition, int]
) -> int:
    """The last epoch of a training under ``--abandon``."""
    own = search.trained[node].values
    if not abandon or node.parent is None:
        return max(own, default=0)
    above = search.trained[node.parent].values
    above = {e: v for e, v in above.items() if e <= cut.get(node.parent, math.inf)}
    rule = Rule.parse(abandon)
    for epoch in sorted(own):
        so_far = {e: v for e, v in own.items() if e <= epoch}
        if rule.trails(so_far, above, search.mode):
            return epoch
    return max(own)


def halve(
    halving: Halving, lasts: dict[Composition, int], search: Recorded
) -> set[Composition]:
    """Compare a level at its rungs; shortens ``lasts``, returns who was stopped."""
    alive, out = sorted(lasts), set()
    best = min if search.mode == "min" else max
    for rung in halving.rungs:
        if len(alive) < 2 or all(lasts[c] <= rung for c in alive):
            break
        curves = {c: search.trained[c].values for c in alive}
        so_far = {
            c: best(v for e, v in curve.items() if e <= min(rung, lasts[c]))
            for c, curve in curves.items()
        }
        for node in halving.stopped(so_far, search.mode):
            lasts[node] = min(lasts[node], rung)
            alive.remove(node)
            out.add(node)
    return out


def _counted(search: Recorded, node: Composition, last: int, found: Replayed) -> float:
    """A model's errors; infinite where its best epoch would not have been reached."""
    values = search.trained[node].values
    best = min if search.mode == "min" else max
    chosen = best(values, key=lambda e: values[e]) if node.parent else 0
    if node.parent in found.inexact or chosen > last:
        found.inexact.append(node)
        return math.inf
    return search.trained[node].errors


def parse_rule(text: str) -> argparse.Namespace:
    """The options of a rule."""
    parser = argparse.ArgumentParser(prog="a rule", allow_abbrev=False)
    parser.add_argument("--search", choices=sorted(STRATEGIES), default="full")
    parser.add_argument("--width", type=int, default=2)
    for name in ("abandon", "halving", "proxy"):
        parser.add_argument(f"--{name}", default="")
    return parser.parse_args(text.split())


def row(searches: Sequence[Recorded], text: str) -> list[str]:
    """One line of the table: all seeds beside each other, then means."""
    found = [replay(s, parse_rule(text)) for s in searches]
    cells = [_cells(s, f) for s, f in zip(searches, found)]
    means = "not known"
    if all(f.best for f in found):
        best = [s.trained[f.best] for s, f in zip(searches, found)]
        dev = statistics.mean(100 * b.errors / b.ref for b in best)
        epochs, minutes = (statistics.mean(float(c[i]) for c in cells) for i in (1, 2))
        means = f"{epochs:.0f} epochs, {minutes:.0f} min, dev {dev:.2f} %"
    tilde = "~ " if any(c.parent in f.inexact for f in found for c in f.inexact) else ""
    return [f"{tilde}`{text}`", *map(" / ".join, zip(*cells)), means]


def _cells(search: Recorded, found: Replayed) -> list[str]:
    """Trainings, epochs, minutes, the chosen model and its errors, its test CER."""
    if not found.best:
        return ["?"] * 5
    spent = 0.0
    for node, last in found.epochs.items():
        spent += sum(s for e, s in search.trained[node].seconds.items() if e <= last)
    best, epochs = search.trained[found.best], sum(found.epochs.values())
    test = f"{100 * best.test[0] / best.test[1]:.2f}" if best.test else "not run"
    chosen = f"{found.best} {best.errors:.0f}"
    return [str(len(found.epochs)), str(epochs), f"{spent / 60:.0f}", chosen, test]


HEAD = (
    "rule", "trainings begun", "epochs", "minutes", "chosen, its dev errors",
    "test CER, %", "mean",
)  # fmt: skip


def table(searches: Sequence[Recorded], rules: Sequence[str]) -> list[str]:
    """Markdown; seeds are divided by slashes."""
    rows = [HEAD, ["---"] * len(HEAD), *(row(searches, r) for r in rules)]
    return ["| " + " | ".join(cells) + " |" for cells in rows]


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders",
        nargs="+",
        help="Full searches, one a seed; A+B: what A lacks is taken from B, another "
        "search from the same joint model",
    )
    parser.add_argument("--rule", action="append", help="Instead of the usual ones")
    parser.add_argument("--max_frozen", type=int, default=99, help="Only up to here")
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Print the table."""
    args = get_parser().parse_args(cmd)
    searches = [read_together(f.split("+")) for f in args.folders]
    searches = [bounded(s, args.max_frozen) for s in searches]
    print("Seeds: " + " / ".join(s.name for s in searches))
    print("\n".join(table(searches, args.rule or RULES)))


if __name__ == "__main__":
    main()
