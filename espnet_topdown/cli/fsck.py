"""Check a search folder: is everything there, and is it what was written?

Whatever is wrong is listed, not only the first thing. A repair moves files to
``quarantine/`` or makes links anew; it never deletes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from espnet_topdown.cli import fsck_job
from espnet_topdown.errors import DATA, TopDownError
from espnet_topdown.files import Lock, link, read_json, read_yaml, sha256
from espnet_topdown.records import Journal, recover
from espnet_topdown.search.state import (
    RESULT,
    check_search,
    is_finished,
    job_folders,
)

TEMPORARY = re.compile(r"^\..+\.(\d+)\.tmp$")
QUARANTINE = "quarantine"


@dataclass
class Report:
    """What was looked at and what was found.

    Attributes:
        found: One message a problem, ``CODE: what. Do: remedy.``
        repaired: What was set right.
        checked: How many jobs, files and scores were compared.
    """

    found: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, n: int = 1) -> None:
        """Add to the number of things that were compared."""
        self.checked[what] = self.checked.get(what, 0) + n

    def look(self, check: Callable[..., Any], *args: Any) -> Any:
        """Call a check; its error becomes a line of the report."""
        try:
            return check(*args)
        except TopDownError as e:
            self.found.append(str(e))
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as e:
            where = next((a for a in args if isinstance(a, Path)), "")
            what = f"{where} cannot be understood ({type(e).__name__}: {e})"
            do = "bring the file back, or move its folder away and search again"
            self.found.append(str(TopDownError("E_FSCK", what, do, DATA)))
        return None


def fsck(folder: Path, repair: bool = False, decode: bool = False) -> Report:
    """Check a search folder.

    Args:
        folder: What ``search`` wrote.
        repair: Set right what can be; needs that no search runs here.
        decode: Decode every model again and compare the errors; takes minutes.

    Raises:
        TopDownError: E_NO_SEARCH (66), E_LOCKED (75) while a search runs.
    """
    folder = check_search(folder)
    with Lock(folder / "lock"):
        report = Report()
        if repair:
            _repair(folder, report)
        _check(folder, decode, report)
    return report


def _check(folder: Path, decode: bool, report: Report) -> None:
    events = report.look(lambda f: Journal(f).events(), folder / "journal.jsonl")
    request = report.look(read_yaml, folder / "search.yaml") or {}
    report.look(_request, folder, request, events or [])
    scored = {e["node"]: e for e in events or [] if e["event"] == "scored"}
    for job in job_folders(folder):
        report.count("jobs")
        for check in fsck_job.CHECKS:
            report.count("files", report.look(check, job, scored.get(job.name)) or 0)
        for place in sorted(job.glob("decode_*/*")):
            if report.look(fsck_job.decoded, place):
                report.count("scores")
        if decode and report.look(fsck_job.decode_again, job):
            report.count("decoded")
    if events is not None:
        report.look(_torn, folder / "journal.jsonl")
        report.look(_result, folder, request, events)
    for path in stray(folder):
        what = f"{path} is what a killed process had not finished"
        report.look(_raise, "E_STRAY", what, f"run fsck --repair true on {folder}")


def _request(folder: Path, request: dict[str, Any], events: list[dict]) -> None:
    path = folder / "search.yaml"
    told = [e["request"] for e in events if "request" in e]
    if told and sha256(path) != told[-1]:
        _raise("E_DIGEST", f"{path} is not what the journal speaks of", "bring it back")
    for key, digest in (
        (request.get("base_model"), request.get("base_digest")),
        (f"{request.get('base_exp')}/config.yaml", request.get("base_config_digest")),
    ):
        base = Path(str(key))
        if digest and base.is_file() and sha256(base) != digest:
            _raise("E_DIGEST", f"{base} is not what was searched from", "bring it back")


def _torn(path: Path) -> None:
    data = path.read_bytes() if path.is_file() else b""
    if data and not data.endswith(b"\n"):
        what = f"{path}: the last line is half-written"
        _raise("E_JOURNAL_TORN", what, "run the search again, or fsck --repair true")


def _result(folder: Path, request: dict[str, Any], events: list[dict]) -> None:
    """The result follows from the scores, and is what the journal ends with."""
    path = folder / RESULT
    ended = bool(events) and events[-1]["event"] == "search_done"
    if not path.is_file():
        if ended:
            what = f"{path} is gone"
            _raise("E_RESULT_LOST", what, "run the same search command, it writes it")
        return
    if not is_finished(folder) or not ended:
        what = f"{path} is there, but the journal does not end with the search's end"
        _raise("E_JOURNAL_CUT", what, "run fsck --repair true, then the search")
    result = read_json(path)
    errors = {e["node"]: e["errors"] for e in events if e["event"] == "scored"}
    why = wrong_decision(request["strategy"], result, errors)
    if why:
        do = "move it away and run the same search again; nothing is trained anew"
        _raise("E_RESULT", f"{path}: {why}", do)
    if os.path.realpath(folder / "best") != os.path.realpath(folder / result["best"]):
        what = f"{folder / 'best'} is not {result['best']}"
        _raise("E_BEST_LINK", what, "run fsck --repair true")


def wrong_decision(
    strategy: str, result: Mapping[str, Any], errors: Mapping[str, float]
) -> str:
    """Why a result does not follow from the errors that the journal has, or "".

    >>> wrong_decision("full", {"best": "a", "nodes": {}}, {"a": 2, "b": 1})
    'b has 1 errors, the best, a, has 2'
    """
    for name, told in result["nodes"].items():
        have = told.get("errors", told.get("value"))
        if name in errors and have != errors[name]:
            return f"{name} has {errors[name]} errors in the journal, {have} here"
    best = result["best"]
    if best not in errors:
        return f"the best, {best}, was never scored"
    if strategy != "greedy":
        least = min(errors, key=lambda n: (errors[n], n != best))
        if least == best:
            return ""
        return (
            f"{least} has {errors[least]} errors, the best, {best}, has {errors[best]}"
        )
    path = [n for n in result["path"] if n in errors]
    if best not in path:
        return f"the best, {best}, is not on the path"
    for above, below in zip(path, path[1:]):
        worse = errors[below] > errors[above]
        if worse != (above == best):
            return f"{below} has {errors[below]} errors after {errors[above]}"
    return ""


def stray(folder: Path) -> Iterator[Path]:
    """Temporary files whose process is dead."""
    for path in sorted(folder.rglob(".*.tmp")):
        found = TEMPORARY.match(path.name)
        inside = QUARANTINE in path.relative_to(folder).parts
        if found and not inside and not os.path.exists(f"/proc/{found[1]}"):
            yield path


def _raise(code: str, what: str, do: str) -> NoReturn:
    raise TopDownError(code, what, do, DATA)


def _repair(folder: Path, report: Report) -> None:
    for path in list(stray(folder)):
        report.repaired.append(f"{path} -> {set_aside(path, folder)}")
    journal = folder / "journal.jsonl"
    report.repaired += [f"{journal}: {done}" for done in recover(journal)]
    for job in job_folders(folder):
        report.repaired += report.look(fsck_job.relink, job) or []
    result = folder / RESULT
    try:
        if is_finished(folder) and not (folder / "best").exists():
            best = read_json(result)["best"]
            link(best, folder / "best")
            report.repaired.append(f"{folder / 'best'} -> {best}")
    except TopDownError:
        moved = set_aside(result, folder)
        report.repaired.append(f"{result} -> {moved}; run the search to write it again")


def set_aside(path: Path, folder: Path) -> Path:
    """Move a file into ``quarantine/`` under a name of its own."""
    place = folder / QUARANTINE
    place.mkdir(exist_ok=True)
    name = str(path.relative_to(folder)).replace("/", "__").lstrip(".")
    n, target = 0, place / name
    while target.exists():
        n += 1
        target = place / f"{name}.{n}"
    os.rename(path, target)
    return target


def print_report(folder: Path, repair: bool, decode: bool) -> None:
    """Check, say what was found, and fail if anything remains.

    Raises:
        TopDownError: E_FSCK (65).
    """
    report = fsck(folder, repair, decode)
    for line in report.repaired:
        print(f"repaired: {line}")
    for line in report.found:
        print(line)
    counts = ", ".join(f"{n} {what}" for what, n in report.checked.items())
    if report.found:
        more = "" if repair else ", or give --repair true"
        raise TopDownError(
            "E_FSCK",
            f"{len(report.found)} problems in {folder} ({counts} compared)",
            f"see the lines above{more}",
            DATA,
        )
    print(f"{folder}: {counts} compared, nothing wrong")
