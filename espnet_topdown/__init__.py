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

import html
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_topdown.errors import USAGE, TopDownError, nearest

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
        return f"<pre>{html.escape(self)}</pre>"


class Rows(list[dict[str, Any]]):
    """The models of a search, a mapping each."""

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame``, a row a model.

        Raises:
            TopDownError: E_INSTALL (78) without pandas.
        """
        try:
            import pandas
        except ModuleNotFoundError as e:
            what = "pandas is not installed"
            raise TopDownError("E_INSTALL", what, "run 'pip install pandas'") from e
        return pandas.DataFrame(list(self))


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
        """The experiment with the best model; None while the search is not finished."""
        name = self.state.best_name
        return self.folder / name if name else None

    def status(self) -> Text:
        """Return every model with its state, epoch, time left and where it runs."""
        from espnet_topdown.cli.status import screen

        return Text(screen(self.state))

    def report(self, output_dir: str | Path | None = None) -> Text:
        """Write RESULTS.md, report.html and figures.

        Args:
            output_dir: Where to; None is the folder itself.

        Returns:
            The tables.
        """
        from espnet_topdown.report.write import write_report

        return Text(str(write_report(self.folder, _path(output_dir))))

    def _repr_html_(self) -> str:
        shown = self.status()._repr_html_()
        for figure in sorted(self.folder.glob("figures/*.svg")):  # the report's
            svg = figure.read_text(encoding="utf-8")
            shown += svg[svg.find("<svg") :]
        return shown


def list_layers(
    base_exp: str | Path, stack: str = "auto", base_model: str | Path | None = None
) -> Text:
    """Return an experiment's layers, from the top (near the output) to the bottom.

    Args:
        base_exp: A trained ESPnet experiment.
        stack: A shipped layer stack, a YAML file, or "auto".
        base_model: Its weights: a file in it, or a path; None is its best epoch.

    Raises:
        TopDownError: E_EXP (66), E_STACK (78) and others of ``espnet-topdown layers``.
    """
    from espnet_topdown.jobs.plan import layer_table

    return Text(layer_table(Path(base_exp), stack, _path(base_model)))


def plan_retraining(base_exp: str | Path, freeze: str, **options: Any) -> Text:
    """Return what a retraining would freeze, re-initialise and train. Writes nothing.

    Args:
        base_exp: A trained ESPnet experiment.
        freeze: Names of layers, with commas.
        **options: Those of ``espnet-topdown plan``.

    Raises:
        TopDownError: E_FREEZE_ORDER (78) and others of ``espnet-topdown plan``.
    """
    from espnet_topdown.jobs.plan import plan

    spec = _spec("plan", base_exp, freeze=freeze, **options)
    return Text(plan(spec).table(spec))


def retrain(
    base_exp: str | Path,
    output_dir: str | Path,
    freeze: str,
    ngpu: int | None = None,
    allow_infeasible: bool = False,
    **options: Any,
) -> Path:
    """Retrain once, showing the plan and the errors; the same call continues.

    Args:
        base_exp: A trained ESPnet experiment.
        output_dir: The job's folder.
        freeze: Names of layers, with commas.
        ngpu: GPUs that train together; None is as the base experiment.
        allow_infeasible: Train on, though CTC cannot align some utterances.
        **options: The other ones of ``espnet-topdown retrain``.

    Returns:
        The folder: an ESPnet experiment.

    Raises:
        TopDownError: E_INSTALL (78) and others of ``espnet-topdown retrain``.
    """
    from espnet_topdown.cli import installation

    installation.check()
    from espnet_topdown.jobs.run import run_by_hand

    folder = Path(output_dir)
    spec = _spec("retrain", base_exp, freeze=freeze, folder=folder, **options)
    run_by_hand(spec, folder, ngpu, allow_infeasible)
    return folder


def run_search(
    base_exp: str | Path, output_dir: str | Path, **options: Any
) -> SearchFolder:
    """Run or continue a search; a finished one is returned as it is.

    Args:
        base_exp: A trained ESPnet experiment.
        output_dir: The folder of the search.
        **options: Those of ``espnet-topdown search``, such as ``strategy="greedy"``,
            ``controls="joint,warm"``, ``max_frozen=2``, ``max_jobs=2``.

    Returns:
        The finished search.

    Raises:
        TopDownError: E_USAGE (64) for an option that there is not; E_INSTALL (78) and
            others of ``espnet-topdown search``.
    """
    from espnet_topdown.cli import installation

    installation.check()
    from espnet_topdown.search import driver
    from espnet_topdown.search.request import SearchRequest

    known = SearchRequest.__dataclass_fields__
    _known(options, known, "search")
    for name, value in options.items():
        if isinstance(known[name].default, tuple):
            words = value.split(",") if isinstance(value, str) else value
            options[name] = tuple(w for w in words if w not in ("", "none"))
    options["base_model"] = _path(options.get("base_model"))
    driver.run_search(SearchRequest(Path(base_exp), Path(output_dir), **options))
    return SearchFolder(Path(output_dir))


def load_search(folder: str | Path) -> SearchFolder:
    """Return the search of a folder, finished or not.

    Args:
        folder: What ``run_search`` or ``espnet-topdown search`` wrote.

    Raises:
        TopDownError: E_NO_SEARCH (66).
    """
    from espnet_topdown.search.state import check_search

    return SearchFolder(check_search(Path(folder)))


def _path(value: str | Path | None) -> Path | None:
    return Path(value) if value else None


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _known(options: Iterable[str], known: Iterable[str], verb: str) -> None:
    for name in set(options) - set(known):
        what = f"{verb}: unknown option {name} ({nearest(name, known)})"
        raise TopDownError("E_USAGE", what, "give an option of that verb", USAGE)


def _spec(verb: str, base_exp: str | Path, **options: Any) -> RetrainSpec:
    from espnet_topdown.jobs.spec import spec_by_hand

    options["any_order"] = options.pop("allow_any_order", False)
    _known(options, spec_by_hand.__annotations__, verb)
    for name in ("base_model", "frozen_from"):
        options[name] = _path(options.get(name))
    return spec_by_hand(Path(base_exp), **options)


def _row(candidate: Candidate) -> dict[str, Any]:
    tests = {
        f"{unit} {name} ({decoder})": amount.percent
        for (decoder, name), score in candidate.tests.items()
        for unit, amount in score.counts.items()
        if hasattr(amount, "percent")
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
