"""What doctor says on machines that lack this or that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from espnet_topdown.cli import _doctor as doctor
from espnet_topdown.cli import installation
from espnet_topdown.cli._doctor import MUST, NOTE, OPTIONAL
from espnet_topdown.cli.installation import Trial
from espnet_topdown.cli.main import main

PACKAGES = dict.fromkeys((*doctor.PACKAGES, "kaldiio"), "1.0")
PROGRAMS = {"hubscr.pl": 255, "sclite": 1, "apt-get": 0}  # and how they end


class FakeMachine:
    """Packages and programs as a test wants them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packages = {**PACKAGES, "espnet": "202511"}
        self.folder, self.set = folder / "bin", monkeypatch.setattr
        self.errors: dict[str, str] = {}  # of modules that are not to be imported
        self.gpus = 0
        for name in PROGRAMS:
            self.add(name)
        for name in ("KALDI_ROOT", "MAIN_ROOT", "ESPNET_ROOT"):
            monkeypatch.delenv(name, raising=False)
        self.env = monkeypatch.setenv
        self.env("PATH", str(self.folder))
        self.env("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.chdir(folder)
        self.set(doctor, "SCTK", ("$KALDI_ROOT/tools/sctk/bin",))
        self.set(installation, "installed", self.packages.get)
        self.set(installation, "try_imports", self.try_imports)

    def try_imports(self, modules: list[str]) -> Trial:
        errors = {module: self.errors.get(module, "") for module in modules}
        return Trial(errors, {}, self.gpus)

    def add(self, name: str, text: str = "", folder: Path | None = None) -> None:
        program = (folder or self.folder) / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(text or f"#!/bin/sh\nexit {PROGRAMS.get(name, 0)}\n")
        program.chmod(0o755)

    def disk(self, free_gib: float, total_gib: float) -> None:
        usage = SimpleNamespace(free=free_gib * 2**30, total=total_gib * 2**30)
        self.set(doctor.shutil, "disk_usage", lambda path: usage)

    def kaldi(self) -> None:
        self.env("KALDI_ROOT", str(self.folder / "my kaldi"))
        (self.folder / "hubscr.pl").unlink()
        self.add("hubscr.pl", folder=self.folder / "my kaldi/tools/sctk/bin")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    return FakeMachine(tmp_path, monkeypatch)


def without(name: str) -> Callable[[FakeMachine], object]:
    return lambda fake: fake.packages.pop(name)


def unlink(name: str) -> Callable[[FakeMachine], object]:
    return lambda fake: (fake.folder / name).unlink()


def broken(*programs: str, text: str = "#!/bin/sh\nexit 127\n") -> Callable:
    return lambda fake: [fake.add(name, text) for name in programs]


def python(version: str) -> Callable[[FakeMachine], object]:
    return lambda fake: fake.set(doctor.platform, "python_version", lambda: version)


def newest(fake: FakeMachine) -> None:
    fake.packages.update(espnet="202611", omniio="0.1")
    del fake.packages["kaldiio"]


def gpu(of_torch: int) -> Callable[[FakeMachine], object]:
    """One that the driver shows."""

    def change(fake: FakeMachine) -> None:
        fake.env("CUDA_VISIBLE_DEVICES", "0")
        fake.gpus = of_torch

    return change


def locks(work: bool) -> Callable[[FakeMachine], object]:
    return lambda fake: fake.set(doctor, "supports_locks", lambda folder: work)


def no_soxr(fake: FakeMachine) -> None:
    fake.errors["soxr"] = "OSError: libsoxr.so: none"


# What is changed; then the check, its level, whether it is good, what it says.
CASES = [
    (without("espnet"), "espnet", MUST, False, "not installed"),
    (without("torch"), "torch", MUST, False, "not installed"),
    (without("kaldiio"), "kaldiio", MUST, False, "not installed"),
    (newest, "omniio", MUST, True, "0.1"),
    (newest, "espnet", NOTE, False, "--ctc_window_margin 0"),
    (lambda f: None, "espnet", NOTE, False, "averaging with two criteria"),
    (without("matplotlib"), "matplotlib", OPTIONAL, False, "but no figures"),
    (without("tensorboard"), "tensorboard", OPTIONAL, False, "not installed: no event"),
    (no_soxr, "soxr", MUST, False, "libsoxr.so"),
    (python("3.10.1"), "Python", MUST, False, "3.10.1"),
    (python("3.13.2"), "Python", MUST, True, "3.13.2"),
    (lambda f: f.disk(0.4, 9), "free", MUST, False, "0 GiB"),
    (lambda f: f.disk(9, 0.4), "shared", NOTE, False, "--shm-size 2g"),
    (locks(True), "file", OPTIONAL, True, "work here"),
    (locks(False), "file", OPTIONAL, False, "has none: start a search only once"),
    (gpu(of_torch=0), "GPU", NOTE, False, "CPU build"),
    (gpu(of_torch=1), "GPU", NOTE, True, "0"),
    (unlink("sclite"), "sclite", OPTIONAL, False, "not found: our own scorer"),
    (broken("sclite"), "sclite", OPTIONAL, False, "not run (exit status 127)"),
    (unlink("hubscr.pl"), "hubscr.pl", OPTIONAL, False, "not found: swbd's eval2000"),
    (broken("hubscr.pl", text="#!/no/perl\n"), "hubscr.pl", OPTIONAL, False, "not run"),
    (FakeMachine.kaldi, "hubscr.pl", OPTIONAL, True, "my kaldi/tools/sctk/bin"),
    (unlink("apt-get"), "apt-get", OPTIONAL, False, "over http instead"),
    (broken("sbatch"), "cluster", NOTE, False, "sinfo --summarize: not found"),
    (lambda f: [f.add("sbatch"), f.add("sinfo")], "cluster", NOTE, True, "=slurm"),
    (broken("sbatch", "sinfo"), "cluster", NOTE, False, "not run (exit status 127)"),
    (broken("qsub"), "cluster", NOTE, False, "qconf -sql: not found"),
    (lambda f: [f.add("qsub"), f.add("qconf")], "cluster", NOTE, True, "=sge"),
]


@pytest.mark.parametrize("change, name, level, ok, says", CASES)
def test_a_machine(
    fake: FakeMachine, change: Callable, name: str, level: str, ok: bool, says: str
) -> None:
    change(fake)
    machine = doctor.examine()
    found = [c for c in machine.checks if (c.name.split()[0], c.level) == (name, level)]
    checks = [c for c in found if c.ok == ok]
    assert any(says in c.result for c in checks)
    assert machine.ready == (ok or level != MUST)
    if ok:
        assert checks == found
    elif level != NOTE and name != "apt-get":
        assert all(c.fix for c in checks)


@pytest.mark.parametrize("recipe, status", [("wsj", 0), ("swbd", 66), ("wjs", 64)])
def test_the_needs_of_one_recipe(
    fake: FakeMachine, recipe: str, status: int, capsys
) -> None:
    unlink("hubscr.pl")(fake)
    with pytest.raises(SystemExit) as e:
        main(["doctor", "--recipe", recipe])
    assert e.value.code == status
    said = "E_USAGE: doctor: --recipe wjs is unknown (nearest: wsj)"
    assert (said in capsys.readouterr().err) == (status == 64)


def test_every_lack_is_shown_with_its_remedy(fake: FakeMachine) -> None:
    fake.packages.clear()
    machine = doctor.examine()
    wrong = [c for c in machine.checks if not c.ok and c.level == MUST]
    assert len(wrong) > 8
    assert all(c.fix and f"-> {c.fix}" in machine.text() for c in wrong)


@pytest.mark.espnet
@pytest.mark.nightly
def test_what_the_tests_run_with_works(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "espnet_topdown", "doctor"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    ran = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert ran.stderr == ""
    for name in ("Python", "torchaudio"):
        assert re.search(rf"^  ok +{name} +\d", ran.stdout, re.MULTILINE)
