"""Small SVG elements: escaped, with numbers of two decimals, always the same bytes."""

from __future__ import annotations

import html
import math

from espnet_topdown.report import words


def element(tag: str, content: str = "", **attributes: object) -> str:
    """One element; `content` is markup, `_` in an attribute's name is `-`.

    >>> element("line", x1=1.0, stroke_width=2, class_="a")
    '<line x1="1" stroke-width="2" class="a"/>'
    """
    pairs = [
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None and value != ""
    ]
    head = f"<{tag}{''.join(pairs)}"
    return f"{head}>{content}</{tag}>" if content else f"{head}/>"


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return html.escape(str(value), quote=True)


def label(text: str, x: float, y: float, **attributes: object) -> str:
    """Text at a point."""
    return element("text", html.escape(text), x=x, y=y, **attributes)


def math_label(name: str, x: float, y: float, **attributes: object) -> str:
    """A node's name in the paper's notation, with a real subscript."""
    return element("text", math_span(name), x=x, y=y, **attributes)


def math_span(name: str) -> str:
    """The notation as text spans.

    >>> math_span("m1.4")
    'M<tspan class="sub" dy="3">1,4</tspan>'
    """
    text = words.math(name)
    if not text.startswith("M_{"):
        return html.escape(text)
    sub = element("tspan", html.escape(text[3:-1]), class_="sub", dy=3)
    return f"M{sub}"


def clip(text: str, most: int) -> str:
    """The text, without its middle where it is too long to draw.

    >>> clip("encoder_block12", 9)
    'enco\u2026ck12'
    """
    if len(text) <= most:
        return text
    ends = max(1, (most - 1) // 2)
    return f"{text[:ends]}\u2026{text[-ends:]}"


def figure(content: str, width: float, height: float, title: str, alt: str) -> str:
    """A whole drawing, which says in words what it shows."""
    name = "".join(c if c.isalnum() else "-" for c in title.lower())
    head = element("title", html.escape(title), id=f"{name}-t")
    head += element("desc", html.escape(alt), id=f"{name}-d")
    return element(
        "svg",
        head + content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-t {name}-d",
        style=f"min-width:{0.8 * width:.0f}px;max-width:{1.15 * width:.0f}px",
    )


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from low to high.

    >>> ticks(0, 23)
    [0.0, 5.0, 10.0, 15.0, 20.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / max(1, most - 1)
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones, even on a logarithmic axis.

    >>> log_ticks(8, 60)
    [10.0, 15.0, 20.0, 30.0, 50.0]
    >>> log_ticks(1, 200)
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]
    """
    steps = (1, 2, 5) if high > 20 * low else (1, 1.5, 2, 3, 5, 7)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [k * 10.0**d for d in decades for k in steps]
    return [v for v in values if low <= v <= high]
