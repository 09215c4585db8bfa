"""python -m espnet_topdown.cli.installation

Do the installed packages work together? They are imported in a process of its own,
because only that proves it; a pass is remembered under the installed versions, so that
it costs seconds once and nothing afterwards. Versions that do work together are in
``constraints``, compiled by ``make constraints``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.errors import TopDownError, command

NEEDED = ("torch", "torchaudio", "soundfile", "espnet2.tasks.asr")  # in this order
CONSTRAINTS = Path(__file__).parents[1] / "constraints"
_TRY_SECONDS = 600

# Imports the modules of its command line, one line of JSON before and after each.
_TRY = """
import sys
sys.path = [part for part in sys.path if part]  # not the user's folder
import json, traceback
def say(**fields):
    print("\\n" + json.dumps(fields), flush=True)
for name in sys.argv[1:]:
    say(module=name, error="ended")
    try:
        __import__(name)
        if name == "torch":  # a numpy that does not fit is only a warning until then
            sys.modules[name].zeros(1).numpy()
        say(module=name, error="")
    except BaseException as e:
        files = []
        while True:
            files += [frame.filename for frame in traceback.extract_tb(e.__traceback__)]
            cause = e.__cause__ or e.__context__
            if cause is None:
                break
            e = cause
        say(module=name, error=f"{type(e).__name__}: {e}", files=files)
if "torch" in sys.modules:
    say(gpus=sys.modules["torch"].cuda.device_count())
"""


@dataclasses.dataclass(frozen=True)
class Trial:
    """How importing some modules went.

    Attributes:
        errors: By module, in the order in which they were tried; "" is a success.
        files: By module, of the calls that led to its error, the innermost last.
        gpus: How many GPUs torch sees.
    """

    errors: dict[str, str]
    files: dict[str, Sequence[str]]
    gpus: int = 0

    def problem(self, module: str) -> TopDownError | None:
        """Return why a module could not be imported, and what mends it."""
        error = self.errors[module]
        if not error:
            return None
        names = _involved(module, error, self.files.get(module, ()))
        one, *others = [f"{n} {installed(n) or '(not installed)'}" for n in names]
        what = f"{one} cannot be used" + (f" with {others[0]}" if others else "")
        what += f": {re.sub(r'/[^ ]*/(site|dist)-packages/', '', error)[:300]}"
        known = _tested()
        if not known:
            do = f"make setup PYTHON=/path/to/python{supported()[0]}"
            here = f"Python {platform.python_version()} has no tested set of versions"
            return TopDownError("E_INSTALL", f"{what}; {here}", do)
        if fit := [f"{name} {known[name]}" for name in names if name in known]:
            what += f"; known to work together: {', '.join(fit)}"
        return TopDownError("E_INSTALL", what, f"run '{remedy(names)}'")


def installed(package: str) -> str | None:
    """Return the version of an installed package; None if it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def supported() -> list[str]:
    """Return the Pythons that have a tested set, as ``3.11``, oldest first."""
    names = [p.stem[len("python") :] for p in CONSTRAINTS.glob("python*.txt")]
    return sorted(names, key=lambda name: [int(part) for part in name.split(".")])


def _constraints() -> Path:
    """Return the file with the tested set of this Python; it may be missing."""
    return CONSTRAINTS / f"python{'.'.join(platform.python_version_tuple()[:2])}.txt"


def _tested() -> dict[str, str]:
    """Return the versions that work together on this Python, by package; or {}."""
    path = _constraints()
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    pinned = [line.split()[0].split("==") for line in lines if "==" in line]
    return {name: version for name, version in pinned}


def try_imports(modules: Sequence[str] = NEEDED) -> Trial:
    """Import modules, one after the other, in a process of its own.

    Args:
        modules: Their dotted names.

    Returns:
        How it went.
    """
    words = [sys.executable, "-c", _TRY, *modules]
    try:
        ran = subprocess.run(words, capture_output=True, timeout=_TRY_SECONDS)
        output, end = ran.stdout, f"exit status {ran.returncode}"
        if ran.returncode < 0:
            end = f"killed by {signal.Signals(-ran.returncode).name}"
    except subprocess.TimeoutExpired as e:
        output, end = e.stdout or b"", f"takes more than {_TRY_SECONDS} s"
    lines = [json.loads(line) for line in output.splitlines() if line[:2] == b'{"']
    tried = {line["module"]: line for line in lines if "module" in line}
    errors = {m: tried.get(m, {"error": "ended"})["error"] for m in modules}
    return Trial(
        {m: end if e == "ended" else e for m, e in errors.items()},
        {m: line.get("files", []) for m, line in tried.items()},
        max((line.get("gpus", 0) for line in lines), default=0),
    )


def remedy(names: Sequence[str]) -> str:
    """Return the command that installs packages in versions that are known to work."""
    python, known = sys.executable, _tested()
    words = [python, "-m", "pip", "install"]
    if importlib.util.find_spec("pip") is None:
        words = ["uv", "pip", "install", "--python", python]
    if all(name in known and installed(name) == known[name] for name in names):
        words += ["--force-reinstall"]  # the right version, but damaged
    return shlex.join([*words, "-c", str(_constraints()), *names])


def _involved(module: str, error: str, files: Sequence[str]) -> list[str]:
    # One or two packages that an error is about, the failing one first: packages that
    # its text names, then those whose code was running.
    inner = re.findall(r"(?:site|dist)-packages/(\w+)", " ".join(reversed(files)))
    owners = importlib.metadata.packages_distributions()
    known = _tested()
    words = re.findall(r"\w+", re.split(r"(?:site|dist)-packages/", error)[-1])
    named = [w for w in words if w in inner or w.lower().replace("_", "-") in known]
    missing = re.findall(r"No module named '(\w+)", error)
    modules = [*missing, *named, *inner, module.split(".")[0]]
    names = [owners.get(m, [m])[0].lower().replace("_", "-") for m in modules]
    return list(dict.fromkeys(names))[:2]


def check() -> None:
    """Make sure that what a training needs can be imported.

    Raises:
        TopDownError: E_INSTALL; nothing else should be tried then.
    """
    passed = _memory()
    if passed is not None and passed.exists():
        return
    log = logging.getLogger("espnet_topdown")
    log.info("trying whether the installed packages work (once for these versions)")
    trial = try_imports()
    for error in filter(None, map(trial.problem, NEEDED)):
        raise error
    if passed is not None:
        try:
            passed.parent.mkdir(parents=True, exist_ok=True)
            passed.touch()
        except OSError as e:  # then every start tries again
            log.info("not remembered: %s", e)


def _memory() -> Path | None:
    # The file that is there if this very installation has passed.
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):
        return None
    # The first is where the command was started; a checkout of ours changes nothing.
    ours = str(Path(__file__).parents[2])
    path = [folder for folder in sys.path[1:] if folder != ours]
    about = [sys.version, sys.prefix, os.environ.get("LD_LIBRARY_PATH", ""), *path]
    for folder in filter(os.path.isdir, path):
        about += sorted(n for n in os.listdir(folder) if n.endswith("-info"))
    digest = hashlib.sha256("\n".join(about).encode("utf-8", "replace")).hexdigest()
    return Path(cache, "espnet_topdown", f"installation-{digest[:32]}")


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """For scripts: nothing, or the error."""
    check()


if __name__ == "__main__":
    main()
