"""Is this machine ready, and what is the one command that mends it?

Three levels: what everything needs, what one recipe needs, what is nice to have.
Versions are read from the installed packages' own metadata, nothing heavy is imported
here; ESPnet is imported once in a process of its own, because only that proves it.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import platform
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from espnet_topdown import __version__
from espnet_topdown.cli.machine import (
    SCTK,
    broken_requirements,
    find_tool,
    import_espnet,
    installed,
)
from espnet_topdown.cmd.gpu import visible
from espnet_topdown.cmd.local import processors
from espnet_topdown.files import has_locks

MUST, RECIPE, OPTIONAL, NOTE = "must", "recipe", "optional", "note"
WIDTH = 72  # of the last column
RECIPES = ("prompts", "wsj", "swbd", "wikitext2")
TITLES = {
    MUST: "Everything needs",
    RECIPE: "One recipe needs",
    OPTIONAL: "Nice to have",
    NOTE: "Good to know",
}
PIP = "python -m pip install"
TESTED_ESPNET = {"202511": "kaldiio", "202611": "omniio"}  # and who reads Kaldi files
PYTHONS = ((3, 9), (3, 13))
# About what audio, features and twenty epochs of each model take (estimates).
DISK_GIB = {"prompts": 2, "wsj": 40, "swbd": 80, "wikitext2": 5}
KNOWN_PROBLEMS = {
    "202511": [
        "averaging with two criteria (or two keep_nbest_models) gives wrong averages:"
        " use one of each",
        "a checkpoint.pth of 202511 cannot be resumed by 202611: finish a search with"
        " the release that began it (Nepoch.pth files load in both)",
    ],
    "202611": [
        "asr_inference prunes CTC scores unless told not to: for tables pass"
        " --ctc_window_margin 0",
        "'python -m espnet2.bin.asr_inference --help' crashes; the command works",
    ],
}


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        level: must, recipe, optional or note.
        ok: a note that is not ok is a warning.
        found: a version, a path, or what is wrong.
        fix: one command or step; empty where nothing is to be done.
        recipe: whose need it is, at level recipe.
    """

    level: str
    name: str
    ok: bool
    found: str
    fix: str = ""
    recipe: str = ""


def examine(recipes: Sequence[str] = RECIPES, try_import: bool = True) -> list[Check]:
    """All checks for some recipes, in the order of the report."""
    checks = [_python(), *_espnet(), *_packages()]
    if try_import and installed("espnet"):
        checks += _espnet_imports()
    checks += [_locks(), *_disk(recipes)]
    for recipe in recipes:
        checks += _RECIPE_CHECKS[recipe]()
    return [*checks, *_optional(), *_machine(), *_known_problems()]


def is_ready(checks: Sequence[Check], recipes: Sequence[str]) -> bool:
    """Whether nothing is missing; a recipe's needs count if it is the only one."""
    counts = (MUST, RECIPE) if len(recipes) == 1 else (MUST,)
    return all(check.ok for check in checks if check.level in counts)


def ready_recipes(checks: Sequence[Check], recipes: Sequence[str]) -> list[str]:
    """The recipes that could start now."""
    if not is_ready(checks, RECIPES):
        return []
    lacking = {c.recipe for c in checks if c.level == RECIPE and not c.ok}
    return [recipe for recipe in recipes if recipe not in lacking]


def _python() -> Check:
    low, high = PYTHONS
    ok = low <= sys.version_info[:2] <= high
    fix = "make a virtual environment with Python 3.11 (espnet 202511) or 3.12 (202611)"
    return Check(MUST, "Python", ok, platform.python_version(), "" if ok else fix)


def _espnet() -> Iterator[Check]:
    version = installed("espnet")
    release = "202511" if sys.version_info < (3, 12) else "202611"
    install = f"{PIP} espnet=={release}"
    if version is None:
        yield Check(MUST, "espnet", False, "not installed", install)
        return
    yield Check(MUST, "espnet", True, version)
    broken = broken_requirements("espnet")
    torch = [b for b in broken if b.split()[0] in ("torch", "torchaudio")]
    found = "; ".join(torch) or "fits this espnet"
    yield Check(MUST, "torch release", not torch, found, install if torch else "")
    others = [b for b in broken if b not in torch]
    if others:
        what = f"it also asks for: {'; '.join(others)} (not needed for speech here)"
        yield Check(NOTE, f"espnet {version}", False, what)
    if version not in TESTED_ESPNET:
        tested = " and ".join(TESTED_ESPNET)
        what = f"espnet {version} was not tried with this package ({tested} were)"
        yield Check(NOTE, "espnet", False, what)


def _packages() -> Iterator[Check]:
    """Packages that training fails without, although a release may not declare them."""
    reader = TESTED_ESPNET.get(installed("espnet") or "", "")
    names = ["torch", "torchaudio", "sentencepiece", "soundfile", "PyYAML", "numpy"]
    for name in [*names, reader] if reader else names:
        version = installed(name)
        fix = "" if version else f"{PIP} {name}"
        yield Check(MUST, name, version is not None, version or "not installed", fix)


def _espnet_imports() -> Iterator[Check]:
    found = import_espnet()
    if found.error:
        fix = f"{PIP} --force-reinstall torch torchaudio (one release of both)"
        yield Check(MUST, "import espnet2", False, found.error, fix)
        return
    yield Check(MUST, "import espnet2", True, f"works (torch {found.torch})")
    shown = len(visible())
    if shown and not found.gpus:
        what = f"the driver shows {shown} GPUs, torch {found.torch} sees none"
        yield Check(NOTE, "GPU", False, f"{what}: is it a CPU build?")


def _locks() -> Check:
    ok = has_locks(Path.cwd())
    found = "work here" if ok else "this file system has none: start a search only once"
    return Check(OPTIONAL, "file locks", ok, found, "" if ok else "use a local disk")


def _disk(recipes: Sequence[str]) -> Iterator[Check]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    ok = free >= 1
    fix = "" if ok else "free some space, or work on another disk"
    yield Check(MUST, "free disk", ok, f"{free:.0f} GiB in {Path.cwd()}", fix)
    for recipe in recipes:
        if free < DISK_GIB[recipe]:
            what = f"{recipe} takes about {DISK_GIB[recipe]} GiB, {free:.0f} are free"
            yield Check(NOTE, "free disk", False, what)


def _prompts() -> Iterator[Check]:
    apt = find_tool("apt-get")
    found = apt or "not found: the recordings are fetched over http instead"
    yield Check(OPTIONAL, "apt-get (prompts)", apt is not None, found)


def _wsj() -> Iterator[Check]:
    found = find_tool("sph2pipe", ["{KALDI_ROOT}/tools/sph2pipe_v2.5"])
    if found is None and installed("av"):
        found = f"PyAV {installed('av')}"
    fix = "" if found else f"{PIP} av"
    what = found or "neither sph2pipe nor PyAV: WSJ's .wv1 files cannot be read"
    yield Check(RECIPE, "Shorten audio", found is not None, what, fix, "wsj")


def _swbd() -> Iterator[Check]:
    found = find_tool("hubscr.pl", SCTK)
    what = found or "not found: eval2000 cannot be scored as the paper did"
    fix = "" if found else "apt-get install sctk (or build it in $KALDI_ROOT/tools)"
    yield Check(RECIPE, "hubscr.pl", found is not None, what, fix, "swbd")


_RECIPE_CHECKS = {
    "prompts": _prompts,
    "wsj": _wsj,
    "swbd": _swbd,
    "wikitext2": lambda: iter(()),
}


def _optional() -> Iterator[Check]:
    for name, why in [
        ("matplotlib", "the report has tables but no figures"),
        ("tensorboard", "no event files; curves are in the report"),
    ]:
        version = installed(name)
        fix = "" if version else f"{PIP} {name}"
        what = version or f"not installed: {why}"
        yield Check(OPTIONAL, name, version is not None, what, fix)
    found = find_tool("sclite", SCTK)
    what = found or "not found: our own scorer counts the same errors"
    fix = "" if found else "apt-get install sctk"
    yield Check(OPTIONAL, "sclite", found is not None, what, fix)


def _machine() -> Iterator[Check]:
    cpus = processors()
    yield Check(
        NOTE, "processors", True, f"{cpus}, of {os.cpu_count()} in this machine"
    )
    gpus = visible()
    yield Check(NOTE, "GPU", True, ", ".join(gpus) or "none: training uses the CPU")
    for submit, launcher, backend in [
        ("sbatch", "slurm.pl", "slurm"),
        ("qsub", "queue.pl", "sge"),
    ]:
        if find_tool(submit) is None:
            continue
        ours = importlib.util.find_spec(f"espnet_topdown.cmd.{backend}")
        if ours is not None or find_tool(launcher):
            what = f"{submit} found: set cmd_backend={backend} in cmd.sh"
            yield Check(NOTE, "cluster", True, what)
        else:
            what = f"{submit} found, but {launcher} of Kaldi or ESPnet is not in PATH"
            yield Check(NOTE, "cluster", False, what)
    shared = Path("/dev/shm")
    if shared.is_dir() and shutil.disk_usage(shared).total < 2**29:
        what = "/dev/shm is small: use --num_workers 0, or docker run --shm-size 2g"
        yield Check(NOTE, "shared memory", False, what)


def _known_problems() -> Iterator[Check]:
    release = installed("espnet") or ""
    for problem in KNOWN_PROBLEMS.get(release, []):
        yield Check(NOTE, f"espnet {release}", False, problem)


def render(checks: Sequence[Check], recipes: Sequence[str]) -> str:
    """The report as aligned text: what, how it is, and under it what to do."""
    lines = [header()]
    width = max(len(c.name) + len(c.recipe and c.recipe + "[] ") for c in checks) + 2
    for level, title in TITLES.items():
        chosen = [check for check in checks if check.level == level]
        lines += ["", title] if chosen else []
        for check in chosen:
            mark = _mark(check)
            name = f"{check.name} [{check.recipe}]" if check.recipe else check.name
            head = f"  {mark:<8}{name:<{width}}"
            found = textwrap.wrap(check.found, WIDTH, break_long_words=False)
            found += [f"-> {check.fix}"] if check.fix else []
            lines += [
                (head if n == 0 else " " * len(head)) + part
                for n, part in enumerate(found)
            ]
    ready = ready_recipes(checks, recipes)
    lines += ["", f"Ready for: {', '.join(ready) or 'nothing yet'}"]
    return "\n".join(lines)


def _mark(check: Check) -> str:
    if check.ok:
        return "ok" if check.level != NOTE else ""
    return {OPTIONAL: "-", NOTE: "note"}.get(check.level, "MISSING")


def to_json(checks: Sequence[Check], recipes: Sequence[str]) -> str:
    """The same for programs."""
    report = {
        "about": header(),
        "ready": ready_recipes(checks, recipes),
        "checks": [dataclasses.asdict(check) for check in checks],
    }
    return json.dumps(report, indent=2)


def header() -> str:
    """What a bug report should begin with."""
    system = f"{platform.system()} {platform.machine()}"
    return f"espnet_topdown {__version__}, Python {platform.python_version()}, {system}"
