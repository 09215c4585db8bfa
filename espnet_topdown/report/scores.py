"""Error counts as `score.json` files hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.errors import DATA, TopDownError
from espnet_topdown.files import read_json
from espnet_topdown.scoring.counts import Counts

UNITS = ("cer", "wer", "ter")


@dataclass(frozen=True)
class Score:
    """One decoded set; counts by unit, `folder` holds the hypotheses.

    `err_utts` is the number of utterances with an error, by unit.
    """

    set: str
    decoder: str
    utts: int | None
    epoch: int | None
    counts: Mapping[str, Counts]
    err_utts: Mapping[str, int | None]
    folder: Path
    infeasible: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Scores of two models with the same key can be compared."""
        return (self.decoder, self.set)


def read_score(path: Path, set_name: str = "", decoder: str = "") -> Score:
    """Read a `score.json`; names from the folder win over names in the file."""
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise _broken(path, "is not a mapping")
    units = {u: raw[u] for u in UNITS if raw.get(u)}
    return Score(
        set=set_name or str(raw.get("set") or "valid"),
        decoder=decoder or str(raw.get("decoder") or "unknown"),
        utts=raw.get("utts"),
        epoch=raw.get("epoch"),
        counts={u: _counts(path, u, counts) for u, counts in units.items()},
        err_utts={u: counts.get("err_utts") for u, counts in units.items()},
        folder=path.parent,
        infeasible=raw.get("infeasible") or 0,
    )


def _counts(path: Path, unit: str, raw: Mapping[str, Any]) -> Counts:
    try:
        return Counts(*(int(raw[k]) for k in ("ref", "corr", "sub", "del", "ins")))
    except (KeyError, TypeError, ValueError):
        raise _broken(path, f"lacks a count under '{unit}'") from None


def _broken(path: Path, what: str) -> TopDownError:
    return TopDownError(
        "E_SCORE", f"{path} {what}", "move it aside and score again", DATA
    )


def read_decodes(node: Path) -> dict[tuple[str, str], Score]:
    """Every scored set below `decode_<tag>/`, also those in ESPnet's `org/`."""
    found = {}
    for path in sorted(node.glob("decode_*/**/score.json")):
        tag = path.relative_to(node).parts[0]
        name = path.parent.relative_to(node / tag).as_posix()
        score = read_score(path, name, tag[len("decode_") :])
        found[score.key] = score
    return found
