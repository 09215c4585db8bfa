"""The report of a search on a language model: one table of perplexities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.report import about, story, words
from espnet_topdown.report.nodes import NOT_RUN, Node
from espnet_topdown.report.rows import SearchReport
from espnet_topdown.yaml_io import read_json

CRITERION = "ppl"


@dataclass(frozen=True)
class Likelihood:
    """Of one text under one model: its negative logarithm in nats, and its tokens."""

    nats: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """e to the mean nats of a token."""
        return math.exp(self.nats / self.tokens)


def read_likelihood(path: Path) -> Likelihood | None:
    """What a ``score.json`` says; None where there is none."""
    found = read_json(path).get(CRITERION) if path.is_file() else None
    return Likelihood(found["nll"], found["ref"]) if found else None


def results(search: SearchReport) -> str:
    """RESULTS.md."""
    header = ("model", "what", "frozen", "seed", "epochs", "result")
    header += ("valid PPL", "valid nats", "test PPL", "test nats")
    lines = ["# RESULTS", "", f"**{headline(search)}**", "", "## Search", ""]
    lines += [f"- path: {story.path(search)}", f"- result: {story.ending(search)}"]
    lines += [f"- {name}: {value}" for name, value in about.request(search)]
    lines += ["", "## Models", "", _row(header)]
    lines.append(_row(["---"] * 6 + ["---:"] * 4))
    lines += [_row(_cells(search, node)) for node in search.nodes]
    lines += ["", "One seed: another may differ by more than these models do."]
    lines += ["", "## Environment", ""]
    lines += [f"- {k}: {v}" for k, v in about.environment(search)]
    lines += ["", "## Commands", "", "```sh", *about.commands(search), "```", ""]
    return "\n".join(lines)


def headline(search: SearchReport) -> str:
    """What the search found, on the text that it decides on."""
    best, base = search.best_node, search.baseline
    if best is None or base is None:
        return "This search is not finished."
    if best is base:
        return "Joint training stays the best model: no retraining was more likely."
    pairs = (
        read_likelihood(search.folder / n.name / "score.json") for n in (base, best)
    )
    old, new = (f"{p.perplexity:.2f}" if p else NOT_RUN for p in pairs)
    return (
        f"Freezing {words.layer_list(best.frozen)} and retraining the rest changed the "
        f"validation perplexity from {old} to {new}."
    )


def _cells(search: SearchReport, node: Node) -> Sequence[str]:
    folder = search.folder / node.name
    cells = [words.math(node.name), words.role(node), words.layer_list(node.frozen)]
    cells += [str(node.seed), words.epochs(node), words.status(node, search.best)]
    for path in ("score.json", "decode_perplexity/test/score.json"):
        found = read_likelihood(folder / path)
        values = (f"{found.perplexity:.2f}", f"{found.nats:.3f}") if found else ()
        cells += values or (NOT_RUN, NOT_RUN)
    return cells


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
