"""The search at a glance: every model's layers, and the errors that it made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from espnet_topdown.report import svg, words
from espnet_topdown.report.errors_plot import PLOT_HEIGHT, errors_plot
from espnet_topdown.report.nodes import BASELINE, CONTROL, Node
from espnet_topdown.report.palette import Ink, inks
from espnet_topdown.report.rows import SearchReport

_LEFT, _COLUMN, _GAP, _HEAD = 58.0, 122.0, 24.0, 62.0
_LOCK = "M2 6V4a3 3 0 0 1 6 0v2h1v6H1V6zM3.4 6h3.2V4a1.6 1.6 0 0 0-3.2 0z"


@dataclass(frozen=True)
class _Place:
    """Where one model is drawn: left edge, and the height of a block."""

    x: float
    block: float
    gap: float

    @property
    def middle(self) -> float:
        return self.x + _COLUMN / 2


def search_drawing(search: SearchReport) -> str:
    """Blocks from the top layer to the bottom one, a column a model, errors below."""
    ink = inks(search)
    n = max(1, len(search.layers))
    block = min(28.0, max(9.0, 210.0 / n))
    gap = 4.0 if block > 15 else 2.0
    places = _places(search.nodes, block, gap)
    below = _HEAD + n * (block + gap)
    right = (places[-1].x if places else _LEFT) + _COLUMN
    parts = [_sides(below, block)]
    for node, place in zip(search.nodes, places):
        parts.append(_column(search, node, place, ink))
    parts += _arrows(search.nodes, places, (below + _HEAD) / 2)
    middles = {node.name: p.middle for node, p in zip(search.nodes, places)}
    parts.append(errors_plot(search, middles, (_LEFT, right), below + 54))
    height = below + 54 + PLOT_HEIGHT + 74
    parts.append(_legend(height - 12))
    width = max(right + 8, 700.0)
    return svg.figure("".join(parts), width, height, "The search", _alt(search))


def _places(nodes: Sequence[Node], block: float, gap: float) -> list[_Place]:
    places, x, before = [], _LEFT, BASELINE
    for node in nodes:
        if node.role == CONTROL and before != CONTROL and places:
            x += _GAP
        places.append(_Place(x, block, gap))
        x += _COLUMN + _GAP
        before = node.role
    return places


def _sides(below: float, block: float) -> str:
    x = _LEFT - 8
    top = svg.label("top", x, _HEAD + block / 2 + 4, class_="note", text_anchor="end")
    low = svg.label("bottom", x, below - block / 2, class_="note", text_anchor="end")
    return top + low


def _column(
    search: SearchReport, node: Node, place: _Place, ink: dict[str, Ink]
) -> str:
    best = node.name == search.best
    state = _state(node, search)
    style = "state best" if best else "state"
    middle = {"text_anchor": "middle"}
    parts = [
        _frame(len(search.layers), place) if best else "",
        svg.label(state, place.middle, 18, class_=style, **middle),
        svg.math_label(_name(node), place.middle, 42, class_="name", **middle),
    ]
    for i, (layer, _) in enumerate(search.layers):
        parts.append(_block(node, i, layer, place, ink))
    missing = " missing" if node.valid is None else ""
    return svg.element(
        "g", "".join(parts), class_=f"model {ink[node.name].name}{missing}"
    )


def _frame(n: int, place: _Place) -> str:
    return svg.element(
        "rect",
        x=place.x - 6,
        y=_HEAD - 6,
        width=_COLUMN + 12,
        height=n * (place.block + place.gap) - place.gap + 12,
        rx=7,
        class_="frame",
    )


def _name(node: Node) -> str:
    return node.control or node.name if node.role == CONTROL else node.name


def _state(node: Node, search: SearchReport) -> str:
    if node.name == search.best:
        return "\u2605 best"
    if node.role == BASELINE:
        return "joint training"
    return "control" if node.role == CONTROL else node.status


def _block(
    node: Node, index: int, layer: str, place: _Place, ink: dict[str, Ink]
) -> str:
    kind, source = _kind(node, index, layer)
    y = _HEAD + index * (place.block + place.gap)
    rect = svg.element(
        "rect", x=place.x, y=y, width=_COLUMN, height=place.block, rx=4, class_=kind
    )
    parts = [svg.element("title", _title(layer, kind, source)), rect]
    if place.block >= 15:
        middle = y + place.block / 2
        start = place.x + 9
        if kind == "frozen":
            lock = svg.element("path", d=_LOCK, transform=_at(start, middle - 6.5))
            parts.append(lock)
            start += 16
        text = svg.clip(layer, 10 if kind == "frozen" else 11)
        parts.append(svg.label(text, start, middle + 4, class_="layer"))
        end = {"x": place.x + _COLUMN - 8, "y": middle + 4, "text_anchor": "end"}
        if kind == "frozen" and source:
            parts.append(svg.math_label(source, class_="from", **end))
        elif kind in ("new", "copied"):
            parts.append(svg.label(kind, class_="from", **end))
    owner = ink[source].name if source in ink else "base"
    return svg.element("g", "".join(parts), class_=f"{owner} {kind}-text")


def _kind(node: Node, index: int, layer: str) -> tuple[str, str]:
    """How a layer came to be in a model, and the model that trained it last."""
    if layer in node.frozen:
        return "frozen", _trained_in(node, index)
    if node.role == BASELINE:
        return "joint", node.name
    return ("copied" if layer in node.copied else "new"), node.name


def _trained_in(node: Node, index: int) -> str:
    if node.composition is None:
        return ""
    end = 0
    for part, model in zip(node.composition.parts, node.composition.ancestry):
        end += part
        if index < end:
            return str(model)
    return node.name


def _title(layer: str, kind: str, source: str) -> str:
    said = {
        "frozen": f"frozen, trained in {words.math(source)}",
        "joint": "trained jointly",
        "new": "re-initialised and retrained",
        "copied": "copied from the joint training and trained on",
    }
    return escape(f"{layer}: {said[kind]}")


def _at(x: float, y: float) -> str:
    return f"translate({x:g} {y:g})"


def _arrows(nodes: Sequence[Node], places: Sequence[_Place], y: float) -> list[str]:
    arrows = []
    for before, node, place in zip(nodes, nodes[1:], places[1:]):
        parent = node.composition.parent if node.composition else None
        if parent is not None and str(parent) == before.name:
            x = place.x - _GAP / 2
            path = f"M{x - 5:g} {y:g}h9m-3.5-3.5l3.5 3.5-3.5 3.5"
            arrows.append(svg.element("path", d=path, class_="arrow"))
    return arrows


def _legend(y: float) -> str:
    entries = (
        ("frozen", "frozen; colour and name: the model that trained it", 326.0),
        ("new", "re-initialised and retrained", 212.0),
        ("refused", "rejected", 74.0),
        ("control", "control", 0.0),
    )
    parts, x = [], _LEFT
    for kind, text, width in entries:
        if kind in ("frozen", "new"):
            mark = svg.element(
                "rect", x=x, y=y - 10, width=18, height=12, rx=3, class_=kind
            )
        elif kind == "refused":
            d = f"M{x + 4:g} {y - 9:g}l10 10m0-10l-10 10"
            mark = svg.element("path", d=d, class_="cross")
        else:
            mark = svg.element("path", d=f"M{x + 9:g} {y - 10.5:g}l6 6-6 6-6-6z")
        owner = "control" if kind == "control" else "base"
        parts.append(svg.element("g", mark, class_=f"mark {owner} {kind}-text"))
        parts.append(svg.label(text, x + 25, y, class_="note"))
        x += 25 + width
    return "".join(parts)


def _alt(search: SearchReport) -> str:
    said = []
    for node in search.nodes:
        counts = node.valid.counts.get(search.criterion) if node.valid else None
        errors = f"{counts.errors} errors" if counts else words.status(node, None)
        frozen = words.layer_list(node.frozen)
        said.append(f"{words.math(node.name)}: frozen {frozen}; {errors}")
    return "One column a model. " + ". ".join(said) + "."
