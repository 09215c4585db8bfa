"""What a search folder says: one reader for status, report, fsck, clean and the search.

Nothing is computed on tensors here and nothing is cached: the files are the state.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_topdown.cmd.launch import open_jobs, why_waiting
from espnet_topdown.errors import DATA, MISSING, TopDownError
from espnet_topdown.files import (
    json_bytes,
    link,
    lock_holder,
    read_json,
    read_yaml,
    sha256,
    write_json,
)
from espnet_topdown.models.config import read_record
from espnet_topdown.records import DONE, Journal, check_seal
from espnet_topdown.scoring.counts import UnitScore, unit_score
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.curves import Epoch, read_curve

RESULT = "result.json"
NOT_RUN = "not run"
JOINT, CANDIDATE, CONTROL = "joint", "candidate", "control"
ERROR_UNITS = ("cer", "wer", "ter")
LIKELIHOOD = "ppl"
Key = tuple[str, str]  # decoder and set


@dataclass(frozen=True)
class Score:
    """One decoded set: counts by unit; ``folder`` holds what was scored."""

    set: str
    decoder: str
    utts: int | None
    epoch: int | None
    counts: Mapping[str, UnitScore]
    folder: Path
    model_file: str = ""

    @property
    def key(self) -> Key:
        """Scores of two models with the same key can be compared."""
        return (self.decoder, self.set)


@dataclass(frozen=True)
class Candidate:
    """The joint training, a candidate or a control, as its folder and the journal say.

    Attributes:
        status: done, accepted, rejected, failed, trained, running, waiting,
            interrupted or not run; ``why`` says more.
        where: Where it runs, empty for one that does not.
        frozen: Layers whose weights were kept, from the top.
        copied: Layers that came from the joint training and were trained on.
        start: Where the other layers began; empty for new initial values.
        errors: Errors or nats on the validation set.
    """

    name: str
    role: str
    status: str
    why: str = ""
    where: str = ""
    control: str | None = None
    frozen: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    start: str = ""
    seed: int | None = None
    seconds: float | None = None
    errors: float | None = None
    valid: Score | None = None
    tests: Mapping[Key, Score] = field(default_factory=dict)
    curve: tuple[Epoch, ...] = ()
    progress: Mapping[str, Any] = field(default_factory=dict)

    @property
    def epochs(self) -> int | None:
        """Epochs trained, as far as the folder says."""
        return self.curve[-1].epoch if self.curve else self.progress.get("epoch")

    @property
    def composition(self) -> Composition | None:
        """None for a control, whose name is no composition."""
        return _composition(self.name)


@dataclass(frozen=True)
class SearchState:
    """A search folder. ``finished`` is None while there is no result.

    Attributes:
        layers: From the top; with their number of parameters where it is known.
        train_hours: Speech of the training set; None where its shape file is not here.
        candidates: Joint training first, then as the search went, controls last.
        owner: Who searches here now, see ``files.lock_holder``.
    """

    folder: Path
    base_exp: str
    stack: str
    strategy: str
    criterion: str
    decoder: str
    layers: tuple[tuple[str, int | None], ...]
    train_hours: float | None
    candidates: tuple[Candidate, ...]
    best_name: str | None
    path: tuple[str, ...]
    reason: str
    finished: str | None
    last_event: str
    versions: Mapping[str, str]
    request: Mapping[str, Any]
    owner: Mapping[str, Any]

    @property
    def joint(self) -> Candidate | None:
        """The joint training."""
        return next(iter(self.with_role(JOINT)), None)

    @property
    def best(self) -> Candidate | None:
        """The model that the search returned; None while it runs."""
        return self.find(self.best_name) if self.best_name else None

    @property
    def status(self) -> str:
        """finished, running, interrupted or not run."""
        if self.finished:
            return "finished"
        active = {"running", "waiting"} & {c.status for c in self.candidates}
        if self.owner or active:
            return "running"
        begun = any(c.status != NOT_RUN for c in self.candidates)
        return "interrupted" if begun else NOT_RUN

    @property
    def test_sets(self) -> tuple[Key, ...]:
        """What any model was decoded on, the search's own decoder first.

        A set that only repeats the validation scores is left out.
        """
        keys = {key for c in self.candidates for key in c.tests}
        keys -= {c.valid.key for c in self.candidates if c.valid}
        return tuple(sorted(keys, key=lambda k: (k[0] != self.decoder, k)))

    def find(self, name: str) -> Candidate | None:
        """The candidate of that name.

        Returns:
            The candidate; None if there is none.
        """
        return next((c for c in self.candidates if c.name == name), None)

    def with_role(self, role: str) -> tuple[Candidate, ...]:
        """The candidates of a role, in the order of the search.

        Returns:
            The candidates.
        """
        return tuple(c for c in self.candidates if c.role == role)


def check_search(folder: Path) -> Path:
    """Refuse a folder that is no search.

    Args:
        folder: What a user gave.

    Returns:
        The folder.

    Raises:
        TopDownError: E_NO_SEARCH (66).
    """
    if (Path(folder) / "search.yaml").is_file():
        return Path(folder)
    what = f"no search in {folder} (search.yaml is missing)"
    do = "give the folder that 'espnet-topdown search' wrote, e.g. exp/asr_x_topdown"
    raise TopDownError("E_NO_SEARCH", what, do, MISSING)


def read_state(folder: Path) -> SearchState:
    """Read a search folder, finished or not.

    Returns:
        What the folder says.

    Raises:
        TopDownError: E_NO_SEARCH (66); E_YAML, E_JSON, E_SCORE or E_JOURNAL_CORRUPT
            where a file is broken.
    """
    folder = check_search(folder)
    request = read_record(folder / "search.yaml")
    result = _record(folder / RESULT)
    events = Journal(folder / "journal.jsonl").events()
    jobs = (_record(job / "retrain.yaml") for job in job_folders(folder))
    sizes: dict[str, int] = next((j["layers"] for j in jobs if j.get("layers")), {})
    layers = tuple((str(x), sizes.get(x)) for x in request.get("layers") or ())
    base_exp = str(request.get("base_exp") or "")
    base = _base_folder(folder, base_exp)
    search = SearchState(
        folder=folder,
        base_exp=base_exp or "unknown",
        stack=str(request.get("stack") or "unknown"),
        strategy=str(request.get("strategy") or "unknown"),
        criterion=str(request.get("criterion") or "cer"),
        decoder=str(request.get("decoder") or "unknown"),
        layers=layers,
        train_hours=_train_hours(base, base_exp),
        candidates=(),
        best_name=result.get("best"),
        path=tuple(result.get("path") or ()),
        reason=str(result.get("reason") or ""),
        finished=str(result.get("finished") or "unknown") if result else None,
        last_event=_last_event(events),
        versions=result.get("versions") or request.get("versions") or {},
        request=request,
        owner=lock_holder(folder / "lock"),
    )
    candidates = []
    for name in _names(search, events):
        own = [e for e in events if e.get("node") == name]
        candidates.append(_candidate(folder / name, search, base, own))
    return dataclasses.replace(search, candidates=tuple(candidates))


# Read one; what its folder lacks is None and shown as ``not run``.
def _candidate(
    folder: Path,
    search: SearchState,
    base: Path | None,
    events: Sequence[Mapping[str, Any]],
) -> Candidate:
    job = _record(folder / "retrain.yaml")
    role = _role(folder.name, job, len(search.layers))
    home = base if role == JOINT and base else folder
    config = _yaml(home / "config.yaml") if role == JOINT else {}
    curve = read_curve(folder) or read_curve(home)
    layers = [name for name, _ in search.layers]
    frozen = tuple(job.get("frozen") or _frozen(folder.name, layers))
    kept, own = job.get("frozen_params") or [], job.get("frozen_in_base", [])
    copied = bool(job.get("control")) and kept == own
    came = tuple(layers) if job.get("control") == "restart" else frozen
    progress = read_progress(folder)
    status, why, where = _status(folder, role, search, events)
    valid = folder / "score.json"
    score = read_score(valid) if valid.is_file() else None
    mine = score.counts.get(search.criterion) if score else None
    scored = [e["errors"] for e in events if e.get("errors") is not None]
    return Candidate(
        name=folder.name,
        role=role,
        status=status,
        why=why,
        where=where,
        control=job.get("control"),
        frozen=() if copied else frozen,
        copied=came if copied else (),
        start=str(job.get("start") or ""),
        seed=_first(config.get("seed"), job.get("seed")),
        seconds=_total(curve),
        errors=mine.errors if mine else _first(*scored[-1:]),
        valid=score,
        tests=_decodes(folder, score),
        curve=curve,
        progress=progress,
    )


# Status, why and where: the journal first, then the files.
def _status(
    folder: Path, role: str, search: SearchState, events: Sequence[Mapping[str, Any]]
) -> tuple[str, str, str]:
    last = events[-1] if events else {}
    if last.get("event") == "failed":
        return "failed", f"exit status {last.get('status')}", ""
    decided = [e["verdict"] for e in events if e.get("verdict")]
    if role == CANDIDATE and decided:
        return decided[-1], "", ""
    if (folder / DONE).exists() or (folder / "score.json").exists():
        return _by_path(folder.name, role, search), "", ""
    if last.get("event") == "trained":
        return "trained", "", ""
    progress = read_progress(folder)
    if last.get("event") != "started" and not progress:
        return NOT_RUN, "", ""
    jobs = [job.job for job in open_jobs(folder) if job.job]
    where = ", ".join(f"job {job}" for job in jobs) or "this machine"
    epoch, end = progress.get("epoch"), progress.get("max_epoch")
    so_far = f"epoch {epoch} of {end}" if epoch and end else ""
    if not jobs and not progress and not (folder / "train.log").exists():
        return ("waiting", "for its turn", "") if search.owner else (NOT_RUN, "", "")
    if not search.owner and not jobs:
        return "interrupted", so_far, ""
    waits = why_waiting(folder / "train.log")
    if waits:
        return "waiting", f"for {waits}", where
    return "running", beside_training(folder, progress) or so_far, where


def beside_training(folder: Path, progress: Mapping[str, Any]) -> str:
    """What a running job does before its first epoch or after its last.

    Args:
        folder: The job.
        progress: What ``read_progress`` says of it.

    Returns:
        "waiting", "being scored" (the joint model), "no epoch yet", "all epochs
        trained", or nothing while it trains.
    """
    if why_waiting(folder / "train.log"):
        return "waiting"
    if not _record(folder / "retrain.yaml").get("trainer", True):
        return "being scored"
    if progress.get("epoch", 0) == progress.get("max_epoch"):
        return "all epochs trained"
    return "" if progress else "no epoch yet"


# A decision that the journal does not hold: what follows the best was refused.
def _by_path(name: str, role: str, search: SearchState) -> str:
    path, best = search.path, search.best_name
    if role != CANDIDATE or name not in path or best not in path:
        return "done"
    kept = path.index(name) <= path.index(best)
    return "accepted" if kept else "rejected"


def _composition(name: str) -> Composition | None:
    try:
        return Composition.parse(name)
    except TopDownError:
        return None


# What the name alone says, for a candidate that was never prepared.
def _frozen(name: str, layers: Sequence[str]) -> Sequence[str]:
    composition = _composition(name)
    return layers[: composition.n_frozen] if composition else ()


def _role(name: str, job: Mapping[str, Any], n: int) -> str:
    if job.get("control") or name.startswith("control."):
        return CONTROL
    return JOINT if name == f"m{n}" else CANDIDATE


def _names(search: SearchState, events: Sequence[Mapping[str, Any]]) -> list[str]:
    seen = [f"m{len(search.layers)}"] if search.layers else []
    seen += [str(e["node"]) for e in events if e.get("node")]
    seen += search.path
    seen += [job.name for job in job_folders(search.folder)]
    unique = list(dict.fromkeys(seen))
    return sorted(unique, key=lambda name: name.startswith("control."))


def job_folders(folder: Path) -> list[Path]:
    """The folders of models and controls that were prepared.

    Returns:
        The folders, by name.
    """
    found = (p.parent for p in Path(folder).glob("*/retrain.yaml"))
    return sorted(p for p in found if not p.is_symlink())


# Find the joint training: paths in a recipe are relative to the recipe.
def _base_folder(folder: Path, base_exp: str) -> Path | None:
    if not base_exp:
        return None
    above = folder.resolve().parents
    places = [p / base_exp for p in above] + [Path(base_exp)]
    places += [above[0] / Path(base_exp).name]  # both were moved together
    return next((p for p in places if p.is_dir()), None)


# By the shape file of stage 10, whose path is relative to the recipe.
def _train_hours(base: Path | None, base_exp: str) -> float | None:
    config = _yaml(base / "config.yaml") if base else {}
    sets = config.get("train_data_path_and_name_and_type") or [("", "", "")]
    names = config.get("train_shape_file") or ()
    if base is None or not names or sets[0][2] != "sound":
        return None
    from espnet_topdown.data.audio import parse_rate  # not needed for a status
    from espnet_topdown.data.kaldi_dir import list_files

    shapes = list_files(Path(str(base.resolve()).removesuffix(base_exp)) / names[0])
    if not all(path.is_file() for path in shapes):
        return None

    rate = parse_rate(str((config.get("frontend_conf") or {}).get("fs", 16000)))
    lines = (line for path in shapes for line in path.open())
    samples = (line.split()[1].split(",")[0] for line in lines)
    return sum(map(int, samples)) / rate / 3600


def _last_event(events: Sequence[Mapping[str, Any]]) -> str:
    if not events:
        return ""
    last = events[-1]
    words = [str(last.get(k)) for k in ("event", "node") if last.get(k)]
    return f"{' '.join(words)} at {last.get('time', 'an unknown time')}"


# Seconds of all epochs; None where one of them is not known.
def _total(curve: Sequence[Epoch]) -> float | None:
    known = [e.seconds for e in curve if e.seconds is not None]
    return sum(known) if curve and len(known) == curve[-1].epoch else None


def _first(*values: Any) -> Any:
    return next((v for v in values if v is not None), None)


def _yaml(path: Path) -> dict[str, Any]:
    return read_yaml(path) if path.is_file() else {}


def _record(path: Path) -> dict[str, Any]:
    return read_record(path) if path.is_file() else {}


def read_progress(folder: Path) -> dict[str, Any]:
    """Where a training is, as its trainer says.

    Args:
        folder: The job.

    Returns:
        What ``progress.json`` holds; nothing where it cannot be read: it is for show.
    """
    path = Path(folder) / "progress.json"
    try:
        data = read_json(path) if path.is_file() else {}
    except TopDownError:
        return {}
    return data if isinstance(data, dict) else {}


def read_score(path: Path, set_name: str = "", decoder: str = "") -> Score:
    """Read a ``score.json``; names from the folder win over names in the file.

    Args:
        path: The file.
        set_name: Of the set, if the folder tells it.
        decoder: The tag of ``decode_<tag>``, if the folder tells it.

    Returns:
        The score.

    Raises:
        TopDownError: E_SCORE (65), E_JSON.
    """
    raw = read_json(path)
    counts: dict[str, UnitScore] = {}
    try:
        for unit in (*ERROR_UNITS, LIKELIHOOD):
            if raw.get(unit):
                counts[unit] = unit_score(raw[unit])
                kinds = {type(n) for n in counts[unit]}
                if kinds != ({int, float} if unit == LIKELIHOOD else {int}):
                    raise ValueError(f"'{unit}' has a count that is no whole number")
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        what = f"{path} is no score ({type(e).__name__}: {e})"
        do = "move it aside and score again"
        raise TopDownError("E_SCORE", what, do, DATA) from None
    return Score(
        set=set_name or str(raw.get("set") or "valid"),
        decoder=decoder or str(raw.get("decoder") or "unknown"),
        utts=raw.get("utts"),
        epoch=raw.get("epoch"),
        counts=counts,
        folder=path.parent,
        model_file=str(raw.get("model_file") or ""),
    )


# Every scored set below ``decode_<tag>/``, also those in ESPnet's ``org/``; not those
# of a control that was trained on since and whose best epoch is another one now.
def _decodes(folder: Path, valid: Score | None) -> dict[Key, Score]:
    found = {}
    for path in sorted(folder.glob("decode_*/**/score.json")):
        tag = path.relative_to(folder).parts[0]
        name = path.parent.relative_to(folder / tag).as_posix()
        score = read_score(path, name, tag[len("decode_") :])
        now = valid if valid and valid.model_file == score.model_file != "" else score
        if now.epoch == score.epoch:
            found[score.key] = score
    return found


def model_of(search: SearchState, name: str) -> tuple[Path, str]:
    """Where a scored model is.

    Args:
        search: The search.
        name: Of one of its candidates.

    Returns:
        Its experiment, for the joint training the base; the file of weights there, or
        "best".
    """
    c = search.find(name)
    if c is None or c.valid is None:
        raise ValueError(f"{name} was not scored")
    exp = Path(search.base_exp) if c.role == JOINT else search.folder / name
    return exp, read_json(c.valid.folder / "score.json").get("model_file", "best")


def check_finished(folder: Path) -> SearchState:
    """Refuse a search without a result.

    Args:
        folder: What a user gave.

    Returns:
        What it says.

    Raises:
        TopDownError: E_UNFINISHED (78); those of ``read_state``.
    """
    search = read_state(folder)
    if search.finished and search.best:
        return search
    what = f"{folder}: the search has no result yet"
    raise TopDownError("E_UNFINISHED", what, "let it finish first")


def write_result(folder: Path, journal: Journal, result: Mapping[str, Any]) -> None:
    """End a search: the link ``best``, the journal's last event, then the file.

    Args:
        folder: Of the search.
        journal: Gets ``search_done`` with the digest of the file.
        result: What ``result.json`` will hold.
    """
    link(result["best"], Path(folder) / "best")
    fields = {"best": result["best"], "reason": result["reason"]}
    digest = hashlib.sha256(json_bytes(result)).hexdigest()
    journal.append("search_done", **fields, result=digest)
    write_json(Path(folder) / RESULT, result)


def is_finished(folder: Path) -> bool:
    """Whether a search has ended, with the result that its journal speaks of.

    Returns:
        Whether there is nothing left to do.

    Raises:
        TopDownError: E_DIGEST (65) when result.json is another one.
    """
    path = Path(folder) / RESULT
    if not path.is_file():
        return False
    events = Journal(path.with_name("journal.jsonl")).events()
    if not events or events[-1]["event"] != "search_done":
        return False
    if sha256(path) != events[-1].get("result", sha256(path)):
        what = f"{path} is not what the search wrote"
        do = "move it away and run the same command again; nothing is trained anew"
        raise TopDownError("E_DIGEST", what, do, DATA)
    return True


def sealed_score(folder: Path, event: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """A finished job's score and the digest of its seal, both checked.

    Args:
        folder: The job.
        event: The journal's ``scored`` about it; empty if there is none yet.

    Returns:
        What score.json holds, and the digest.

    Raises:
        TopDownError: E_DIGEST (65) when anything that decides was changed.
    """
    done = sha256(folder / DONE)
    if event.get("done", done) != done:
        what = f"{folder / DONE} is not the one that was scored"
        do = f"bring it back, or move {folder} away and run the same command again"
        raise TopDownError("E_DIGEST", what, do, DATA)
    check_seal(folder)
    return read_json(folder / "score.json"), done
