"""Is this machine ready, and what is the one command that mends it?

Each line says what came of trying the thing: packages are imported in a process of
their own (nothing heavy is imported here), programs are started.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown import __version__
from espnet_topdown.cli import installation
from espnet_topdown.cmd.local import processors
from espnet_topdown.cmd.places import visible_gpus
from espnet_topdown.errors import USAGE, TopDownError, nearest
from espnet_topdown.files import supports_locks

MUST, OPTIONAL, NOTE = "Everything needs", "Nice to have", "Good to know"
WIDTH = 72  # of the last column
RECIPES = "prompts queen librispeech_100 voxforge wsj swbd wikitext2".split()
# Package -> module that is imported; what is missing without it, if it may be missing.
PACKAGES = {
    "torch": "torch",
    "torchaudio": "torchaudio",
    "soundfile": "soundfile",
    "espnet": "espnet2.tasks.asr",
    "numpy": "numpy",
    "PyYAML": "yaml",
    "sentencepiece": "sentencepiece",
    "soxr": "soxr",
    "editdistance": "editdistance",
    "matplotlib": "matplotlib.pyplot",
    "tensorboard": "torch.utils.tensorboard",
}
LACKS = {
    "matplotlib": "the report has tables but no figures",
    "tensorboard": "no event files; curves are in the report",
}
PROGRAMS = {  # how it is tried, its status then, what is missing without it
    "sclite": ("-h", 1, "our own scorer counts the same errors"),
    "hubscr.pl": ("-h", 255, "swbd's eval2000 is not scored as in the paper"),
    "apt-get": ("--version", 0, "prompts are fetched over http instead"),
}
NEEDED_BY = {"swbd": "hubscr.pl"}
READERS = {"202511": "kaldiio", "202611": "omniio"}  # of Kaldi files, by ESPnet
SCTK = (
    "/usr/lib/sctk/bin",
    "$KALDI_ROOT/tools/sctk/bin",
    "$MAIN_ROOT/tools/sctk/bin",
    "$ESPNET_ROOT/tools/sctk/bin",
)
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


@dataclass(frozen=True)
class Check:
    """One line.

    Attributes:
        level: MUST, OPTIONAL or NOTE; a note that is not ok is a warning.
        name: What was tried.
        ok: Whether it works.
        result: A version, a path, or what is wrong.
        fix: One command or step; empty where nothing is to be done.
    """

    level: str
    name: str
    ok: bool
    result: str
    fix: str = ""


@dataclass(frozen=True)
class Machine:
    """All lines, in their order."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing that is needed is missing."""
        return all(check.ok for check in self.checks if check.level == MUST)

    def text(self) -> str:
        """Return aligned text: what, how it is, and under it what to do."""
        lines = [header()]
        width = max(len(c.name) for c in self.checks) + 2
        for level in (MUST, OPTIONAL, NOTE):
            lines += ["", level]
            for check in (c for c in self.checks if c.level == level):
                mark = {MUST: "FAILS", OPTIONAL: "-", NOTE: "note"}[level]
                if check.ok:
                    mark = "ok" if level != NOTE else ""
                head = f"  {mark:<8}{check.name:<{width}}"
                rest = textwrap.wrap(check.result, WIDTH, break_long_words=False)
                rest += [f"-> {check.fix}"] if check.fix else []
                lines.append(head + rest[0])
                lines += [" " * len(head) + part for part in rest[1:]]
        return "\n".join([*lines, "", "ready" if self.ready else "not ready yet"])


def header() -> str:
    """Return what a bug report should begin with."""
    system = f"{platform.system()} {platform.machine()}"
    return f"espnet_topdown {__version__}, Python {platform.python_version()}, {system}"


def examine(recipe: str = "all") -> Machine:
    """Try everything.

    Args:
        recipe: Whose needs count as those of everything, too.

    Returns:
        What came of it.

    Raises:
        TopDownError: E_USAGE (64) for a recipe that there is not.
    """
    if recipe not in ("all", *RECIPES):
        what = f"doctor: --recipe {recipe} is unknown ({nearest(recipe, RECIPES)})"
        do = f"give all, {' or '.join(RECIPES)}"
        raise TopDownError("E_USAGE", what, do, USAGE)
    checks = [*_python(), *_packages(), *_machine(), *_programs(recipe), *_clusters()]
    release = installation.installed("espnet") or ""
    for what in KNOWN_PROBLEMS.get(release, []):
        checks.append(Check(NOTE, f"espnet {release}", False, what))
    return Machine(tuple(checks))


def _python() -> Iterator[Check]:
    version, tested = platform.python_version(), installation.supported()
    ok = version.rpartition(".")[0] in tested
    fix = "" if ok else f"make setup PYTHON=/path/to/python{tested[0]}"
    yield Check(MUST, "Python", ok, version, fix)


def _packages() -> Iterator[Check]:
    """Each package, as its import went."""
    reader = READERS.get(installation.installed("espnet") or "")
    packages = {**PACKAGES, reader: reader} if reader else PACKAGES
    trial = installation.try_imports(list(packages.values()))
    for name, module in packages.items():
        level = OPTIONAL if name in LACKS else MUST
        version, error = installation.installed(name), trial.problem(module)
        if version is None:
            result = ": ".join(filter(None, ("not installed", LACKS.get(name))))
            yield Check(level, name, False, result, installation.remedy([name]))
        elif error is not None:
            yield Check(level, name, False, error.what, error.remedy)
        else:
            yield Check(level, name, True, version)
    gpus = visible_gpus()
    if gpus and not trial.gpus:
        what = f"the driver shows {len(gpus)} GPUs, torch sees none: is it a CPU build?"
        yield Check(NOTE, "GPU", False, what)
    yield Check(NOTE, "GPU", True, ", ".join(gpus) or "none: training uses the CPU")


def _machine() -> Iterator[Check]:
    here = Path.cwd()
    free = shutil.disk_usage(here).free / 2**30
    fix = "" if free >= 1 else "free some space, or work on another disk"
    yield Check(MUST, "free disk", free >= 1, f"{free:.0f} GiB in {here}", fix)
    ok = supports_locks(here)
    lack = "this file system has none: start a search only once"
    fix = "" if ok else "use a local disk"
    yield Check(OPTIONAL, "file locks", ok, "work here" if ok else lack, fix)
    cpus = f"{processors()}, of {os.cpu_count()} in this machine"
    yield Check(NOTE, "processors", True, cpus)
    shared = Path("/dev/shm")
    if shared.is_dir() and shutil.disk_usage(shared).total < 2**29:
        what = "/dev/shm is small: use --num_workers 0, or docker run --shm-size 2g"
        yield Check(NOTE, "shared memory", False, what)


def _programs(recipe: str) -> Iterator[Check]:
    for name, (argument, status, lack) in PROGRAMS.items():
        ok, result = try_program(name, argument, status)
        level = MUST if NEEDED_BY.get(recipe) == name else OPTIONAL
        fix = "" if ok or name == "apt-get" else "apt-get install sctk"
        yield Check(level, name, ok, result if ok else f"{result}: {lack}", fix)


def _clusters() -> Iterator[Check]:
    for submit, backend, ask, argument in (
        ("sbatch", "slurm", "sinfo", "--summarize"),
        ("qsub", "sge", "qconf", "-sql"),
    ):
        if shutil.which(submit) is None:
            continue
        ok, result = try_program(ask, argument)
        what = f"{submit} and a cluster: set cmd_backend={backend} in cmd.sh"
        if not ok:
            what = f"{submit} is here, but {ask} {argument}: {result}"
        yield Check(NOTE, "cluster", ok, what)


def find_program(name: str) -> str | None:
    """Return the path of a program in PATH, or where sctk's are kept."""
    places = [os.environ.get("PATH", os.defpath), *map(os.path.expandvars, SCTK)]
    return shutil.which(name, path=os.pathsep.join(places))


def try_program(name: str, argument: str, status: int = 0) -> tuple[bool, str]:
    """Start a program.

    Args:
        name: Of the program, see ``find_program``.
        argument: With which it does nothing.
        status: With which it ends then.

    Returns:
        Whether it works, and its path or what is wrong.
    """
    path = find_program(name)
    if path is None:
        return False, "not found"
    try:
        ran = subprocess.run([path, argument], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as e:
        return False, f"{path} does not run ({e})"
    if ran.returncode != status:
        return False, f"{path} does not run (exit status {ran.returncode})"
    return True, path
