"""One model of a search, read from its folder: a row of the report."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json, read_yaml
from espnet_topdown.report.curves import Epoch, read_curve
from espnet_topdown.report.scores import Score, read_decodes, read_score
from espnet_topdown.search.composition import Composition

NOT_RUN = "not run"
BASELINE, CANDIDATE, CONTROL = "baseline", "candidate", "control"


@dataclass(frozen=True)
class Node:
    """The joint training, a candidate or a control.

    `status` is one of done, accepted, rejected, failed, running and not run. `start` is
    where layers that are not frozen began, empty for new initial values. `copied`
    layers came from the joint training like frozen ones, but were trained on.
    """

    name: str
    role: str
    status: str
    why: str = ""
    control: str | None = None
    frozen: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    reinit: tuple[str, ...] = ()
    start: str = ""
    frozen_from: str | None = None
    seed: int | None = None
    max_epoch: int | None = None
    seconds: float | None = None
    valid: Score | None = None
    tests: Mapping[tuple[str, str], Score] = field(default_factory=dict)
    curve: tuple[Epoch, ...] = ()
    progress: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def epochs(self) -> int | None:
        """Epochs trained, as far as the folder says."""
        if self.curve:
            return self.curve[-1].epoch
        return self.progress.get("epoch")

    @property
    def composition(self) -> Composition | None:
        """None for a control, whose name is no composition."""
        try:
            return Composition.parse(self.name)
        except TopDownError:
            return None


@dataclass(frozen=True)
class Surroundings:
    """What a node's folder does not hold: the search it belongs to."""

    base: Path | None
    layers: tuple[str, ...]
    result: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]


def read_node(path: Path, search: Surroundings) -> Node:
    """Read one node; what its folder lacks is None and shown as `not run`."""
    job = _yaml(path / "retrain.yaml")
    role = _role(path.name, job, len(search.layers))
    home = search.base if role == BASELINE and search.base else path
    mine = [e for e in search.events if e.get("node") == path.name]
    recorded = (search.result.get("nodes") or {}).get(path.name) or {}
    config = _yaml(home / "config.yaml") if role == BASELINE else {}
    curve = read_curve(path) or read_curve(home)
    frozen = job.get("frozen") or _frozen(path.name, search.layers)
    copied = bool(job.get("control")) and not job.get("frozen_params")
    clock = None if role == BASELINE else _clock(mine)  # it was trained before
    status, why = _status(path, role, search.result, mine)
    score_file = path / "score.json"
    return Node(
        name=path.name,
        role=role,
        status=status,
        why=why,
        control=job.get("control"),
        frozen=() if copied else tuple(frozen),
        copied=tuple(frozen) if copied else (),
        reinit=tuple(job.get("reinit") or ()),
        start=str(job.get("start") or ""),
        frozen_from=job.get("frozen_from"),
        seed=_first(config.get("seed"), job.get("seed")),
        max_epoch=_first(config.get("max_epoch"), job.get("max_epoch")),
        seconds=_first(_total(curve), recorded.get("seconds"), clock),
        valid=read_score(score_file) if score_file.is_file() else None,
        tests=read_decodes(path),
        curve=curve,
        progress=read_mapping(path / "progress.json"),
        versions=strings(job.get("versions")),
    )


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON file's mapping; empty where there is no such file."""
    data = read_json(path) if path.is_file() else {}
    return data if isinstance(data, dict) else {}


def strings(mapping: object) -> dict[str, str]:
    """Names and values as text, without the empty ones."""
    if not isinstance(mapping, dict):
        return {}
    return {str(k): str(v) for k, v in mapping.items() if v not in (None, "")}


def _yaml(path: Path) -> dict[str, Any]:
    return read_yaml(path) if path.is_file() else {}


def _frozen(name: str, layers: Sequence[str]) -> Sequence[str]:
    """What the name alone says, for a node that was never prepared."""
    try:
        return layers[: Composition.parse(name).n_frozen]
    except TopDownError:
        return ()


def _first(*values: Any) -> Any:
    return next((v for v in values if v is not None), None)


def _role(name: str, job: Mapping[str, Any], n: int) -> str:
    if job.get("control") or name.startswith("control."):
        return CONTROL
    return BASELINE if name == f"m{n}" else CANDIDATE


def _total(curve: Sequence[Epoch]) -> float | None:
    """Seconds of all epochs; None where one of them is not known."""
    known = [e.seconds for e in curve if e.seconds is not None]
    whole = curve and len(known) == curve[-1].epoch
    return sum(known) if whole else None


def _clock(events: Sequence[Mapping[str, Any]]) -> float | None:
    """From the last start to the end of training, by the journal's clock."""
    start = end = None
    for event in events:
        if event.get("event") == "started":
            start, end = _time(event), None
        elif event.get("event") == "trained":
            end = _time(event)
    return (end - start).total_seconds() if start and end else None


def _time(event: Mapping[str, Any]) -> datetime.datetime | None:
    try:
        text = str(event.get("time")).replace("Z", "+00:00")
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return None


def _status(
    path: Path,
    role: str,
    result: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
) -> tuple[str, str]:
    """What became of a node, and why: the journal first, then the files."""
    last = events[-1] if events else {}
    if last.get("event") == "failed":
        return "failed", _cause(last)
    decided = [e["verdict"] for e in events if e.get("verdict")]
    if role == CANDIDATE and decided:
        return decided[-1], ""
    if (path / ".done").exists() or (path / "score.json").exists():
        return _by_path(path.name, role, result), ""
    if last.get("event") == "started" or (path / "progress.json").exists():
        return "running", _progress(read_mapping(path / "progress.json"))
    return NOT_RUN, ""


def _by_path(name: str, role: str, result: Mapping[str, Any]) -> str:
    """A decision that the journal does not hold: what follows the best was refused."""
    path = list(result.get("path") or ())
    if role != CANDIDATE or name not in path or result.get("best") not in path:
        return "done"
    kept = path.index(name) <= path.index(result["best"])
    return "accepted" if kept else "rejected"


def _cause(event: Mapping[str, Any]) -> str:
    if event.get("error"):
        return str(event["error"])
    return f"exit status {event['status']}" if event.get("status") else ""


def _progress(progress: Mapping[str, Any]) -> str:
    epoch, last = progress.get("epoch"), progress.get("max_epoch")
    return f"epoch {epoch} of {last}" if epoch and last else ""
