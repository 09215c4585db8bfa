"""What this machine has: programs, packages and their versions."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

SCTK = ("/usr/lib/sctk/bin", "{KALDI_ROOT}/tools/sctk/bin")
SCTK += ("{MAIN_ROOT}/tools/sctk/bin", "{ESPNET_ROOT}/tools/sctk/bin")

_IMPORT = """
import json, sys
import espnet2.tasks.asr, torch
print("\\n" + json.dumps([torch.__version__, torch.cuda.device_count()]))
"""


@dataclasses.dataclass(frozen=True)
class EspnetImport:
    """How importing ESPnet's ASR task went: an error, or what torch then says."""

    error: str = ""
    torch: str = ""
    gpus: int = 0


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


def installed(package: str) -> str | None:
    """Version of an installed package, from its metadata."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def broken_requirements(package: str) -> list[str]:
    """Declared needs of a package that are not met: ``torch 2.12.0 (!=2.12.0)``."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return ["packaging is not installed"]
    broken = []
    for line in importlib.metadata.requires(package) or []:
        need = Requirement(line)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        version = installed(need.name)
        if version is None:
            broken.append(f"{need.name} is missing")
        elif not need.specifier.contains(version, prereleases=True):
            broken.append(f"{need.name} {version} ({need.specifier})")
    return broken


def import_espnet(timeout: float = 300) -> EspnetImport:
    """Import ESPnet in a process of its own; that alone proves an installation."""
    command = [sys.executable, "-c", _IMPORT]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return EspnetImport(error=f"takes more than {timeout:.0f} s")
    if ran.returncode != 0:
        last = (ran.stderr.strip().splitlines() or ["killed"])[-1]
        return EspnetImport(error=last[:200])
    version, gpus = json.loads(ran.stdout.strip().splitlines()[-1])
    return EspnetImport(torch=version, gpus=gpus)
