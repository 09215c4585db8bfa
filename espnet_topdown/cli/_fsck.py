"""Check a search folder: is everything there, and is it what was written?

Whatever is wrong is listed, not only the first thing. A repair moves files to
``quarantine/`` or makes links anew; it never deletes.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import DATA, TopDownError
from espnet_topdown.files import Lock, link, read_json, sha256
from espnet_topdown.jobs import run
from espnet_topdown.jobs.verify import verify
from espnet_topdown.models.checkpoint import check_archive
from espnet_topdown.models.config import read_record
from espnet_topdown.records import Journal, read_seal, recover
from espnet_topdown.scoring.counts import FILE, Counts, read_counts, summary
from espnet_topdown.scoring.score import hypothesis_digest, recount
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.state import (
    ERROR_UNITS,
    RESULT,
    check_search,
    is_finished,
    job_folders,
    read_score,
    sealed_score,
)
from espnet_topdown.search.strategies import Space, outcome

Event = Mapping[str, Any]
TEMPORARY = re.compile(r"^\..+\.(\d+)\.tmp$")
QUARANTINE = "quarantine"
MEND = "run fsck --repair true"


@dataclass
class Report:
    """What was looked at and what is wrong.

    Attributes:
        problems: One message each, ``CODE: what. Do: remedy.``
        repaired: What was set right.
        compared: How many trainings, files and scores were looked at.
    """

    folder: Path
    problems: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)

    def look(self, kind: str, check: Callable[..., Any], *args: Any) -> Any:
        """Call a check and count what it compared; its error becomes a problem.

        Returns:
            What the check returns; None after an error.
        """
        try:
            result = check(*args)
            self.compared[kind] += result if isinstance(result, int) else 0
            return result
        except TopDownError as e:
            self.problems.append(str(e))
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as e:
            where = next((a for a in args if isinstance(a, Path)), "")
            what = f"{where} cannot be understood ({type(e).__name__}: {e})"
            do = "bring the file back, or move its folder away and search again"
            self.problems.append(str(_wrong("E_FSCK", what, do)))
        return None

    def show(self) -> None:
        """Print it, and fail if anything is wrong.

        Raises:
            TopDownError: E_FSCK (65).
        """
        print(*(f"repaired: {line}\n" for line in self.repaired), sep="", end="")
        print(*(f"{line}\n" for line in self.problems), sep="", end="")
        counts = ", ".join(f"{n} {kind}" for kind, n in self.compared.items() if n)
        if self.problems:
            what = f"{len(self.problems)} problems in {self.folder} ({counts} compared)"
            raise _wrong("E_FSCK", what, "see the lines above, or give --repair true")
        print(f"{self.folder}: {counts} compared, nothing wrong")


def fsck(folder: Path, repair: bool = False, decode: bool = False) -> Report:
    """Check a search folder.

    Args:
        folder: What ``search`` wrote.
        repair: Set right what can be; needs that no search runs here.
        decode: Decode every model again and compare the errors; takes minutes.

    Returns:
        What is wrong, and what was set right.

    Raises:
        TopDownError: E_NO_SEARCH (66), E_LOCKED (75) while a search runs.
    """
    report = Report(check_search(folder))
    with Lock(folder / "lock"):
        if repair:
            _repair(folder, report)
        _check(folder, decode, report)
    return report


def _check(folder: Path, decode: bool, report: Report) -> None:
    journal = folder / "journal.jsonl"
    events = report.look("", Journal(journal).events)
    request = report.look("", read_record, folder / "search.yaml") or {}
    report.look("", _request, folder, request, events or [])
    scored = {e["node"]: e for e in events or [] if e["event"] == "scored"}
    for job in job_folders(folder):
        report.compared["trainings"] += 1
        report.look("files", _archives, job)
        if run.is_done(job):
            report.look("files", _frozen, job)
            report.look("files", _scored, job, scored.get(job.name, {}), request)
        for place in sorted(job.glob("decode_*/*")):
            report.look("scores", decoded, place)
        if decode and run.is_done(job):
            report.look("decoded", decode_again, job)
    if events is not None:
        report.look("", _result, folder, request, events)
        if journal.is_file() and not journal.read_bytes().endswith(b"\n"):
            what = f"{journal}: the last line is half-written"
            do = f"run the search again, or {MEND[4:]}"
            report.problems.append(str(_wrong("E_JOURNAL_TORN", what, do)))
    for path in stray(folder):
        what = f"{path} is what a killed process had not finished"
        report.problems.append(str(_wrong("E_STRAY", what, f"{MEND} on {folder}")))


def _request(folder: Path, request: Mapping[str, Any], events: list[Event]) -> None:
    asked = [e["request"] for e in events if "request" in e]
    path = folder / "search.yaml"
    if asked and sha256(path) != asked[-1]:
        raise _wrong("E_DIGEST", f"{path} is not what the journal speaks of")
    for key, digest in (
        (request.get("base_model"), request.get("base_digest")),
        (f"{request.get('base_exp')}/config.yaml", request.get("base_config_digest")),
    ):
        base = Path(str(key))
        if digest and base.is_file() and sha256(base) != digest:
            raise _wrong("E_DIGEST", f"{base} is not what was searched from")


def _archives(folder: Path) -> int:
    # every file of weights agrees with the checksums that it holds
    paths = sorted(folder.glob("*.pth"))
    for path in paths:
        if not path.exists():
            what = f"{path} -> {os.readlink(path)} is not there"
            raise _wrong("E_LINK", what, MEND)
        if not path.is_symlink():
            check_archive(path)
    return sum(not p.is_symlink() for p in paths)


def _frozen(folder: Path) -> int:
    trained = read_record(folder / "retrain.yaml")["trainer"]
    return len(verify(folder)) if trained else 0


def _scored(folder: Path, event: Event, request: Mapping[str, Any]) -> int:
    # sealed; its integers add up, and are those that the journal has
    sealed_score(folder, event)
    counts = read_score(folder / "score.json").counts
    for unit, c in counts.items():
        if isinstance(c, Counts) and (min(c) < 0 or c.corr + c.sub + c.dele != c.ref):
            raise _wrong("E_SCORE", f"{folder}/score.json: {unit} does not add up")
    if event and not folder.name.startswith("control."):
        errors = counts[request["criterion"]].errors
        if errors != event["errors"]:
            what = f"{folder}/score.json has {errors} errors, the journal"
            raise _wrong("E_SCORE", f"{what} {event['errors']}")
    return len(read_seal(folder).get("sha256", ()))


def decoded(place: Path) -> int:
    """Check that a decoded set's score follows from its hypotheses.

    Returns:
        1, or 0 where there is no score.

    Raises:
        TopDownError: E_SCORE, E_UTT_SETS (65).
    """
    path, text = place / "score.json", place / "text"
    if not path.is_file():
        return 0
    score = read_json(path)
    digest = score.get("hyp_sha256")
    if digest and text.is_file() and hypothesis_digest(read_pairs(text)) != digest:
        raise _wrong("E_SCORE", f"{text} is not what {path} was counted from")
    for part in sorted(place.glob("score_*/ref.trn")):
        folder, unit = part.parent, part.parent.name[len("score_") :]
        if unit not in score:
            continue
        counts = recount(folder)
        if len(counts) != score["utts"]:
            raise _wrong("E_UTT_SETS", f"{folder}: utterances differ from {path}")
        counted = summary(counts)
        if counted != {k: score[unit].get(k) for k in counted}:
            what = f"{path}: {unit} is {score[unit]}, {folder} gives {counted}"
            raise _wrong("E_SCORE", what)
        # in order: ids of a .trn file begin with the speaker, those here do not
        listed = read_counts(folder) if (folder / FILE).is_file() else counts
        if list(listed.values()) != list(counts.values()):
            raise _wrong("E_SCORE", f"{folder / FILE} is not what {folder}/*.trn give")
    return 1


def decode_again(folder: Path) -> int:
    """Decode the validation set anew; the same integers must come out.

    Returns:
        1.

    Raises:
        TopDownError: E_SCORE (65).
    """
    old = read_json(folder / "score.json")
    new = run.score(folder, read_record(folder / "retrain.yaml"))
    for key in (*ERROR_UNITS, "utts", "hyp_sha256"):
        if key in old and old[key] != new.get(key):
            what = f"decoding again gives {key} {new.get(key)}, not {old[key]}"
            raise _wrong("E_SCORE", f"{folder}: {what}")
    return 1


def _result(folder: Path, request: Mapping[str, Any], events: list[Event]) -> None:
    """The result follows from the scores, and is what the journal ends with."""
    path = folder / RESULT
    ended = bool(events) and events[-1]["event"] == "search_done"
    if ended and not path.is_file():
        do = "run the same search command, it writes it"
        raise _wrong("E_RESULT_LOST", f"{path} is gone", do)
    if not ended and path.is_file():
        what = f"{path} is there, but the journal does not end with the search's end"
        raise _wrong("E_JOURNAL_CUT", what, f"{MEND}, then the search")
    if not is_finished(folder):
        return
    result = read_json(path)
    if why := _other_than(result, request, events):
        do = "move it away and run the same search again; nothing is trained anew"
        raise _wrong("E_RESULT", f"{path}: {why}", do)
    if os.path.realpath(folder / "best") != os.path.realpath(folder / result["best"]):
        what = f"{folder / 'best'} is not {result['best']}"
        raise _wrong("E_BEST_LINK", what, MEND)


def _other_than(result: Event, request: Mapping[str, Any], events: list[Event]) -> str:
    # what the strategy makes of the journal's errors; "" if that is the result
    models = [e for e in events if e["event"] == "scored" and e["node"][0] == "m"]
    scored = {e["node"]: e["errors"] for e in models}
    for name, node in result["nodes"].items():
        if node["errors"] != scored.get(name, node["errors"]):
            return f"{name} has {scored[name]} errors in the journal, not this"
    options = {k: request[k] for k in ("width", "budget") if k in request}
    options |= {k: tuple(request.get(k) or ()) for k in ("steps", "epochs")}
    space = Space(len(request["layers"]), request["max_frozen"], **options)
    errors = {Composition.parse(name): n for name, n in scored.items()}
    right = outcome(request["strategy"], space, errors)
    if result["best"] == str(right.best):
        return ""
    return f"the best is {right.best} ({right.reason}), not {result['best']}"


def stray(folder: Path) -> Iterator[Path]:
    """Find temporary files whose process is dead.

    Yields:
        Each of them.
    """
    for path in sorted(folder.rglob(".*.tmp")):
        name = TEMPORARY.match(path.name)
        inside = QUARANTINE in path.relative_to(folder).parts
        if name and not inside and not os.path.exists(f"/proc/{name[1]}"):
            yield path


def _repair(folder: Path, report: Report) -> None:
    for path in list(stray(folder)):
        report.repaired.append(f"{path} -> {_set_aside(path, folder)}")
    journal, result = folder / "journal.jsonl", folder / RESULT
    report.repaired += [f"{journal}: {done}" for done in recover(journal)]
    for job in job_folders(folder):
        report.repaired += report.look("", _relink_all, job) or []
    try:
        if is_finished(folder):
            report.repaired += _relink(folder / "best", read_json(result)["best"])
    except TopDownError:
        moved = _set_aside(result, folder)
        report.repaired.append(f"{result} -> {moved}; run the search to write it again")


def _relink_all(folder: Path) -> list[str]:
    # links to models as they were when the job was finished
    links = read_seal(folder).get("links", {}).items()
    return [done for name, target in links for done in _relink(folder / name, target)]


def _relink(path: Path, target: str) -> list[str]:
    # a file that is no link stays
    free = path.is_symlink() or not path.exists()
    right = path.is_symlink() and os.readlink(path) == target
    if right or not free or not (path.parent / target).exists():
        return []
    link(target, path)
    return [f"{path} -> {target}"]


def _set_aside(path: Path, folder: Path) -> Path:
    # into quarantine/, under a name that is free
    place = folder / QUARANTINE
    place.mkdir(exist_ok=True)
    name = str(path.relative_to(folder)).replace("/", "__").lstrip(".")
    names = (name, *(f"{name}.{n}" for n in range(1, 1000)))
    target = next(place / n for n in names if not (place / n).exists())
    os.rename(path, target)
    return target


def _wrong(
    code: str, what: str, do: str = "bring it back, or decode again"
) -> TopDownError:
    return TopDownError(code, what, do, DATA)
