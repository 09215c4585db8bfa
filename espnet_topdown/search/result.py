"""``result.json``: the last file of a search, and whether it is the one it wrote."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown.errors import DATA, INTERNAL, TopDownError
from espnet_topdown.files import (
    json_bytes,
    link,
    read_json,
    sha256,
    sync_folder,
    write_json,
)
from espnet_topdown.records import DONE, Journal, check_seal

RESULT = "result.json"


def write_result(folder: Path, journal: Journal, result: Mapping[str, Any]) -> None:
    """The link ``best``, the journal's last event with the digest, then the file."""
    link(result["best"], Path(folder) / "best")
    told = {"best": result["best"], "reason": result["reason"]}
    digest = hashlib.sha256(json_bytes(result)).hexdigest()
    journal.append("search_done", **told, result=digest)
    write_json(Path(folder) / RESULT, result)


def is_finished(folder: Path) -> bool:
    """Whether a search has ended, with the result that its journal speaks of.

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
        raise TopDownError(
            "E_DIGEST",
            f"{path} is not what the search wrote",
            "move it away and run the same command again; nothing is trained anew",
            DATA,
        )
    return True


def put_aside(folder: Path) -> None:
    """Rename the result of a narrower request, so that nobody takes it for the end."""
    path = Path(folder) / RESULT
    if path.is_file():
        os.replace(path, path.with_name("result.narrower.json"))
        sync_folder(path.parent)


def read_score(folder: Path, event: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The score of a finished job and the digest of its seal, both checked.

    Args:
        folder: The job's.
        event: The journal's ``scored`` about it; empty if there is none yet.

    Raises:
        TopDownError: E_DIGEST (65) when anything that decides was changed.
    """
    done = sha256(folder / DONE)
    if event.get("done", done) != done:
        raise TopDownError(
            "E_DIGEST",
            f"{folder / DONE} is not the one that was scored",
            f"bring it back, or move {folder} away and run the same command again",
            DATA,
        )
    check_seal(folder)
    return read_json(folder / "score.json"), done


def check_same_set(name: str, score: Mapping[str, Any], root: Path, unit: str) -> None:
    """Two models are compared on the same validation set: E_EVAL_SET (70)."""
    first = read_json(Path(root) / "score.json")
    mine, its = ((s[unit]["ref"], s["utts"]) for s in (score, first))
    if mine != its:
        raise TopDownError(
            "E_EVAL_SET",
            f"{name} was scored on {mine[1]} utterances and {mine[0]} symbols, "
            f"{Path(root).name} on {its[1]} and {its[0]}",
            "give another --output_dir: the validation set has changed",
            INTERNAL,
        )
