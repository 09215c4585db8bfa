"""python bench/search_replay.py exp/full_1000 exp/full_2000 exp/full_3000

What cheaper searches would have cost and found, from searches that were really run with
`--search full`. Nothing is trained: with the same seeds on the same machine a training
repeats itself bit for bit, and a rule only decides which trainings run. The decisions
are those of the package, on the recorded errors.

Exact: which trainings and epochs a rule would have run; the validation errors of the
chosen model. Not exact: minutes, which depend on what else the machine did.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from espnet_topdown.files import read_json, read_yaml  # noqa: E402
from espnet_topdown.search.composition import Composition  # noqa: E402
from espnet_topdown.search.curves import read_curve  # noqa: E402
from espnet_topdown.search.strategies import STRATEGIES, Space, outcome  # noqa: E402

RULES = (  # what is compared: options of `search`
    "--search full",
    "--search greedy",
    "--search beam --width 2",
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
    trained: dict[Composition, Training]


@dataclass
class Replayed:
    """What a rule would have done.

    Attributes:
        epochs: of each retraining, in the order of the search.
        best: the chosen model; None where the record does not reach so far.
        lacking: trainings that the record does not have.
    """

    epochs: dict[Composition, int] = field(default_factory=dict)
    best: Composition | None = None
    lacking: list[Composition] = field(default_factory=list)


def read_recorded(folder: Path) -> Recorded:
    """Read a search folder, finished or not; paths in it are relative to its recipe."""
    asked = read_yaml(folder / "search.yaml")
    base = folder.resolve().parents[len(Path(asked["base_exp"]).parents) - 1]
    base = base / asked["base_exp"]
    config = read_yaml(base / "config.yaml")
    _, key, _ = next(c for c in config["best_model_criterion"] if c[0] == "valid")
    trained = {}
    for path in sorted(folder.glob("m*/retrain.yaml")):
        node = path.parent
        name = Composition.parse(node.name)
        curves = base if name.parent is None else node
        trained[name] = _training(node, curves, key, asked)
    space = Space(len(asked["layers"]), int(asked["max_frozen"]))
    return Recorded(folder.name, space, trained)


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
    space = dataclasses.replace(search.space, width=rule.width)
    found, errors = Replayed(), {}
    while batch := STRATEGIES[rule.search](space, errors):
        scored = {c for c, t in search.trained.items() if t.errors is not None}
        found.lacking = [c for c in batch if c not in scored]
        if found.lacking:
            return found
        for node in batch:
            errors[node] = search.trained[node].errors
            if node.parent:
                found.epochs[node] = max(search.trained[node].values, default=0)
    found.best = outcome(rule.search, space, errors).best
    return found


def parse_rule(text: str) -> argparse.Namespace:
    """The options of a rule."""
    parser = argparse.ArgumentParser(prog="a rule", allow_abbrev=False)
    parser.add_argument("--search", choices=sorted(STRATEGIES), default="full")
    parser.add_argument("--width", type=int, default=2)
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
    return [f"`{text}`", *map(" / ".join, zip(*cells)), means]


def _cells(search: Recorded, found: Replayed) -> list[str]:
    """Trainings, epochs, minutes, the chosen model and its errors, its test CER."""
    if not found.best:
        return ["?"] * 5
    spent = sum(sum(search.trained[node].seconds.values()) for node in found.epochs)
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
