"""How our programs start Python: without the user's folder on its path.

``python -m`` looks into the current folder first, where a ``random.py`` would take the
place of Python's own. ``-P`` prevents that from Python 3.11 on. For an older one this
file is the program: ``python .../cmd/python.py -m MODULE ...``.
"""

from __future__ import annotations

import sys


def python_module(module: str, *words: str) -> list[str]:
    """The command that runs a module: the one way in which ours are started."""
    how = ["-P"] if sys.version_info >= (3, 11) else [__file__]
    return [sys.executable, *how, "-m", module, *words]


def python_path(path: str) -> str:
    """A ``PYTHONPATH`` without its empty parts, which mean the current folder.

    >>> python_path("/a::/b:")
    '/a:/b'
    """
    return ":".join(part for part in path.split(":") if part)


def main() -> None:
    """Be ``python`` for the words that follow."""
    import os
    import runpy

    if sys.argv[1:2] != ["-m"]:
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file
    main()
