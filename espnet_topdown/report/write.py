"""Write the report: RESULTS.md, report.html, figures/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.errors import CREATE, TopDownError
from espnet_topdown.files import check_output, write_bytes
from espnet_topdown.report import perplexities
from espnet_topdown.report.figures import write_figures
from espnet_topdown.report.gains import gains
from espnet_topdown.report.html import page
from espnet_topdown.report.markdown import results
from espnet_topdown.report.rows import read_search


@dataclass(frozen=True)
class Written:
    """Where the report is, and its Markdown."""

    files: tuple[Path, ...]
    markdown: str

    def __str__(self) -> str:
        places = "\n".join(str(p) for p in self.files)
        return f"{self.markdown}\n{places}"


def write_report(folder: Path, output_dir: Path | None = None) -> Written:
    """Read a search folder and write its report, into it unless told otherwise.

    The same folders give the same bytes. An unfinished search gives a report that
    says so.
    """
    search = read_search(folder)
    output = Path(output_dir or folder)
    check_output(output, ("RESULTS.md", "report.html"), reports=True)
    try:
        (output / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise TopDownError(
            "E_CREATE", f"{output}: {e.strerror}", "choose another --output_dir", CREATE
        ) from e
    figures = write_figures(search, output / "figures")
    links = [p.relative_to(output).as_posix() for p in figures]
    if search.criterion == perplexities.CRITERION:
        markdown = perplexities.results(search, links)
        html = perplexities.page(search, links)
    else:
        found = gains(search)
        markdown, html = results(search, found, links), page(search, found, links)
    files = {"RESULTS.md": markdown, "report.html": html}
    for name, text in files.items():
        write_bytes(output / name, text.encode())
    places = [output / name for name in files]
    return Written((*places, *figures), markdown)
