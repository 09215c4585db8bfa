"""Is this machine ready, and what is the one command that mends it?

Three levels: what everything needs, what one recipe needs, what is nice to have. Each
line says what came of trying the thing: packages are imported in a process of their own
(nothing heavy is imported here), programs are started.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import subprocess
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from espnet_topdown import __version__
from espnet_topdown.cli.installation import (
    Trial,
    broken_requirements,
    installed,
    problem,
    remedy,
    supported,
    try_imports,
)
from espnet_topdown.cli.machine import SCTK, find_tool
from espnet_topdown.cmd.local import processors
from espnet_topdown.cmd.places import visible
from espnet_topdown.errors import USAGE, TopDownError, nearest
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
# Package -> module that is imported; the first four prove that an installation works.
MODULES = {
    "torch": "torch",
    "torchaudio": "torchaudio",
    "soundfile": "soundfile",
    "espnet": "espnet2.tasks.asr",
    "numpy": "numpy",
    "PyYAML": "yaml",
    "sentencepiece": "sentencepiece",
    "soxr": "soxr",
    "editdistance": "editdistance",
}
READERS = {"202511": "kaldiio", "202611": "omniio"}  # of Kaldi files, by ESPnet
EXTRAS = {  # package -> module, what is missing without it
    "matplotlib": ("matplotlib.pyplot", "the report has tables but no figures"),
    "tensorboard": (
        "torch.utils.tensorboard",
        "no event files; curves are in the report",
    ),
}
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


def recipes_of(name: str) -> Sequence[str]:
    """All recipes, or one.

    Raises:
        TopDownError: E_USAGE (64) for a recipe that there is not.
    """
    if name == "all":
        return RECIPES
    if name not in RECIPES:
        what = f"doctor: --recipe {name} is unknown ({nearest(name, RECIPES)})"
        do = f"give all, {' or '.join(RECIPES)}"
        raise TopDownError("E_USAGE", what, do, USAGE)
    return (name,)


def examine(recipes: Sequence[str] = RECIPES) -> list[Check]:
    """All checks for some recipes, in the order of the report."""
    trial = try_imports([*_modules().values(), *(m for m, _ in EXTRAS.values())])
    checks = [_python(), *_packages(trial), *_requirements(), *_gpus(trial)]
    checks += [_locks(), *_disk(recipes)]
    for recipe in recipes:
        checks += _RECIPE_CHECKS[recipe]()
    return [*checks, *_optional(trial), *_machine(), *_known_problems()]


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
    version = platform.python_version()
    ok = ".".join(version.split(".")[:2]) in supported()
    fix = f"make setup PYTHON=/path/to/python{supported()[0]}"
    return Check(MUST, "Python", ok, version, "" if ok else fix)


def _modules() -> dict[str, str]:
    """What training imports, by package."""
    reader = READERS.get(installed("espnet") or "")
    return {**MODULES, reader: reader} if reader else MODULES


def _packages(trial: Trial) -> Iterator[Check]:
    for name, module in _modules().items():
        yield _package(MUST, name, module, trial)


def _package(level: str, name: str, module: str, trial: Trial, lack: str = "") -> Check:
    """One package, as its import went; ``lack`` says what is missing without it."""
    version = installed(name)
    if version is None:
        found = "not installed" + (f": {lack}" if lack else "")
        return Check(level, name, False, found, remedy([name]))
    error = problem(trial, module)
    if error is not None:
        return Check(level, name, False, error.what, error.remedy)
    return Check(level, name, True, version)


def _requirements() -> Iterator[Check]:
    """What ESPnet asks for and does not get; that it works was tried."""
    version = installed("espnet")
    broken = broken_requirements("espnet") if version else []
    if broken:
        what = f"it also asks for: {'; '.join(broken)}"
        yield Check(NOTE, f"espnet {version}", False, what)


def _gpus(trial: Trial) -> Iterator[Check]:
    shown = len(visible())
    if shown and not trial.gpus:
        what = f"the driver shows {shown} GPUs, torch {installed('torch')} sees none"
        yield Check(NOTE, "GPU", False, f"{what}: is it a CPU build?")


def _program(
    name: str, argument: str, status: int = 0, folders: Sequence[str] = ()
) -> tuple[bool, str]:
    """Whether a program starts and ends as it should, and its path or what is wrong."""
    path = find_tool(name, folders)
    if path is None:
        return False, "not found"
    try:
        ran = subprocess.run([path, argument], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as e:
        return False, f"{path} does not run ({e})"
    if ran.returncode != status:
        return False, f"{path} does not run (exit status {ran.returncode})"
    return True, path


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
    ok, found = _program("apt-get", "--version")
    found += "" if ok else ": the recordings are fetched over http instead"
    yield Check(OPTIONAL, "apt-get (prompts)", ok, found)


def _swbd() -> Iterator[Check]:
    ok, found = _program("hubscr.pl", "-h", 255, SCTK)
    found += "" if ok else ": eval2000 cannot be scored as the paper did"
    fix = "" if ok else "apt-get install sctk (or build it in $KALDI_ROOT/tools)"
    yield Check(RECIPE, "hubscr.pl", ok, found, fix, "swbd")


_RECIPE_CHECKS = {
    "prompts": _prompts,
    "wsj": lambda: iter(()),  # shorten is read by data/shorten.py
    "swbd": _swbd,
    "wikitext2": lambda: iter(()),
}


def _optional(trial: Trial) -> Iterator[Check]:
    for name, (module, lack) in EXTRAS.items():
        yield _package(OPTIONAL, name, module, trial, lack)
    ok, found = _program("sclite", "-h", 1, SCTK)
    found += "" if ok else ": our own scorer counts the same errors"
    yield Check(OPTIONAL, "sclite", ok, found, "" if ok else "apt-get install sctk")


def _machine() -> Iterator[Check]:
    cpus = processors()
    yield Check(
        NOTE, "processors", True, f"{cpus}, of {os.cpu_count()} in this machine"
    )
    gpus = visible()
    yield Check(NOTE, "GPU", True, ", ".join(gpus) or "none: training uses the CPU")
    for submit, backend, ask, argument in (
        ("sbatch", "slurm", "sinfo", "--summarize"),
        ("qsub", "sge", "qconf", "-sql"),
    ):
        if find_tool(submit) is None:
            continue
        ok, found = _program(ask, argument)
        what = f"{submit} and a cluster: set cmd_backend={backend} in cmd.sh"
        if not ok:
            what = f"{submit} is here, but {ask} {argument}: {found}"
        yield Check(NOTE, "cluster", ok, what)
    shared = Path("/dev/shm")
    if shared.is_dir() and shutil.disk_usage(shared).total < 2**29:
        what = "/dev/shm is small: use --num_workers 0, or docker run --shm-size 2g"
        yield Check(NOTE, "shared memory", False, what)


def _known_problems() -> Iterator[Check]:
    release = installed("espnet") or ""
    for what in KNOWN_PROBLEMS.get(release, []):
        yield Check(NOTE, f"espnet {release}", False, what)


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
    return {OPTIONAL: "-", NOTE: "note"}.get(check.level, "FAILS")


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
