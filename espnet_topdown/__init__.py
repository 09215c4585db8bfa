"""Top-down training for ESPnet: train the classifier first, then everything below.

The functions behind ``espnet-topdown VERB``, with the same options and errors::

    from espnet_topdown import list_layers, run_search

    list_layers("exp/asr_train_raw_en_char")
    search = run_search("exp/asr_train_raw_en_char", "exp/topdown", controls="joint")
    search.table.to_pandas()

Nothing of ESPnet or torch is imported before a function needs it. Every mistake is a
``TopDownError`` with a ``code`` and a ``remedy``. A call that was interrupted is
continued by the same call.
"""

from __future__ import annotations

import os
import sys

# In the shell's command an empty part of PYTHONPATH, which is the current folder, is
# left out: a user's typing.py is not Python's. A part that names the folder stays.
if os.path.basename(sys.argv[0]) == "espnet-topdown":
    _parts = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if len(_parts) > 1 and "" in _parts and os.getcwd() not in _parts:
        sys.path[:] = [part for part in sys.path if part != os.getcwd()]

import base64
import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_topdown.errors import TopDownError

if TYPE_CHECKING:
    from espnet_topdown.jobs.spec import RetrainSpec
    from espnet_topdown.search.state import Candidate, SearchState

__version__ = "0.1.0"
__all__ = [
    "TopDownError",
    "list_layers",
    "load_search",
    "plan_retraining",
    "retrain",
    "run_search",
]


class Text(str):
    """A table as a terminal shows it; a notebook shows it in one width, too."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        style = "font-family: monospace; white-space: pre; overflow-x: auto"
        return f'<pre style="{style}">{html.escape(self)}</pre>'


class Rows(list[dict[str, Any]]):
    """The models of a search, a mapping each."""

    def to_csv(self) -> str:
        """Return a table as pandas, R and spreadsheets read it; unknown is empty.

        >>> Rows([{"model": "m1.4", "cer": float("nan")}]).to_csv()
        'model,cer\\nm1.4,\\n'
        """
        import csv
        import io

        columns = dict.fromkeys(name for row in self for name in row)
        text = io.StringIO()
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(self._known())
        return text.getvalue()

    def to_json(self) -> str:
        """Return a JSON list of objects; unknown is null."""
        import json

        return json.dumps(self._known(), indent=1, allow_nan=False) + "\n"

    def _known(self) -> list[dict[str, Any]]:
        return [{k: None if v != v else v for k, v in row.items()} for row in self]

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame``, a row a model.

        Raises:
            TopDownError: E_INSTALL (78) without pandas.
        """
        try:
            import pandas
        except ModuleNotFoundError as e:
            what = "pandas is not installed"
            do = "run pip install 'espnet_topdown[notebook]'"
            raise TopDownError("E_INSTALL", what, do) from e
        return pandas.DataFrame(list(self))

    def _repr_html_(self) -> str:
        heads = list(dict.fromkeys(name for row in self for name in row))
        lines = [_html_line("th", heads)]
        lines += [_html_line("td", [row.get(name) for name in heads]) for row in self]
        return f"<table>{''.join(lines)}</table>"


@dataclass(frozen=True)
class SearchFolder:
    """What ``run_search`` left in a folder, finished or not; read again at each use."""

    folder: Path

    @property
    def state(self) -> SearchState:
        """All that the folder says.

        Raises:
            TopDownError: E_NO_SEARCH (66), or what a broken file is called.
        """
        from espnet_topdown.search.state import read_state

        return read_state(self.folder)

    @property
    def table(self) -> Rows:
        """A row a model: how it was trained, its errors on validation and test sets."""
        return Rows(map(_row, self.state.candidates))

    @property
    def best(self) -> Path | None:
        """The experiment with the best model; None while the search is not finished.

        Where no retraining was better, it is the base experiment.
        """
        state = self.state
        if state.best is None:
            return None
        is_base = state.best.role == "joint"
        return Path(state.base_exp) if is_base else self.folder / state.best.name

    @property
    def model(self) -> dict[str, str]:
        """The best model for ESPnet, ``Speech2Text(**search.model)``.

        An encoder or language model of ours is made known to ESPnet by the way.

        Raises:
            TopDownError: E_UNFINISHED (78) while there is no result.
        """
        from espnet_topdown.report.pack import for_espnet

        return for_espnet(self.folder)

    def status(self) -> Text:
        """Return every model with its state, epoch, time left and where it runs."""
        from espnet_topdown.cli.status import format_status

        return Text(format_status(self.state))

    def report(self, output_dir: str | Path | None = None) -> Text:
        """Write RESULTS.md, report.html and figures.

        Args:
            output_dir: Where to; None is the folder itself.

        Returns:
            The tables.
        """
        from espnet_topdown.report.write import write_report

        return Text(write_report([self.folder], Path(output_dir or self.folder)))

    def _repr_html_(self) -> str:
        from espnet_topdown.report.write import draw_figures

        shown = self.status()._repr_html_()
        for name, svg in draw_figures(self.folder).items():
            # an image, not a part of the page: its ids and styles stay its own
            source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
            shown += f'<img alt="{name}" src="{source}" style="background: white">'
        return shown


def list_layers(base_exp: str | Path, **options: Any) -> Text:
    """An experiment's layers, from the top (near the output) to the bottom.

    Args:
        base_exp: A trained ESPnet experiment.
        **options: Those of ``espnet-topdown layers``: ``stack``, ``base_model``.

    Returns:
        A table: number, layer, parameters, first and last tensor.

    Raises:
        TopDownError: E_EXP (66), E_STACK (78) and others of ``espnet-topdown layers``.
    """
    from espnet_topdown.jobs.plan import layer_table

    read = _read("layers", base_exp=base_exp, **options)
    return Text(layer_table(read["base_exp"], read["stack"], read["base_model"]))


def plan_retraining(base_exp: str | Path, freeze: str, **options: Any) -> Text:
    """What a retraining would freeze, re-initialise and train. Writes nothing.

    Args:
        base_exp: A trained ESPnet experiment.
        freeze: Names of layers: a list, or with commas.
        **options: Those of ``espnet-topdown plan``.

    Returns:
        A table: layer, parameters, state ("frozen", "new", ...), where its values are
        from.

    Raises:
        TopDownError: E_FREEZE_ORDER (78) and others of ``espnet-topdown plan``.
    """
    from espnet_topdown.jobs.plan import plan

    spec = _spec(_read("plan", base_exp=base_exp, freeze=freeze, **options))
    return Text(plan(spec).table(spec))


def retrain(
    base_exp: str | Path, output_dir: str | Path, freeze: str, **options: Any
) -> Path:
    """Retrain once, showing the plan and the errors; the same call continues.

    Args:
        base_exp: A trained ESPnet experiment.
        output_dir: The model's folder.
        freeze: Names of layers: a list, or with commas.
        **options: The other ones of ``espnet-topdown retrain``, such as ``ngpu``.

    Returns:
        The folder: an ESPnet experiment.

    Raises:
        TopDownError: E_INSTALL (78) and others of ``espnet-topdown retrain``.
    """
    given = {"base_exp": base_exp, "output_dir": output_dir, "freeze": freeze}
    options = _read("retrain", **given, **options)
    from espnet_topdown.cli import installation

    installation.check()
    from espnet_topdown.jobs.run import run_by_hand

    names = "output_dir ngpu allow_infeasible allow_pipes allow_overlap"
    run = [options.pop(name) for name in names.split()]
    run_by_hand(_spec(options, run[0]), *run)
    return run[0]


def run_search(
    base_exp: str | Path, output_dir: str | Path, **options: Any
) -> SearchFolder:
    """Run or continue a search; a finished one is returned as it is.

    Args:
        base_exp: A trained ESPnet experiment.
        output_dir: The folder of the search.
        **options: Those of ``espnet-topdown search``, such as ``strategy="greedy"``,
            ``controls="joint,warm"``, ``max_frozen=2``, ``max_jobs=2``; what is with
            commas there may be a list.

    Returns:
        The finished search.

    Raises:
        TopDownError: E_USAGE (64) for an option that there is not, or a value that it
            does not take; E_INSTALL (78) and others of ``espnet-topdown search``.
    """
    options = _read("search", base_exp=base_exp, output_dir=output_dir, **options)
    from espnet_topdown.cli import installation

    installation.check()
    from espnet_topdown.search import driver
    from espnet_topdown.search.request import SearchRequest

    controls = options["controls"].split(",")
    options["controls"] = tuple(c for c in controls if c not in ("", "none"))
    driver.run_search(SearchRequest(**options))
    return SearchFolder(options["output_dir"])


def load_search(folder: str | Path) -> SearchFolder:
    """The search of a folder, finished or not.

    Args:
        folder: What ``run_search`` or ``espnet-topdown search`` wrote.

    Returns:
        The search.

    Raises:
        TopDownError: E_NO_SEARCH (66).
    """
    from espnet_topdown.search.state import check_search

    return SearchFolder(check_search(Path(folder)))


def _html_line(cell: str, values: list[Any]) -> str:
    shown = [f"{v:.2f}" if isinstance(v, float) else str(v) for v in values]
    cells = ["" if v == "None" else html.escape(v) for v in shown]
    return f"<tr>{''.join(f'<{cell}>{each}</{cell}>' for each in cells)}</tr>"


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


# The command line's own parser reads a verb's options: its names, values and errors.
def _read(verb: str, **options: Any) -> dict[str, Any]:
    from espnet_topdown.cli.main import parser_of

    words = [f"--{n}={_word(v)}" for n, v in options.items() if v is not None]
    return vars(parser_of(verb).parse_args(words))


def _word(value: Any) -> str:
    is_list = isinstance(value, (list, tuple, set))
    return ",".join(map(str, value)) if is_list else str(value)


def _spec(options: dict[str, Any], folder: Path | None = None) -> RetrainSpec:
    from espnet_topdown.jobs.spec import spec_by_hand

    any_order = options.pop("allow_any_order")
    return spec_by_hand(any_order=any_order, folder=folder, **options)


def _row(candidate: Candidate) -> dict[str, Any]:
    tests = {
        f"{unit} {name} ({decoder})": counts.rate
        for (decoder, name), score in candidate.tests.items()
        for unit, counts in score.counts.items()
    }
    return {
        "model": candidate.name,
        "role": candidate.role,
        "status": candidate.status,
        "frozen": ",".join(candidate.frozen),
        "seed": candidate.seed,
        "epochs": candidate.epochs,
        "seconds": candidate.seconds,
        "errors": candidate.errors,
        **tests,
    }
