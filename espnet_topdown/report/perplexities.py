"""The report of a search on a language model: perplexities in place of errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.files import read_json
from espnet_topdown.report import about, html, markdown, story, words
from espnet_topdown.report.markup import prose
from espnet_topdown.report.nodes import CONTROL, NOT_RUN, Node
from espnet_topdown.report.rows import SearchReport
from espnet_topdown.report.tables import Row, Table

CRITERION = "ppl"
FILES = {"valid": "score.json", "test": "decode_perplexity/test/score.json"}
CURVES = (
    "A dot marks the epoch that became the model. The loss is in nats a token, e to it "
    "is the perplexity."
)


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


def overview(search: SearchReport) -> Table:
    """One row a model: what was frozen, and the perplexity of both texts."""
    header = ("model", "what", "frozen", "seed", "epochs", "result")
    return Table(
        title="Models",
        header=(*header, "valid PPL", "valid nats", "test PPL", "test nats"),
        rows=tuple(Row(n.name, tuple(_cells(search, n))) for n in search.nodes),
        numeric=4,
        note="One seed: another may differ by more than these models do.",
    )


def numbers(search: SearchReport) -> list[Sequence[object]]:
    """All figures of the table, unrounded; the first row says what they are."""
    rows: list[Sequence[object]] = [["model", "set", "tokens", "nats", "perplexity"]]
    for node in search.nodes:
        for name, path in FILES.items():
            found = read_likelihood(search.folder / node.name / path)
            if found:
                values = (found.tokens, f"{found.nats:.6f}", f"{found.perplexity:.6f}")
                rows.append((node.name, name, *values))
    return rows


def results(search: SearchReport, figures: Sequence[str]) -> str:
    """RESULTS.md."""
    models = overview(search)
    lines = ["# RESULTS", "", f"**{headline(search)}**", ""]
    lines += [f"{against(search)}\n"] if against(search) else []
    lines += ["## Search", ""]
    lines += [f"- path: {story.path(search)}", f"- result: {story.ending(search)}"]
    lines += [f"- {name}: {value}" for name, value in about.request(search)]
    lines += [f"- control: {said}" for said in story.controls(search)]
    lines += ["", "## Models", "", *markdown.table(models, search.best)]
    lines += ["", models.note, "", "## Figures", ""]
    lines += [f"- [{f}]({f})" for f in figures]
    lines += ["", "## Environment", ""]
    lines += [f"- {k}: {v}" for k, v in about.environment(search)]
    lines += ["", "## Commands", "", "```sh", *about.commands(search), "```", ""]
    return "\n".join(lines)


def page(search: SearchReport, figures: Sequence[str]) -> str:
    """report.html; the parts are those of a recogniser's page."""
    models = overview(search)
    state = against(search) if search.finished else story.ending(search)
    controls = "".join(f"<li>{prose(c)}</li>" for c in story.controls(search))
    head = (
        '<header><p class="kicker">Top-down search</p>'
        f"<h1>{prose(search.base_exp)}</h1>"
        f'<p class="lead">{prose(headline(search))}</p>'
        f"<p>{prose(state)}</p></header>"
    )
    body = [
        head,
        html.drawing(search),
        html.section(
            models.title,
            html.model_table(search, models),
            f'<p class="note">{prose(models.note)}</p>',
            f'<h3>Controls</h3><ul class="plain">{controls}</ul>',
        ),
        html.learning_curves(search, CURVES),
        html.origin(search, figures),
    ]
    return html.document(f"Top-down search: {search.base_exp}", body)


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


def against(search: SearchReport) -> str:
    """The controls that are at least as likely as the best model, "" without any."""
    best = search.best_node
    mine = _valid(search, best) if best else None
    said = []
    for node in search.having(CONTROL):
        its = _valid(search, node)
        if mine and its and its.nats <= mine.nats:
            said.append(f"{node.name} {its.perplexity:.2f}")
    if not said:
        return ""
    return f"Not worse than the best model, on the validation text: {', '.join(said)}."


def _valid(search: SearchReport, node: Node) -> Likelihood | None:
    return read_likelihood(search.folder / node.name / FILES["valid"])


def _cells(search: SearchReport, node: Node) -> Sequence[str]:
    folder = search.folder / node.name
    cells = [words.role(node), words.layer_list(node.frozen)]
    cells += [str(node.seed), words.epochs(node), words.status(node, search.best)]
    for path in FILES.values():
        found = read_likelihood(folder / path)
        values = (f"{found.perplexity:.2f}", f"{found.nats:.3f}") if found else ()
        cells += values or (NOT_RUN, NOT_RUN)
    return cells
