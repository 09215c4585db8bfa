"""What a search folder says, as plain values: the request, the models, the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.errors import MISSING, TopDownError
from espnet_topdown.files import read_yaml
from espnet_topdown.records import Journal
from espnet_topdown.report.nodes import (
    BASELINE,
    Node,
    Surroundings,
    read_mapping,
    read_node,
    strings,
)


@dataclass(frozen=True)
class SearchReport:
    """A search folder. `finished` is None while there is no result.json.

    `layers` go from the top (near the output) to the bottom, with their number of
    parameters where the request has it.
    """

    folder: Path
    base_exp: str
    stack: str
    strategy: str
    criterion: str
    decoder: str
    layers: tuple[tuple[str, int | None], ...]
    nodes: tuple[Node, ...]
    best: str | None
    path: tuple[str, ...]
    reason: str
    finished: str | None
    last_event: str
    seconds: float | None
    versions: Mapping[str, str]
    request: Mapping[str, Any]

    @property
    def baseline(self) -> Node | None:
        """The joint training."""
        return next((n for n in self.nodes if n.role == BASELINE), None)

    @property
    def best_node(self) -> Node | None:
        """The model that the search returned; None while it runs."""
        return self.node(self.best) if self.best else None

    @property
    def state(self) -> str:
        """`finished`, `running` (or interrupted) or `not run`."""
        if self.finished:
            return "finished"
        started = any(n.status != "not run" for n in self.nodes if n.role != BASELINE)
        return "running" if started else "not run"

    @property
    def test_sets(self) -> tuple[tuple[str, str], ...]:
        """The (decoder, set) pairs that any model was decoded on.

        The search's own decoder comes first. A set that only repeats the validation
        scores is left out.
        """
        keys = {key for n in self.nodes for key in n.tests}
        keys -= {n.valid.key for n in self.nodes if n.valid}
        return tuple(sorted(keys, key=lambda k: (k[0] != self.decoder, k)))

    def node(self, name: str) -> Node | None:
        """The node of that name."""
        return next((n for n in self.nodes if n.name == name), None)

    def having(self, role: str) -> tuple[Node, ...]:
        """The nodes of a role, in the order of the search."""
        return tuple(n for n in self.nodes if n.role == role)


def read_search(folder: Path) -> SearchReport:
    """Read a search folder, finished or not.

    Raises:
        TopDownError: E_NO_SEARCH where there is no search.yaml, E_YAML, E_JSON,
            E_SCORE or E_JOURNAL_CORRUPT where a file is broken.
    """
    folder = Path(folder)
    request = _request(folder)
    result = read_mapping(folder / "result.json")
    events = Journal(folder / "journal.jsonl").events()
    layers = tuple(_layer(x) for x in request.get("layers") or ())
    around = Surroundings(
        base=_base_folder(folder, str(request.get("base_exp") or "")),
        layers=tuple(name for name, _ in layers),
        result=result,
        events=events,
    )
    names = _names(folder, result, events, len(layers))
    return SearchReport(
        folder=folder,
        base_exp=str(request.get("base_exp") or "unknown"),
        stack=str(request.get("stack") or "unknown"),
        strategy=str(request.get("strategy") or "unknown"),
        criterion=str(request.get("criterion") or "cer"),
        decoder=str(request.get("decoder") or "unknown"),
        layers=layers,
        nodes=tuple(read_node(folder / name, around) for name in names),
        best=result.get("best"),
        path=tuple(result.get("path") or ()),
        reason=str(result.get("reason") or ""),
        finished=str(result.get("finished") or "unknown") if result else None,
        last_event=_last_event(events),
        seconds=result.get("seconds"),
        versions=strings(result.get("versions") or request.get("versions")),
        request=request,
    )


def _request(folder: Path) -> dict[str, Any]:
    path = folder / "search.yaml"
    if path.is_file():
        return read_yaml(path)
    do = "give the folder that 'espnet-topdown search' wrote"
    raise TopDownError("E_NO_SEARCH", f"no search.yaml in {folder}", do, MISSING)


def _layer(entry: object) -> tuple[str, int | None]:
    if isinstance(entry, dict):
        return str(entry.get("name")), entry.get("n_params")
    return str(entry), None


def _last_event(events: Sequence[Mapping[str, Any]]) -> str:
    if not events:
        return ""
    last = events[-1]
    words = [str(last.get(k)) for k in ("event", "node") if last.get(k)]
    return f"{' '.join(words)} at {last.get('time', 'an unknown time')}"


def _base_folder(folder: Path, base_exp: str) -> Path | None:
    """Find the joint training: paths in a recipe are relative to the recipe."""
    if not base_exp:
        return None
    above = folder.resolve().parents
    places = [p / base_exp for p in above] + [Path(base_exp)]
    places += [above[0] / Path(base_exp).name]  # both were moved together
    return next((p for p in places if p.is_dir()), None)


def _names(
    folder: Path,
    result: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    n: int,
) -> list[str]:
    """Joint training first, then as the search went, controls last."""
    seen = [f"m{n}"] if n else []
    seen += [str(e["node"]) for e in events if e.get("node")]
    seen += list(result.get("path") or ())
    folders = sorted(p.parent.name for p in folder.glob("*/retrain.yaml"))
    seen += [name for name in folders if not (folder / name).is_symlink()]
    unique = list(dict.fromkeys(seen))
    return sorted(unique, key=lambda name: name.startswith("control."))
