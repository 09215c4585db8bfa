"""Rows of Table 4: trained one after the other in this process, then a table.

What a row is stands in ``score/paper.yaml``. Seeds there are counted from the seed of
the baseline: with a baseline of seed 5000, a row of seed 2000 is trained with 6000.
"""

from __future__ import annotations

import dataclasses
import importlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json, read_yaml, write_bytes, write_json
from espnet_topdown.jobs.prepare import prepare, versions
from espnet_topdown.jobs.run import run_job
from espnet_topdown.jobs.spec import RetrainSpec
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.search.paper import RANDOM, Paper, Row, read_paper

log = logging.getLogger(__name__)
PAPER, BASE = "wikitext2", "L"


@dataclasses.dataclass(frozen=True)
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
        """The experiment of a row."""
        return self.base_exp if row == BASE else self.output_dir / row


def make_rows(names: Sequence[str], setting: Setting) -> Path:
    """Train what is missing, score the texts, write the table.

    Returns:
        RESULTS.md.

    Raises:
        TopDownError: E_ROW; those of the trainer and of the evaluation.
    """
    paper = read_paper(PAPER)
    rows = [row for row in paper.in_order(list(names))]
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


def _longer(base: Experiment, row: Row) -> dict[str, Any]:
    """Options of a row that takes a multiple of the baseline's epochs."""
    if row.times == 1:
        return {}
    epochs = row.times * int(base.config["max_epoch"])
    return {"max_epoch": epochs, "patience": None}


def _random(setting: Setting, seed: int) -> Path:
    """A model that was never trained; of a seed that no training uses."""
    path = setting.output_dir / "random" / f"seed{seed + 500}.pth"
    if not path.is_file():
        module = importlib.import_module("espnet_topdown.models.random_model")
        path.parent.mkdir(parents=True, exist_ok=True)
        module.random_model(setting.base_exp, seed + 500, path)
    return path


def _scores(folder: Path, setting: Setting) -> dict[str, Any]:
    """Perplexity of each text; kept beside the model."""
    module = importlib.import_module("espnet_topdown.scoring.perplexity")
    experiment = Experiment(folder)
    model, found = experiment.model_file(), {}
    for name, (path, width) in setting.texts.items():
        kept = setting.output_dir / "scores" / folder.name / f"{name}.json"
        asked = {"model": str(model), "text": str(path), "width": width}
        if kept.is_file() and read_json(kept).get("asked") == asked:
            score = read_json(kept)
        else:
            score = module.score_text(folder / "config.yaml", model, path, width)
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_json(kept, {**score, "asked": asked})
        found[name] = math.exp(score["ppl"]["nll"] / score["ppl"]["ref"])
    config = read_yaml(folder / "config.yaml")
    more = {"epochs": experiment.last_epoch, "best": experiment.epoch_of(model)}
    return {"seed": config["seed"], **more, **found}


def table(found: Sequence[dict[str, Any]], paper: Paper, setting: Setting) -> str:
    """The paper's numbers beside ours."""
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
