"""The drawing of a search: the layers of each model, and who trained them last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espnet_topdown.report import text
from espnet_topdown.report.palette import inks
from espnet_topdown.report.rows import amount_of, main_unit
from espnet_topdown.search.state import CONTROL, JOINT, Candidate, SearchState


@dataclass(frozen=True)
class Block:
    """One layer of one model. ``kind`` is frozen, joint, new or copied."""

    layer: str
    kind: str
    origin: str
    ink: str
    title: str


@dataclass(frozen=True)
class Column:
    """One model, its layers from the top; ``amount`` is empty where none is known."""

    name: str
    state: str
    ink: str
    best: bool
    control: bool
    blocks: Sequence[Block]
    amount: str
    rate: str


def columns(search: SearchState) -> list[Column]:
    """What ``layers.html.j2`` draws."""
    ink, unit = inks(search), main_unit(search)
    found = []
    for c in search.candidates:
        counts = amount_of(c.valid, unit)
        what = f"{text.amount(counts)} {unit.amount}" if counts else text.NOT_RUN
        if c.status in ("failed", "running", "waiting", "interrupted"):
            what = what if counts else c.status
        column = Column(
            name=c.control or c.name if c.role == CONTROL else text.math(c.name),
            state=_state(c, search),
            ink=ink[c.name].name,
            best=c.name == search.best_name,
            control=c.role == CONTROL,
            blocks=[
                _block(c, i, layer, {name: x.name for name, x in ink.items()})
                for i, (layer, _) in enumerate(search.layers)
            ],
            amount=what,
            rate=f"{text.rate(counts, unit)}{unit.sign or ' PPL'}" if counts else "",
        )
        found.append(column)
    return found


def _state(c: Candidate, search: SearchState) -> str:
    if c.name == search.best_name:
        return "\u2605 best"
    if c.role == JOINT:
        return "joint training"
    return "control" if c.role == CONTROL else c.status


def _block(c: Candidate, index: int, layer: str, ink: dict[str, str]) -> Block:
    kind, origin = _origin(c, index, layer)
    title = {
        "frozen": f"frozen, trained in {text.math(origin)}",
        "joint": "trained jointly",
        "new": f"{begun(c.start)} and retrained",
        "copied": "copied from the joint training and trained on",
    }[kind]
    return Block(
        layer=layer,
        kind=kind,
        origin=text.math(origin) if kind == "frozen" else "",
        ink=ink.get(origin, "base"),
        title=f"{layer}: {title}",
    )


def _origin(c: Candidate, index: int, layer: str) -> tuple[str, str]:
    """How a layer came to be in a model, and the model that trained it last."""
    if layer in c.frozen:
        return "frozen", _trained_in(c, index)
    if c.role == JOINT:
        return "joint", c.name
    return ("copied" if layer in c.copied else "new"), c.name


def _trained_in(c: Candidate, index: int) -> str:
    if c.composition is None:
        return ""
    end = 0
    for part, model in zip(c.composition.parts, c.composition.ancestry):
        end += part
        if index < end:
            return str(model)
    return c.name


def begun(start: object) -> str:
    """How a layer that is not frozen came about; ``start`` is ``--reinit``.

    >>> begun(None), begun("shrink:0.4,0.1")
    ('re-initialised', 'begun with --reinit shrink:0.4,0.1')
    """
    return f"begun with --reinit {start}" if start else "re-initialised"


def legend(search: SearchState) -> list[tuple[str, str]]:
    """Kinds of blocks and what they mean."""
    return [
        ("frozen", "frozen; colour and name say which model trained it"),
        ("new", f"{begun(search.request.get('reinit'))}, retrained"),
    ]
