"""The drawing of a search: the layers of each model, and who trained them last."""

from __future__ import annotations

import itertools
from typing import Any

from espnet_topdown.report import _text as text
from espnet_topdown.report._palette import inks
from espnet_topdown.report._study import unit_of
from espnet_topdown.search.state import CONTROL, JOINT, Candidate, SearchState


def drawing(search: SearchState) -> dict[str, Any]:
    """What ``layers.html.j2`` draws: a column a model, and what its blocks mean."""
    start = begun(search.request.get("reinit"))
    legend = [
        ("frozen", "frozen; colour and name say which model trained it"),
        ("new", f"{start}, retrained"),
    ]
    columns = [_column(c, search) for c in search.candidates]
    return {"columns": columns, "legend": legend}


def _column(c: Candidate, search: SearchState) -> dict[str, Any]:
    """One model, its layers from the top."""
    unit = unit_of(search)
    counts = unit.of(c.valid)
    ink = {name: x.name for name, x in inks(search).items()}
    state = {JOINT: "joint training", CONTROL: "control"}.get(c.role, c.status)
    is_best = c.name == search.best_name
    below = f"{text.sum_of(counts)} {unit.counted}" if counts else text.NOT_RUN
    if not counts and c.status in ("failed", "running", "waiting", "interrupted"):
        below = c.status
    return {
        "name": c.control or c.name if c.role == CONTROL else text.math(c.name),
        "state": "\u2605 best" if is_best else state,
        "ink": ink[c.name],
        "best": is_best,
        "control": c.role == CONTROL,
        "blocks": [
            _block(c, i, name, ink) for i, (name, _) in enumerate(search.layers)
        ],
        "counts": below,
        "rate": f"{text.rate(counts)}{unit.sign or ' PPL'}" if counts else "",
    }


def _block(c: Candidate, index: int, layer: str, ink: dict[str, str]) -> dict[str, str]:
    """One layer: how it came to be in the model, and which model trained it last."""
    kind, origin, how = "new", c.name, f"{begun(c.start)} and retrained"
    if layer in c.frozen:
        kind, origin = "frozen", _trained_in(c, index)
        how = f"frozen, trained in {text.math(origin)}" if origin else "frozen"
    elif c.role == JOINT:
        kind, how = "joint", "trained jointly"
    elif layer in c.copied:
        kind, how = "copied", "copied from the joint training and trained on"
    return {
        "layer": layer,
        "kind": kind,
        "origin": text.math(origin) if kind == "frozen" else "",
        "ink": ink.get(origin, "base"),
        "title": f"{layer}: {how}",
    }


def _trained_in(c: Candidate, index: int) -> str:
    if c.composition is None:
        return ""
    ends = itertools.accumulate(c.composition.parts)
    models = zip(ends, c.composition.ancestry)
    return next((str(model) for end, model in models if index < end), c.name)


def begun(start: object) -> str:
    """How a layer that is not frozen came about; ``start`` is ``--reinit``.

    >>> begun(None), begun("shrink:0.4,0.1")
    ('re-initialised', 'begun with --reinit shrink:0.4,0.1')
    """
    return f"begun with --reinit {start}" if start else "re-initialised"
