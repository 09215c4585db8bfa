"""Rows of the paper's tables: how each is made, and in which order.

What a row is stands in ``conf/rows.yaml`` of a recipe. Rows of a recogniser are planned
here and made by ``utils/rows.sh`` with a user's commands; those of a language model are
trained here, one after the other. Seeds of the latter are counted from the baseline's:
with a baseline of seed 5000, a row of seed 2000 is trained with 6000.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from espnet_topdown.data.kaldi_dir import read_lines
from espnet_topdown.errors import DATA, MISSING, USAGE, TopDownError, nearest
from espnet_topdown.files import (
    check_output,
    read_json,
    read_yaml,
    write_bytes,
    write_json,
)
from espnet_topdown.jobs.prepare import prepare, versions
from espnet_topdown.jobs.run import run_job
from espnet_topdown.jobs.spec import RetrainSpec
from espnet_topdown.models.experiment import Experiment

log = logging.getLogger(__name__)
FILE = "rows.yaml"  # in the folder of a recipe's configurations
RANDOM = "random"  # `from` of a classifier that was never trained
BASE = "L"  # the baseline of a language model's rows


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

        Returns:
            The rows, each once.

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
        """The rows and all that they need, each once, needed ones first.

        Returns:
            The rows, in the order of training.
        """
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
        """The seed that a row is trained with.

        Returns:
            Its own, or that of the row that is retrained.
        """
        return row.seed if row.seed is not None else self.seed(self.rows[row.of])


def read_paper(name: str, conf: Path) -> Paper:
    """What ``rows.yaml`` of a recipe's configurations says of a corpus.

    Returns:
        Its rows and sets.

    Raises:
        TopDownError: E_MISSING (66); E_PAPER (64) for a corpus that is not in it.
    """
    path = Path(conf) / FILE
    papers = read_yaml(path)
    if name not in papers:
        what = f"--paper '{name}' is unknown ({nearest(name, papers)})"
        do = f"take one of {', '.join(papers)}, or add rows to {path}"
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


# The rows of a figure: each pattern with each seed or epoch.
def _points(number: int, figure: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
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


FIELDS = (
    *("how", "name", "config", "args", "data", "of", "freeze", "source"),
    *("epoch", "seed", "any_order", "decode", "wanted"),
)


def plan_rows(paper: Paper, names: Sequence[str], conf: Path) -> list[str]:
    """One line a row, needed ones first: FIELDS between tabs, ``-`` for nothing.

    Args:
        paper: The corpus.
        names: Rows and groups of rows.
        conf: The recipe's folder of configurations.

    Returns:
        The lines.

    Raises:
        TopDownError: E_ROW (64); E_MISSING (66) when a configuration is not there;
            E_SHAPE_MISMATCH (65) when a row's classifier cannot fit its model.
    """
    wanted, lines = paper.chosen(names), []
    for row in paper.in_order(names):
        _check_fit(paper, row, conf)
        values = {**vars(row), "wanted": row in wanted, "seed": paper.seed(row)}
        if row.how == "joint":
            values["config"] = path = conf / f"{row.config}.yaml"
            if read_yaml(path).get("seed") != values["seed"]:
                values["args"] = f"{row.args} --seed {values['seed']}".strip()
        lines.append("\t".join(_word(values[field]) for field in FIELDS))
    return lines


# How the shell reads a value.
def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value in ("", None) else str(value)


def _check_fit(paper: Paper, row: Row, conf: Path) -> None:
    """Refuse a classifier of another size before either model is trained."""
    if row.source in ("", RANDOM, row.of):
        return
    paths = [conf / f"{paper.rows[n].config}.yaml" for n in (row.of, row.source)]
    ours, theirs = (read_yaml(path) for path in paths)
    for part, key in (("encoder_conf", "output_size"), ("decoder_conf", "hidden_size")):
        sizes = [(c.get(part) or {}).get(key) for c in (ours, theirs)]
        if sizes[0] != sizes[1]:
            raise TopDownError(
                "E_SHAPE_MISMATCH",
                f"row {row.name}: {part} {key} is {sizes[0]} in {paths[0]}, {sizes[1]} "
                f"in {paths[1]}",
                "give both models the same size below the softmax layers",
                DATA,
            )


def check_sets(paper: Paper, folders: Sequence[Path], allow_partial: bool) -> None:
    """Refuse sets that are not the paper's, before anything is trained.

    Args:
        paper: Says how many utterances each set has.
        folders: Data directories; their names are the sets'.
        allow_partial: Take fewer utterances (an incomplete copy of the corpus).

    Raises:
        TopDownError: E_ORDER (66) where a set is missing, E_EVAL_SET (65).
    """
    found = {Path(f).name: Path(f) for f in folders}
    for name in [paper.within] if paper.within else paper.sets:
        path = found.get(name, Path(name)) / "text"
        if not path.is_file():
            raise TopDownError(
                "E_ORDER",
                f"no set {name}: {path} is missing",
                "run ./run.sh --stop_stage stats first",
                MISSING,
            )
        if not paper.within:  # else its parts are counted when they are scored
            check_count(name, len(read_lines(path)), paper.sets, allow_partial)


def check_count(
    name: str, have: int, sets: Mapping[str, int], allow_partial: bool
) -> None:
    """Refuse a set with another number of utterances than the paper's.

    Raises:
        TopDownError: E_EVAL_SET (65).
    """
    want = sets[name]
    if have == want or (allow_partial and have < want):
        return
    raise TopDownError(
        "E_EVAL_SET",
        f"{name} has {have} utterances, the paper's has {want}",
        'complete the corpus, or give --local_data_opts "--allow_partial true"',
        DATA,
    )


@dataclass(frozen=True)
class Setting:
    """Where the rows are made and from what.

    Attributes:
        base_exp: The trained baseline, row L.
        output_dir: Gets a folder for each other row, RESULTS.md and rows.json.
        texts: The set's name -> its text and the columns it is read in.
    """

    base_exp: Path
    output_dir: Path
    texts: dict[str, tuple[Path, int]]

    def folder(self, row: str) -> Path:
        """The experiment of a row.

        Returns:
            The folder.
        """
        return self.base_exp if row == BASE else self.output_dir / row


def make_rows(paper: Paper, names: Sequence[str], setting: Setting) -> Path:
    """Train a language model's rows in this process, score the texts, write the table.

    Returns:
        RESULTS.md.

    Raises:
        TopDownError: E_ROW; those of the trainer and of the evaluation.
    """
    check_output(setting.output_dir, ("RESULTS.md",), ours=rb"espnet.topdown")
    rows = paper.in_order(names)
    found = []
    for row in rows:
        folder = setting.folder(row.name)
        if row.how == "search":
            what = f"row {row.name} is a search"
            raise TopDownError("E_ROW", what, "run stage topdown")
        if row.name != BASE:
            log.info("row %s: %s", row.name, row.label)
            _train(row, paper, setting)
        found.append({"row": row.name, **_scores(folder, setting)})
        log.info("row %s: %s", row.name, found[-1])
    setting.output_dir.mkdir(parents=True, exist_ok=True)
    write_json(setting.output_dir / "rows.json", found)
    output = setting.output_dir / "RESULTS.md"
    write_bytes(output, table(found, paper, setting).encode())
    return output


def _train(row: Row, paper: Paper, setting: Setting) -> None:
    base = Experiment(setting.base_exp)
    shift = int(base.config.get("seed") or 0) - paper.seed(paper.rows[BASE])
    seed = paper.seed(row) + shift
    source, frozen = None, tuple(n for n in row.freeze.split(",") if n)
    if row.source == RANDOM:
        source = _random(setting, seed)
    elif row.source:
        source = Experiment(setting.folder(row.source)).model_file()
    spec = RetrainSpec.make(
        base,
        row.name,
        frozen,
        seed,
        frozen_from=source,
        overrides=_longer(base, row),
    )
    folder = setting.folder(row.name)
    log.info("row %s:\n%s", row.name, prepare(spec, folder).table(spec))
    run_job(folder)


# Options of a row that takes a multiple of the baseline's epochs.
def _longer(base: Experiment, row: Row) -> dict[str, Any]:
    if row.times == 1:
        return {}
    epochs = row.times * int(base.config["max_epoch"])
    return {"max_epoch": epochs, "patience": None}


# A model that was never trained; of a seed that no training uses.
def _random(setting: Setting, seed: int) -> Path:
    path = setting.output_dir / "random" / f"seed{seed + 500}.pth"
    if not path.is_file():
        from espnet_topdown.models.weights import save_random_weights

        path.parent.mkdir(parents=True, exist_ok=True)
        save_random_weights(setting.base_exp, seed + 500, path)
    return path


# Perplexity of each text; kept beside the model.
def _scores(folder: Path, setting: Setting) -> dict[str, Any]:
    from espnet_topdown.scoring.perplexity import score_text

    experiment = Experiment(folder)
    model, found = experiment.model_file(), {}
    for name, (path, width) in setting.texts.items():
        kept = setting.output_dir / "scores" / folder.name / f"{name}.json"
        asked = {"model": str(model), "text": str(path), "width": width}
        if kept.is_file() and read_json(kept).get("asked") == asked:
            score = read_json(kept)
        else:
            score = score_text(experiment, model, path, width)
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_json(kept, {**score, "asked": asked})
        found[name] = math.exp(score["ppl"]["nll"] / score["ppl"]["ref"])
    config = read_yaml(folder / "config.yaml")
    more = {"epochs": experiment.last_epoch, "best": experiment.epoch_of(model)}
    return {"seed": config["seed"], **more, **found}


def table(found: Sequence[dict[str, Any]], paper: Paper, setting: Setting) -> str:
    """The paper's numbers beside ours.

    Returns:
        RESULTS.md.
    """
    sets = list(setting.texts)
    header = ["row", "what", "seed", "epochs (best)"]
    header += [f"{s} PPL" for s in sets] + [f"paper {s}" for s in sets]
    lines = ["# RESULTS", "", paper.about + ".", "", _line(header)]
    lines.append(_line(["---"] * 4 + ["---:"] * (2 * len(sets))))
    for entry in found:
        row = paper.rows[entry["row"]]
        cells = [row.name, row.label, str(entry["seed"])]
        cells.append(f"{entry['epochs']} ({entry['best']})")
        cells += [f"{entry[s]:.2f}" for s in sets]
        cells += [f"{v:.1f}" for v in row.paper] or ["-"] * len(sets)
        lines.append(_line(cells))
    lines += ["", "Texts: " + ", ".join(str(p) for p, _ in setting.texts.values())]
    lines += [f"- {k}: {v}" for k, v in versions().items()]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
