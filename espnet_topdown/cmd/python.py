"""How our programs start Python: without the user's folder on its path.

``python -m`` looks into the current folder first, where a ``random.py`` would take the
place of Python's own.
"""

from __future__ import annotations

import sys


def python_module(module: str, *words: str) -> list[str]:
    """Return the command that runs a module: the one way in which ours are started.

    Args:
        module: its dotted name.
        words: its arguments.
    """
    return [sys.executable, "-P", "-m", module, *words]


def python_path(path: str) -> str:
    """Return a ``PYTHONPATH`` without its empty parts, which mean the current folder.

    Args:
        path: parts with colons.

    >>> python_path("/a::/b:")
    '/a:/b'
    """
    return ":".join(part for part in path.split(":") if part)
