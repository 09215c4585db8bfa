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

_LEFT, _GAP, _HEAD = 58.0, 24.0, 62.0
_READABLE = 15.0  # the lowest block that has room for text
_LOCK = "M2 6V4a3 3 0 0 1 6 0v2h1v6H1V6zM3.4 6h3.2V4a1.6 1.6 0 0 0-3.2 0z"


@dataclass(frozen=True)
class _Grid:
    """Sizes of the blocks: height, space between two, width."""

    block: float
    gap: float
    column: float


@dataclass(frozen=True)
class _Place:
    """Where one model is drawn: its left edge."""

    x: float
    grid: _Grid

    @property
    def middle(self) -> float:
        return self.x + self.grid.column / 2

    def y(self, layer: int) -> float:
        """The upper edge of a layer's block."""
        return _HEAD + layer * (self.grid.block + self.grid.gap)


def search_drawing(search: SearchReport) -> str:
    """Blocks from the top layer to the bottom one, a column a model, errors below."""
    ink = inks(search)
    n = max(1, len(search.layers))
    block = min(28.0, max(_READABLE, 210.0 / n)) if n <= 24 else 6.0
    longest = max((len(name) for name, _ in search.layers), default=0)
    grid = _Grid(
        block=block,
        gap=4.0 if block > 20 else 2.0,
        column=min(160.0, max(122.0, 54 + 7.0 * longest)),
    )
    places = _places(search.nodes, grid)
    below = _HEAD + n * (grid.block + grid.gap)
    right = places[-1].x + grid.column if places else _LEFT
    parts = [_sides(below, block)]
    for node, place in zip(search.nodes, places):
        parts.append(_column(search, node, place, ink))
    parts += _arrows(search.nodes, places, (below + _HEAD) / 2)
    middles = {node.name: p.middle for node, p in zip(search.nodes, places)}
    height = below + 8
    unit = search.criterion
    if any(node.valid and unit in node.valid.counts for node in search.nodes):
        parts.append(errors_plot(search, middles, (_LEFT, right), below + 54))
        height += 46 + PLOT_HEIGHT + 48
    return svg.figure("".join(parts), right + 8, height, "The search", _alt(search))


def _places(nodes: Sequence[Node], grid: _Grid) -> list[_Place]:
    places, x, before = [], _LEFT, BASELINE
    for node in nodes:
        if node.role == CONTROL and before != CONTROL and places:
            x += _GAP
        places.append(_Place(x, grid))
        x += grid.column + _GAP
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
        width=place.grid.column + 12,
        height=place.y(n) - place.grid.gap - _HEAD + 12,
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
    box = {"width": place.grid.column, "height": place.grid.block, "rx": 4}
    parts = [
        svg.element("title", _title(layer, kind, source, node.start)),
        svg.element("rect", x=place.x, y=place.y(index), class_=kind, **box),
    ]
    if place.grid.block >= _READABLE:
        parts.append(_block_text(kind, layer, source, place, place.y(index)))
    owner = ink[source].name if source in ink else "base"
    small = " small" if place.grid.block < 20 else ""
    return svg.element("g", "".join(parts), class_=f"{owner} {kind}-text{small}")


def _block_text(kind: str, layer: str, source: str, place: _Place, y: float) -> str:
    x, middle = place.x, y + place.grid.block / 2
    parts, start, end = [], x + 9, x + place.grid.column - 8
    at = {"x": end, "y": middle + 3, "text_anchor": "end", "class_": "from"}
    if kind == "frozen":
        parts.append(svg.element("path", d=_LOCK, transform=_at(start, middle - 6.5)))
        start += 16
    if kind == "frozen" and 0 < len(source) < 10:  # longer ones are in the title
        parts.append(svg.math_label(source, **at))
        end -= 16 + 4.2 * len(source)
    elif kind in ("new", "copied"):
        parts.append(svg.label(kind, **at))
        end -= 8 + 6 * len(kind)
    text = svg.clip(layer, int((end - start) / 6.6))
    return svg.label(text, start, middle + 4, class_="layer") + "".join(parts)


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


def begun(start: object) -> str:
    """How a layer that is not frozen came about; ``start`` is ``--reinit``.

    >>> begun(None), begun("shrink:0.4,0.1")
    ('re-initialised', 'begun with --reinit shrink:0.4,0.1')
    """
    return f"begun with --reinit {start}" if start else "re-initialised"


def _title(layer: str, kind: str, source: str, start: str) -> str:
    said = {
        "frozen": f"frozen, trained in {words.math(source)}",
        "joint": "trained jointly",
        "new": f"{begun(start)} and retrained",
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


def legend(search: SearchReport) -> str:
    """What the blocks and the points mean, as a list that wraps on a phone."""
    lock = svg.element("path", d=_LOCK, transform="translate(5.5 1.5) scale(.75)")
    box = {"x": 1, "y": 1, "width": 18, "height": 12, "rx": 3}
    new = f"{begun(search.request.get('reinit'))}, retrained"
    control = svg.element("path", d="M10 1l6 6-6 6-6-6z")
    entries = (
        ("frozen", svg.element("rect", **box, class_="frozen") + lock, _FROZEN),
        ("new", svg.element("rect", **box, class_="new"), new),
        ("mark", svg.element("path", d=_CROSS, class_="cross"), "rejected"),
        ("mark", control, "control"),
    )
    items = []
    for kind, drawn, text in entries:
        group = svg.element("g", drawn, class_=f"base mark {kind}-text")
        attributes = {"viewBox": "0 0 20 14", "aria_hidden": "true"}
        items.append(f"<li>{svg.element('svg', group, **attributes)}{text}</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'


_CROSS = "M5 2l10 10m0-10l-10 10"
_FROZEN = "frozen; colour and name say which model trained it"


def _alt(search: SearchReport) -> str:
    said = []
    for node in search.nodes:
        counts = node.valid.counts.get(search.criterion) if node.valid else None
        errors = f"{counts.errors} errors" if counts else words.status(node, None)
        frozen = words.layer_list(node.frozen)
        said.append(f"{words.math(node.name)}: frozen {frozen}; {errors}")
    return "One column a model. " + ". ".join(said) + "."
