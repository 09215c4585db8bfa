"""ESPnet without the run-time type checks of typeguard: it starts in 4 s, not in 10 s.

typeguard rewrites every function of ESPnet while it is imported. ``python -O`` leaves
that out, as typeguard documents, and all assertions too. Here only its decorator is
left out, in our own processes: ESPnet's own commands check as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def leave_out() -> None:
    """Make ``@typechecked`` do nothing; call it before ESPnet is imported."""
    try:
        import typeguard
    except ImportError:  # without ESPnet there is nothing to leave out
        return
    typeguard.typechecked = _unchecked  # type: ignore[assignment]


def _unchecked(target: Callable | None = None, **options: Any) -> Any:
    return (lambda same: same) if target is None else target
