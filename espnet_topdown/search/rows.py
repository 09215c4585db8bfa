"""Rows of the paper's tables: how each is made, and in which order.

What a row is stands in ``conf/rows.yaml`` of a recipe. It is made by the stages of that
recipe: joint training, a search or a retraining, then decoding and scoring. Seeds of
retrainings are counted from the baseline's: where a baseline of seed 1000 was trained
with 5000, a row of seed 2000 is trained with 6000.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from espnet_topdown.cmd.python import python_module
from espnet_topdown.data.kaldi_dir import read_lines
from espnet_topdown.data.parts import make_part
from espnet_topdown.errors import DATA, MISSING, USAGE, TopDownError, nearest
from espnet_topdown.files import read_yaml, write_bytes
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.records import DONE
from espnet_topdown.search.progress import run_and_show
from espnet_topdown.search.state import LIKELIHOOD, read_state

log = logging.getLogger(__name__)
FILE = "rows.yaml"  # in the folder of a recipe's configurations
RANDOM = "random"  # `from` of a classifier that was never trained
_RANDOM_SEED = 500  # more than a row's: no training begins at these values


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
        return tuple(
            dict.fromkeys(n for n in (self.of, self.source) if n not in ("", RANDOM))
        )


@dataclass(frozen=True)
class Paper:
    """What the paper says about one corpus.

    ``within`` is the test set whose parts the ``sets`` are, scored by ``hubscr.pl``; ""
    where each set is one of its own.
    """

    name: str
    conf: Path  # the recipe's folder of configurations
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
        for kind in ("table", "figure"):
            for number in sorted({getattr(r, kind) for r in rows} - {None}):
                names = [r.name for r in rows if getattr(r, kind) == number]
                found[f"{kind}{number}"] = names
        if any(r.beyond for r in rows):
            found["beyond"] = [r.name for r in rows if r.beyond]
        others = [r for r in rows if not (r.table or r.figure or r.beyond)]
        if others:
            found["controls"] = [r.name for r in others]
        if "figure1" in found:  # Section 3
            found["transfer"] = found["table1"] + found["figure1"] + found["figure2"]
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

    def config(self, row: Row) -> Path:
        """The configuration of a joint training.

        Returns:
            The file.
        """
        return self.conf / f"{row.config}.yaml"

    def joint_args(self, row: Row) -> str:
        """Options of a joint training beside its configuration.

        Returns:
            The row's, and its seed where that is not the configuration's.

        Raises:
            TopDownError: E_MISSING (66) when there is no such configuration.
        """
        seed = self.seed(row)
        same = read_yaml(self.config(row)).get("seed") == seed
        return row.args if same else f"{row.args} --seed {seed}".strip()

    def check(self, names: Sequence[str]) -> None:
        """Refuse rows that cannot be made, before anything is trained.

        Raises:
            TopDownError: E_ROW (64); E_MISSING (66) when a configuration is not there;
                E_SHAPE_MISMATCH (65) when a row's classifier cannot fit its model.
        """
        for row in self.in_order(names):
            if row.how == "joint":
                self.joint_args(row)
            elif row.source not in ("", RANDOM, row.of):
                self._check_fit(row)

    def _check_fit(self, row: Row) -> None:
        paths = [self.config(self.rows[n]) for n in (row.of, row.source)]
        ours, theirs = (read_yaml(path) for path in paths)
        places = ("encoder_conf", "output_size"), ("decoder_conf", "hidden_size")
        for part, key in places:
            a, b = ((c.get(part) or {}).get(key) for c in (ours, theirs))
            if a != b:
                what = f"row {row.name}: {part} {key} is {a} in {paths[0]}, {b} in "
                do = "give both models the same size below the softmax layers"
                raise TopDownError("E_SHAPE_MISMATCH", f"{what}{paths[1]}", do, DATA)


def read_paper(name: str, conf: Path) -> Paper:
    """What ``rows.yaml`` of a recipe's configurations says of a corpus.

    Args:
        name: The corpus; "" is the only one.
        conf: The folder of the configurations.

    Returns:
        Its rows and sets.

    Raises:
        TopDownError: E_MISSING (66); E_PAPER (64) for a corpus that is not in it.
    """
    path = Path(conf) / FILE
    papers = read_yaml(path)
    if not name and len(papers) == 1:
        name = next(iter(papers))
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
        conf=Path(conf),
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


def check_sets(paper: Paper, folder: Path, allow_partial: bool) -> None:
    """Refuse sets that are not the paper's, before anything is trained.

    Args:
        paper: Says how many utterances each set has.
        folder: Has the data directory of each set, or ``org`` in it has (a set that
            stage 4 has cut, such as the validation set).
        allow_partial: Take fewer utterances (an incomplete copy of the corpus).

    Raises:
        TopDownError: E_ORDER (66) where a set is missing, E_EVAL_SET (65).
    """
    for name in [paper.within] if paper.within else paper.sets:
        paths = [folder / "org" / name / "text", folder / name / "text"]
        path = next((p for p in paths if p.is_file()), paths[-1])
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

    Args:
        name: Of the set.
        have: Its number of utterances.
        sets: The paper's number, by set.
        allow_partial: Take fewer.

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


@dataclass
class RowMaker:
    """Makes rows of the paper by the stages of a recipe, as a user could.

    Attributes:
        paper: Which rows there are.
        rows_dir: Gets a folder for each row.
        stages: The recipe's script and its options.
        exp: Where joint training is; CONFIG and ARGS stand for those of a row. Without
            CONFIG all is of one joint training, which is there.
        args: More options of the joint training, of a user's.
        inference_config: Of the beam search.
        inference_args: More options of the beam search.
        train_dir: The training set; None for a text, of which no parts are taken.
        stats_dir: Its statistics.
        cmd: The launcher of retrainings.
    """

    paper: Paper
    rows_dir: Path
    stages: Sequence[str]
    exp: str
    args: str = ""
    inference_config: str = ""
    inference_args: str = ""
    train_dir: Path | None = None
    stats_dir: Path = Path()
    cmd: str = ""

    def __post_init__(self) -> None:
        self._exps: dict[str, Path] = {}  # of the rows that were made
        self._kind = "lm" if self.paper.unit == LIKELIHOOD else "asr"

    def make_rows(self, names: Sequence[str]) -> None:
        """Train the rows and those that they need; decode and score the former.

        Raises:
            TopDownError: E_USAGE or E_ROW (64); E_JOB; those of ``Paper.check``.
        """
        rows, wanted = self.paper.in_order(names), self.paper.chosen(names)
        self.paper.check(names)
        whole = self.train_dir is None or self.train_dir.name.endswith("_sp")
        if whole and any(row.data for row in rows):
            what = "rows on parts of a training set with --speed_perturb_factors"
            raise TopDownError("E_USAGE", what, "leave it empty", USAGE)
        make = {"joint": self._joint, "search": self._search, "retrain": self._retrain}
        for row in rows:
            log.info("row %s: %s, %s", row.name, row.how, row.label)
            self._exps[row.name] = make[row.how](row)
            if row in wanted:
                self._decode(row)

    def _run(self, first: int, last: int, exp: Path, *words: object) -> None:
        """Run stages of the recipe for an experiment; the script says what fails."""
        stages = ["--stage", str(first), "--stop_stage", str(last)]
        given = [*stages, f"--{self._kind}_exp", str(exp), *map(str, words)]
        status = subprocess.run([*self.stages, *given]).returncode
        if status:
            sys.exit(128 - status if status < 0 else status)

    def _joint(self, row: Row) -> Path:
        if "CONFIG" not in self.exp:
            return Path(self.exp)
        args = f"{self.args} {self.paper.joint_args(row)}".strip()
        config, more = self.paper.config(row), []
        name = args.replace("--", "_").translate(str.maketrans("", "", " |=/"))
        exp = Path(self.exp.replace("CONFIG", config.stem).replace("ARGS", name))
        if row.data and self.train_dir:
            exp, name = self.rows_dir / row.name, self.train_dir.name
            percent, lists = self.paper.parts[row.data], Path(f"data/parts_{name}")
            make_part(row.data, percent, self.train_dir, self.stats_dir, lists)
            more = ["--train_set", f"{name}_{row.data}"]
            more += ["--asr_stats_dir", f"{self.stats_dir}_{row.data}"]
        self._run(11, 11, exp, "--asr_config", config, "--asr_args", args, *more)
        return exp

    def _search(self, row: Row) -> Path:
        base = self._exps[row.of]
        folder = base.with_name(f"{base.name}_topdown")
        words = ["--topdown_dir", folder, "--retrain_seed", "same", *row.args.split()]
        self._run(12, 12, base, *words)
        best = read_state(folder).best
        return folder / best.name if best and best.frozen else base

    def _retrain(self, row: Row) -> Path:
        base, folder = self._exps[row.of], self.rows_dir / row.name
        config = Experiment(base).config
        seed = self.paper.seed(row) + int(config.get("seed") or 0)
        seed -= self.paper.seed(self.paper.rows[row.of])
        source, done = self._source(row, seed), folder / DONE
        inputs = [base / "checkpoint.pth", source or done]
        if done.is_file() and not any(_is_newer(path, done) for path in inputs):
            log.info("%s is finished already", folder)
            return folder
        options: dict[str, object] = {"base_exp": base, "freeze": row.freeze}
        if source:
            options["frozen_from"] = source
        options |= {"seed": seed, "allow_any_order": row.any_order}
        options |= dict.fromkeys(("allow_pipes", "allow_overlap"), True)  # as stage 10
        if row.times > 1:
            options["max_epoch"] = row.times * int(config["max_epoch"])
        options["output_dir"] = folder
        words = [w for k, v in options.items() for w in (f"--{k}", str(v))]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "train.log"
        log.info("log: %s", path)
        command = python_module("espnet_topdown", "retrain", *words)
        launcher = f"{self.cmd} --name {row.name}"
        if status := run_and_show(command, path, folder, launcher, "local"):
            what = f"row {row.name} failed with status {status}"
            raise TopDownError("E_JOB", what, f"read {path}", status)
        return folder

    # The file of weights whose layers are frozen, if any is.
    def _source(self, row: Row, seed: int) -> Path | None:
        if row.source == RANDOM:
            path = self.rows_dir / RANDOM / f"seed{seed + _RANDOM_SEED}.pth"
            if not path.is_file():
                from espnet_topdown.models.weights import save_random_weights

                path.parent.mkdir(parents=True, exist_ok=True)
                save_random_weights(self._exps[row.of], seed + _RANDOM_SEED, path)
            return path
        if row.epoch is not None:
            return Experiment(self._exps[row.source]).harvest_file(row.epoch)
        return self._model(self.paper.rows[row.source]) if row.source else None

    def _model(self, row: Row) -> Path:
        exp, n = Experiment(self._exps[row.name]), row.average
        return exp.average(n) if n else exp.model_file()

    def _decode(self, row: Row) -> None:
        """Decode and score every test set, unless that was done since the training."""
        exp, folder = self._exps[row.name], self.rows_dir / row.name
        folder.mkdir(parents=True, exist_ok=True)
        listed = folder / "decode.tsv"
        write_bytes(listed, f"{row.name}\t{exp}\t{self._model(row).name}\n".encode())
        places = ["--topdown_dir", self.rows_dir, "--decode_candidates", listed]
        beam = ["--inference_config", self.inference_config]
        attention = f"{self.inference_args} --ctc_weight 0.0".strip()
        ways: dict[str, list[list[str]]] = {"greedy": [[]], "joint": [beam]}
        ways["beam"] = [beam, [*beam, "--inference_args", attention]]
        for way in ways[row.decode]:
            self._run(13, 14, exp, *places, *way)


def _is_newer(path: Path, other: Path) -> bool:
    return path.is_file() and path.stat().st_mtime > other.stat().st_mtime
