"""RESULTS.md: the report for people who read a repository."""

from __future__ import annotations

import re
from collections.abc import Sequence

from espnet_topdown.report import about, story, tables, words
from espnet_topdown.report.gains import Gain
from espnet_topdown.report.rows import SearchReport
from espnet_topdown.report.tables import Table

_SPECIAL = re.compile(r"([\\`*|\[\]])")


def escape(text: str) -> str:
    """Text that stays text, also in a table cell.

    >>> escape("a|b <i>*")
    'a\\\\|b &lt;i>\\\\*'
    """
    text = " ".join(text.split())
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return _SPECIAL.sub(r"\\\1", text)


def table(content: Table, best: str | None = None) -> list[str]:
    """A pipe table; the best model's row is bold."""
    columns = len(content.header)
    align = ["---"] * (columns - content.numeric) + ["---:"] * content.numeric
    lines = [_row([escape(h) for h in content.header]), _row(align)]
    for row in content.rows:
        cells = [escape(c) for c in (words.math(row.node), *row.cells)]
        if row.node == best:
            cells = [f"**{c}**" for c in cells]
        lines.append(_row(cells))
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def gain_lines(search: SearchReport, found: Sequence[Gain]) -> list[str]:
    """Best minus the others; says `not run` where nothing can be compared."""
    if not found:
        best, base = search.best_node, search.baseline
        same = best is not None and best is base
        return ["The best model is the joint training." if same else words.NOT_RUN]
    align = ["---"] * 3 + ["---:"] * 4
    lines = [_row(tables.GAIN_HEADER), _row(align)]
    for gain in found:
        lines.append(_row([escape(c) for c in tables.gain_cells(search, gain)]))
    return lines


def results(search: SearchReport, found: Sequence[Gain], figures: Sequence[str]) -> str:
    """The whole file."""
    overview = tables.overview(search)
    lines = ["# RESULTS", "", f"**{escape(story.headline(search, found))}**", ""]
    lines += [f"- {escape(s)}" for s in story.evidence(search, found)]
    lines += ["", "## Search", "", *_search(search)]
    lines += ["", f"## {overview.title}", "", *table(overview, search.best)]
    lines += ["", escape(overview.note)]
    lines += ["", "## Best against the others", ""]
    lines += [*gain_lines(search, found), "", tables.GAIN_NOTE]
    for counts in tables.counts_tables(search):
        lines += ["", f"## {escape(counts.title)}", "", *table(counts, search.best)]
        lines += ["", escape(counts.note)]
    lines += ["", "## Figures", ""]
    lines += [f"- [{escape(f)}]({f})" for f in figures] or [words.NOT_RUN]
    lines += ["", "## Environment", ""]
    lines += [f"- {escape(k)}: {escape(v)}" for k, v in about.environment(search)]
    lines += ["", "## Commands", "", *_fenced(about.commands(search)), ""]
    return "\n".join(lines)


def _search(search: SearchReport) -> list[str]:
    facts = [
        ("path", story.path(search)),
        ("result", story.ending(search)),
        *about.request(search),
        *[("control", said) for said in story.controls(search)],
        *[("failure", said) for said in story.failures(search)],
    ]
    return [f"- {name}: {escape(value)}" for name, value in facts]


def _fenced(lines: Sequence[str]) -> list[str]:
    longest = max((len(t) for x in lines for t in re.findall("`+", x)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", *lines, fence]
