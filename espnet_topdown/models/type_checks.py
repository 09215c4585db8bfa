"""ESPnet without its run-time type checks and without what its import prints.

The type checks are typeguard's: without them it starts in 4 s, not in 10 s.

typeguard rewrites every function of ESPnet while it is imported. ``python -O`` leaves
that out, as typeguard documents, and all assertions too. Here only its decorator is
left out, in our own processes: ESPnet's own commands check as ever.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """While ESPnet may be imported: nothing is printed.

    What ESPnet and its packages print then, of a download that failed or of a faster
    package that is not there, is no news for a user; it goes to the log (DEBUG).
    """
    disable_typeguard()
    warnings.filterwarnings("ignore", category=FutureWarning, module="espnet2")
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        yield
    if text.getvalue():
        logging.getLogger(__name__).debug("imports: %s", text.getvalue())


def import_quietly(module: str) -> ModuleType:
    """Return a module, imported now, that may import ESPnet.

    Args:
        module: Its name.

    Returns:
        The module.
    """
    with quiet_imports():
        return importlib.import_module(module)


def disable_typeguard() -> None:
    """Make ``@typechecked`` do nothing; call it before ESPnet is imported."""
    try:
        import typeguard
    except ImportError:  # without ESPnet there is nothing to leave out
        return
    typeguard.typechecked = _unchecked  # type: ignore[assignment]


def _unchecked(target: Callable | None = None, **options: Any) -> Any:
    return (lambda same: same) if target is None else target
