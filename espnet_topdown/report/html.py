"""report.html: one file, no script, nothing loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from espnet_topdown.report import about, story, tables, words
from espnet_topdown.report.chart import curve_chart, curves_of
from espnet_topdown.report.css import stylesheet
from espnet_topdown.report.drawing import legend, search_drawing
from espnet_topdown.report.forest import forest_rows
from espnet_topdown.report.gains import Gain
from espnet_topdown.report.markup import prose
from espnet_topdown.report.palette import inks
from espnet_topdown.report.rows import SearchReport
from espnet_topdown.report.tables import Table

CURVES = (
    "A dot marks the epoch that became the model. The trainer measures these "
    "rates batch by batch; the search decides on decoded errors instead."
)


def page(search: SearchReport, found: Sequence[Gain], figures: Sequence[str]) -> str:
    """The whole page."""
    title = f"Top-down search: {search.base_exp}"
    body = [
        _head(search, found),
        drawing(search, "The search compares the errors below."),
        _overview(search),
        _gains(search, found),
        learning_curves(search, CURVES),
        _counts(search),
        origin(search, figures),
    ]
    return document(title, body)


def document(title: str, body: Sequence[str]) -> str:
    """A page of these sections."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{stylesheet()}</style>\n</head>\n"
        "<body>\n<main>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )


def _head(search: SearchReport, found: Sequence[Gain]) -> str:
    parts = [
        '<header><p class="kicker">Top-down search</p>',
        f"<h1>{escape(search.base_exp)}</h1>",
        f'<p class="lead">{_unbroken(prose(story.headline(search, found)))}</p>',
    ]
    if search.state == "running":
        parts.append(_banner(story.ending(search)))
    facts = story.facts(search, found)
    if facts:
        cells = [
            f"<div><dt>{prose(name)}</dt><dd>{prose(value)}"
            f"<small>{prose(more)}</small></dd></div>"
            for name, value, more in facts
        ]
        parts.append(f'<dl class="facts">{"".join(cells)}</dl>')
    said = "".join(f"<li>{prose(x)}</li>" for x in story.evidence(search, found))
    if said:
        parts.append(f'<ul class="plain">{said}</ul>')
    parts += [_banner(x) for x in story.failures(search)]
    return "\n".join(parts) + "</header>"


def _unbroken(text: str) -> str:
    """No line ends between a number and its noun."""
    return re.sub(r"(?<=\d) (?=[%\w])", "\u00a0", text)


def _banner(text: str) -> str:
    return f'<p class="banner" role="status">{prose(text)}</p>'


def section(title: str, *content: str) -> str:
    """A part of the page with its heading; the content is markup."""
    return f"<section><h2>{prose(title)}</h2>\n" + "\n".join(content) + "</section>"


def wide(content: str, name: str) -> str:
    """What may be wider than a phone scrolls by itself, also by keyboard."""
    label = escape(name, quote=True)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{label}">'
        f"{content}</div>"
    )


def drawing(search: SearchReport, more: str = "") -> str:
    """The models' layers; ``more`` ends the caption."""
    caption = "Layers from the output (top) to the input (bottom), one column a model. "
    caption += more
    said = [story.ending(search)] if search.finished else []
    return section(
        "The search",
        f'<p class="path">{prose(story.path(search))}</p>',
        *[f'<p class="soft">{prose(text)}</p>' for text in said],
        f"<figure>{wide(search_drawing(search), 'The search, drawing')}{legend(search)}"
        f"<figcaption>{caption}</figcaption></figure>",
    )


def _overview(search: SearchReport) -> str:
    content = tables.overview(search)
    controls = "".join(f"<li>{prose(c)}</li>" for c in story.controls(search))
    return section(
        content.title,
        model_table(search, content),
        f'<p class="note">{escape(content.note)}</p>',
        f'<h3>Controls</h3><ul class="plain">{controls}</ul>',
    )


def model_table(search: SearchReport, content: Table, caption: str = "") -> str:
    """A table with a row a model; the best one's is marked."""
    ink = inks(search)
    plain = len(content.header) - content.numeric
    head = "".join(
        f'<th scope="col"{_class(i, plain)}>{escape(h)}</th>'
        for i, h in enumerate(content.header)
    )
    rows = []
    for row in content.rows:
        name = f'<span class="chip {ink[row.node].name}"></span>' + prose(
            words.math(row.node)
        )
        cells = "".join(
            f"<td{_class(i, plain, cell)}>{prose(cell)}</td>"
            for i, cell in enumerate(row.cells, 1)
        )
        best = ' class="best"' if row.node == search.best else ""
        rows.append(f'<tr{best}><th scope="row">{name}</th>{cells}</tr>')
    shown = f"<caption>{prose(caption)}</caption>" if caption else ""
    table = (
        f"<table>{shown}<thead><tr>{head}</tr></thead>\n"
        f"<tbody>{chr(10).join(rows)}</tbody></table>"
    )
    return wide(table, caption or content.title)


def _class(column: int, plain: int, cell: str = "") -> str:
    names = ["n"] if column >= plain else ["t"] if len(cell) < 20 else []
    if cell == words.NOT_RUN:
        names.append("none")
    return f' class="{" ".join(names)}"' if names else ""


def _gains(search: SearchReport, found: Sequence[Gain]) -> str:
    if not found:
        best, base = search.best_node, search.baseline
        same = best is not None and best is base
        said = "The best model is the joint training." if same else words.NOT_RUN
        return section("Best against the others", f"<p>{said}</p>")
    head = "".join(
        f'<th scope="col"{_class(i, 3)}>{h}</th>'
        for i, h in enumerate(tables.GAIN_HEADER)
    )
    table = (
        f'<table><thead><tr>{head}<th scope="col">better \u2190 0 \u2192 worse</th>'
        f"</tr></thead>\n<tbody>{forest_rows(search, found)}</tbody></table>"
    )
    return section(
        "Best against the others",
        wide(table, "Best against the others"),
        f'<p class="note">{tables.GAIN_NOTE}</p>',
    )


def learning_curves(search: SearchReport, caption: str) -> str:
    """The chart, or that there is none."""
    curves = curves_of(search)
    if curves is None:
        return section("Learning curves", f"<p>{words.NOT_RUN}</p>")
    chart = wide(curve_chart(search, curves), "Learning curves, chart")
    return section(
        "Learning curves",
        f"<figure>{chart}<figcaption>{caption}</figcaption></figure>",
    )


def _counts(search: SearchReport) -> str:
    parts = []
    for content in tables.counts_tables(search):
        title = content.title.replace("Counts on ", "")
        parts.append(model_table(search, content, title))
        parts.append(f'<p class="note">{escape(content.note)}</p>')
    return section("Counts", *parts)


def origin(search: SearchReport, figures: Sequence[str]) -> str:
    """Request, versions, commands, files."""
    pairs = about.request(search) + about.environment(search)
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{prose(v)}</dd>" for k, v in pairs)
    commands = "\n".join(escape(c) for c in about.commands(search))
    links = ", ".join(
        f'<a href="{escape(f, quote=True)}">{escape(f)}</a>' for f in figures
    )
    return section(
        "How it was made",
        f'<dl class="env">{rows}</dl>',
        f"<pre><code>{commands}</code></pre>",
        f'<p class="soft">Figures and their numbers: {links or words.NOT_RUN}.</p>',
    )
