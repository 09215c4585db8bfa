"""How values are written: the same in the Markdown and on the page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from espnet_topdown.errors import TopDownError
from espnet_topdown.report.nodes import BASELINE, CONTROL, NOT_RUN, Node
from espnet_topdown.scoring.counts import Counts
from espnet_topdown.search.composition import Composition


def math(name: str) -> str:
    """The paper's notation of a node's folder; other names stay as they are.

    >>> math("m1.1.3"), math("control.joint")
    ('M_{1,1,3}', 'control.joint')
    """
    try:
        return Composition.parse(name).math
    except TopDownError:
        return name


def math_in(text: str) -> str:
    """A sentence with the folders' names in the paper's notation.

    >>> math_in("m1.4 is worse than m5: 9 > 8")
    'M_{1,4} is worse than M_{5}: 9 > 8'
    """
    return re.sub(r"\bm\d+(\.\d+)*(@\d+)?\b", lambda m: math(m.group()), text)


def percent(counts: Counts | None) -> str:
    """Errors of 100, two decimals: on 10,000 characters one error shows.

    >>> percent(Counts(ref=200, sub=3))
    '1.50'
    """
    if counts is None:
        return NOT_RUN
    return f"{counts.percent:.2f}" if counts.ref else "no reference"


def signed(value: float) -> str:
    """A difference of percentages, in points; never -0.00.

    >>> signed(-0.001), signed(-1.5)
    ('0.00', '-1.50')
    """
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text


def duration(seconds: float) -> str:
    """Seconds in words that fit a table cell.

    >>> duration(75), duration(9000)
    ('1 min 15 s', '2 h 30 min')
    """
    s = int(seconds + 0.5)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60} s"
    return f"{s // 3600} h {s % 3600 // 60} min"


def epochs(node: Node) -> str:
    """Epochs trained, and which one is the model.

    >>> epochs(Node("m5", "baseline", "not run"))
    'not run'
    """
    best = node.valid.epoch if node.valid else None
    if node.epochs is None:
        return f"best {best}" if best else unknown(node)
    return f"{node.epochs} (best {best})" if best else str(node.epochs)


def unknown(node: Node) -> str:
    """How a missing value is called: a trained model has one that nobody wrote down."""
    return "not recorded" if node.valid else NOT_RUN


def layer_list(names: Sequence[str], most: int = 4) -> str:
    """Layer names, from the top; long lists show their ends.

    >>> layer_list(["a", "b", "c", "d", "e"])
    'a .. e (5)'
    """
    if len(names) > most:
        return f"{names[0]} .. {names[-1]} ({len(names)})"
    return ", ".join(names) if names else "none"


def status(node: Node, best: str | None) -> str:
    """What became of a model: `best` for the one that the search returned."""
    if node.name == best:
        return "best"
    if node.role == BASELINE and node.status == "done":
        return BASELINE
    if node.status == "running" and node.why:
        return f"running ({node.why})"
    return node.status


def role(node: Node) -> str:
    """What a model is, for somebody who has not read the paper."""
    if node.role == CONTROL:
        kind = node.control or node.name.partition(".")[2]
        return f"control: {kind}"
    return "joint training" if node.role == BASELINE else "top-down"


def plural(n: int, noun: str) -> str:
    """A number with its noun.

    >>> plural(1, "layer"), plural(2, "layer")
    ('1 layer', '2 layers')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
