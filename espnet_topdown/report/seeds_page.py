"""RESULTS.md and report.html over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from espnet_topdown.errors import CREATE, TopDownError
from espnet_topdown.files import check_output, write_bytes
from espnet_topdown.report import markdown, seeds_tables, words
from espnet_topdown.report.html import document, section, wide
from espnet_topdown.report.markup import prose
from espnet_topdown.report.seeds import Seeds, read_seeds
from espnet_topdown.report.seeds_plot import seeds_plot
from espnet_topdown.report.tables import Table
from espnet_topdown.report.write import Written

CAPTION = (
    "One line a seed, the bar is the mean. Lines that go down from joint training to "
    "another model are seeds in which that model makes fewer errors."
)


def write_seeds(folders: Sequence[Path], output_dir: Path) -> Written:
    """Compare searches that differ in their seed; writes RESULTS.md and report.html.

    Raises:
        TopDownError: E_SEEDS, see `read_seeds`; E_CREATE.
    """
    check_output(output_dir, ("RESULTS.md", "report.html"), reports=True)
    seeds = read_seeds(folders)
    try:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
    except OSError as e:
        what = f"{output_dir}: {e.strerror}"
        raise TopDownError(
            "E_CREATE", what, "choose another --output_dir", CREATE
        ) from e
    files = {"RESULTS.md": results(seeds), "report.html": page(seeds)}
    for name, text in files.items():
        write_bytes(Path(output_dir) / name, text.encode())
    places = tuple(Path(output_dir) / name for name in files)
    return Written(places, files["RESULTS.md"])


def results(seeds: Seeds) -> str:
    """RESULTS.md."""
    lines = ["# RESULTS", "", f"**{markdown.escape(seeds_tables.headline(seeds))}**"]
    lines += ["", *(f"- {markdown.escape(s)}" for s in seeds_tables.evidence(seeds))]
    for content in (seeds_tables.means(seeds), seeds_tables.each_seed(seeds)):
        lines += ["", f"## {content.title}", "", *markdown.table(content)]
        lines += ["", markdown.escape(content.note)]
    lines += ["", "## Searches", ""]
    for seed, search in seeds.searches.items():
        lines.append(f"- seed {seed}: {markdown.escape(str(search.folder))}")
    return "\n".join([*lines, ""])


def page(seeds: Seeds) -> str:
    """report.html: one file, nothing loaded from elsewhere."""
    base = ", ".join(s.base_exp for s in seeds.searches.values())
    said = "".join(f"<li>{prose(x)}</li>" for x in seeds_tables.evidence(seeds))
    head = (
        '<header><p class="kicker">Top-down search, '
        f"{words.plural(len(seeds.searches), 'seed')}</p><h1>{escape(base)}</h1>"
        f'<p class="lead">{prose(seeds_tables.headline(seeds))}</p>'
        f'<ul class="plain">{said}</ul></header>'
    )
    drawn = wide(seeds_plot(seeds), "Every seed, drawing")
    body = [
        head,
        section(
            "Every seed", f"<figure>{drawn}<figcaption>{CAPTION}</figcaption></figure>"
        ),
        *map(_table, (seeds_tables.means(seeds), seeds_tables.each_seed(seeds))),
        _searches(seeds),
    ]
    return document(f"Top-down search, several seeds: {seeds.first.base_exp}", body)


def _table(content: Table) -> str:
    plain = len(content.header) - content.numeric

    def kind(column: int) -> str:
        return ' class="n"' if column >= plain else ' class="t"'

    head = "".join(
        f'<th scope="col"{kind(i)}>{escape(h)}</th>'
        for i, h in enumerate(content.header)
    )
    rows = "\n".join(
        f'<tr><th scope="row">{prose(row.node)}</th>'
        + "".join(f"<td{kind(i)}>{prose(c)}</td>" for i, c in enumerate(row.cells, 1))
        + "</tr>"
        for row in content.rows
    )
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"
    note = f'<p class="note">{escape(content.note)}</p>'
    return section(content.title, wide(table, content.title), note)


def _searches(seeds: Seeds) -> str:
    rows = "".join(
        f"<dt>seed {seed}</dt><dd>{escape(str(search.folder))}</dd>"
        for seed, search in seeds.searches.items()
    )
    return section("Searches", f'<dl class="env">{rows}</dl>')
