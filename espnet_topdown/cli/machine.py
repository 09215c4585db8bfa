"""Where this machine has a program."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

SCTK = (
    "/usr/lib/sctk/bin",
    "{KALDI_ROOT}/tools/sctk/bin",
    "{MAIN_ROOT}/tools/sctk/bin",
    "{ESPNET_ROOT}/tools/sctk/bin",
)


def find_tool(name: str, folders: Sequence[str] = ()) -> str | None:
    """Path of a program in PATH or in folders such as ``{KALDI_ROOT}/bin``."""
    found = shutil.which(name)
    for folder in folders if found is None else ():
        try:
            found = shutil.which(name, path=folder.format(**os.environ))
        except KeyError:  # that variable is not set
            continue
        if found:
            break
    return found
