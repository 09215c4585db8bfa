"""What doctor says on machines that lack this or that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from espnet_topdown.cli import doctor
from espnet_topdown.cli.doctor import Check
from espnet_topdown.cli.installation import Trial

FULL = {
    "espnet": "202511",
    "torch": "2.12.1",
    "torchaudio": "2.11.0",
    "sentencepiece": "0.2.0",
    "soundfile": "0.14.0",
    "PyYAML": "6.0.3",
    "numpy": "2.4.6",
    "soxr": "1.1.0",
    "editdistance": "0.8.1",
    "kaldiio": "2.18.1",
    "matplotlib": "3.11.2",
    "tensorboard": "2.20",
}
PROGRAMS = {"hubscr.pl": 255, "sclite": 1, "apt-get": 0}  # and how they end


class FakeMachine:
    """Packages and programs as a test wants them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packages = dict(FULL)
        self.folder = folder / "bin"
        self.broken: list[str] = []
        self.errors: dict[str, str] = {}  # of modules that are not to be imported
        self.gpus = 0
        self.folder.mkdir()
        for name in PROGRAMS:
            self.add_program(name)
        for name in ("KALDI_ROOT", "MAIN_ROOT", "ESPNET_ROOT"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PATH", str(self.folder))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.chdir(folder)
        monkeypatch.setattr(doctor, "SCTK", ("{KALDI_ROOT}/tools/sctk/bin",))
        monkeypatch.setattr(doctor, "installed", self.packages.get)
        monkeypatch.setattr(doctor, "broken_requirements", lambda name: self.broken)
        monkeypatch.setattr(doctor, "try_imports", self.try_imports)

    def try_imports(self, modules: list[str]) -> Trial:
        errors = {module: self.errors.get(module, "") for module in modules}
        return Trial(errors, {}, self.gpus)

    def add_program(self, name: str, folder: Path | None = None) -> None:
        program = (folder or self.folder) / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\nexit {PROGRAMS.get(name, 0)}\n")
        program.chmod(0o755)

    def missing(self, recipe: str = "all") -> dict[str, Check]:
        return {c.name: c for c in self.examine(recipe) if not c.ok}

    def examine(self, recipe: str = "all") -> list[Check]:
        recipes = doctor.RECIPES if recipe == "all" else (recipe,)
        return doctor.examine(recipes)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    return FakeMachine(tmp_path, monkeypatch)


def test_a_full_machine_is_ready_for_everything(fake: FakeMachine) -> None:
    checks = fake.examine()
    assert doctor.is_ready(checks, doctor.RECIPES)
    assert doctor.ready_recipes(checks, doctor.RECIPES) == [*doctor.RECIPES]
    assert {c.level for c in checks if not c.ok} <= {doctor.NOTE}


@pytest.mark.parametrize(
    "package, level, ready",
    [
        ("espnet", "must", ""),
        ("torch", "must", ""),
        ("torchaudio", "must", ""),
        ("sentencepiece", "must", ""),
        ("soundfile", "must", ""),
        ("kaldiio", "must", ""),
        ("matplotlib", "optional", "prompts wsj swbd wikitext2"),
        ("tensorboard", "optional", "prompts wsj swbd wikitext2"),
    ],
)
def test_a_missing_package(
    fake: FakeMachine, package: str, level: str, ready: str
) -> None:
    del fake.packages[package]
    checks = fake.examine()
    lacking = [c for c in checks if not c.ok and c.level != doctor.NOTE]
    assert [c.level for c in lacking] == [level]
    assert "pip install" in lacking[0].fix and lacking[0].fix.endswith(f" {package}")
    assert doctor.ready_recipes(checks, doctor.RECIPES) == ready.split()
    assert doctor.is_ready(checks, doctor.RECIPES) == (level != "must")
    assert doctor.is_ready(checks, ("wsj",)) == (level == "optional")


def test_each_release_has_its_own_kaldi_reader(fake: FakeMachine) -> None:
    fake.packages["espnet"] = "202611"
    assert "omniio" in fake.missing()
    fake.packages["omniio"] = "0.1.2"
    del fake.packages["kaldiio"]
    assert doctor.is_ready(fake.examine(), doctor.RECIPES)


def test_requirements_of_espnet_are_told_but_what_counts_was_tried(
    fake: FakeMachine,
) -> None:
    fake.broken = ["torch 2.12.0 (<2.15,!=2.12.0)", "nltk is missing"]
    checks = fake.examine()
    assert doctor.is_ready(checks, doctor.RECIPES)
    assert all(b in doctor.render(checks, doctor.RECIPES) for b in fake.broken)


def test_a_program_that_does_not_run_is_not_there(fake: FakeMachine) -> None:
    (fake.folder / "hubscr.pl").write_text("#!/no/such/perl\n")
    (fake.folder / "sclite").write_text("#!/bin/sh\nexit 127\n")
    lacking = fake.missing()
    assert "hubscr.pl does not run" in lacking["hubscr.pl"].found
    assert "sclite does not run (exit status 127)" in lacking["sclite"].found
    assert "swbd" not in doctor.ready_recipes(fake.examine(), doctor.RECIPES)


def test_without_hubscr_only_swbd_is_not_ready(
    fake: FakeMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fake.folder / "hubscr.pl").unlink()
    checks = fake.examine()
    assert "swbd" not in doctor.ready_recipes(checks, doctor.RECIPES)
    assert doctor.is_ready(checks, doctor.RECIPES)
    assert not doctor.is_ready(fake.examine("swbd"), ("swbd",))
    kaldi = tmp_path / "my kaldi"
    fake.add_program("hubscr.pl", kaldi / "tools/sctk/bin")
    monkeypatch.setenv("KALDI_ROOT", str(kaldi))
    assert doctor.is_ready(fake.examine("swbd"), ("swbd",))


@pytest.mark.parametrize("recipe", doctor.RECIPES)
def test_one_recipe_is_not_bothered_with_the_needs_of_others(
    fake: FakeMachine, recipe: str
) -> None:
    checks = fake.examine(recipe)
    assert {c.recipe for c in checks if c.recipe} <= {recipe}
    assert doctor.ready_recipes(checks, (recipe,)) == [recipe]


@pytest.mark.parametrize(
    "programs, says, ok",
    [
        (["sbatch"], "sinfo --summarize: not found", False),
        (["sbatch", "sinfo"], "cmd_backend=slurm", True),
        (["qsub"], "qconf -sql: not found", False),
        (["qsub", "qconf"], "cmd_backend=sge", True),
    ],
)
def test_cluster(fake: FakeMachine, programs: list[str], says: str, ok: bool) -> None:
    for name in programs:
        fake.add_program(name)
    (found,) = [c for c in fake.examine() if c.name == "cluster"]
    assert says in found.found and found.ok == ok


@pytest.mark.parametrize("ask", ["sinfo", "qconf"])
def test_a_cluster_that_does_not_answer(fake: FakeMachine, ask: str) -> None:
    fake.add_program({"sinfo": "sbatch", "qconf": "qsub"}[ask])
    fake.add_program(ask)
    (fake.folder / ask).write_text("#!/bin/sh\necho no contact >&2\nexit 1\n")
    assert "does not run (exit status 1)" in fake.missing()["cluster"].found


@pytest.mark.parametrize(
    "free_gib, ready, warned",
    [(0.5, False, True), (10, True, True), (500, True, False)],
)
def test_disk(
    fake: FakeMachine,
    monkeypatch: pytest.MonkeyPatch,
    free_gib: float,
    ready: bool,
    warned: bool,
) -> None:
    class Usage:
        free = total = int(free_gib * 2**30)

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage)
    checks = fake.examine("wsj")
    assert doctor.is_ready(checks, ("wsj",)) == ready
    notes = [c for c in checks if c.name == "free disk" and c.level == doctor.NOTE]
    assert bool(notes) == warned


@pytest.mark.parametrize(
    "version, ok", [("3.10.1", False), ("3.11.7", True), ("3.13.2", True)]
)
def test_python(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch, version: str, ok: bool
) -> None:
    monkeypatch.setattr(doctor.platform, "python_version", lambda: version)
    assert ("Python" not in fake.missing()) == ok


def test_a_package_that_cannot_be_imported(fake: FakeMachine) -> None:
    fake.errors["soxr"] = "OSError: libsoxr.so: no such file"
    checks = fake.examine()
    assert [c.name for c in checks if not c.ok and c.level == "must"] == ["soxr"]
    text = doctor.render(checks, ("prompts",))
    assert "libsoxr.so" in text and "FAILS" in text and "nothing yet" in text


def test_gpus_that_torch_cannot_use(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert any("CPU build" in c.found and not c.ok for c in fake.examine())
    fake.gpus = 1
    assert not any("CPU build" in c.found for c in fake.examine())


@pytest.mark.parametrize(
    "release, problem", [("202511", "averaging"), ("202611", "ctc_window_margin")]
)
def test_known_problems_of_a_release(
    fake: FakeMachine, release: str, problem: str
) -> None:
    fake.packages["espnet"] = release
    assert problem in doctor.render(fake.examine(), doctor.RECIPES)


def test_text_is_aligned_and_every_lack_has_its_remedy(fake: FakeMachine) -> None:
    fake.packages.clear()
    checks = fake.examine()
    text = doctor.render(checks, doctor.RECIPES)
    assert text.startswith("espnet_topdown ") and "Ready for: nothing yet" in text
    lines = text.splitlines()
    assert max(len(line) for line in lines if "->" not in line) <= 110
    for check in checks:
        if not check.ok and check.level in (doctor.MUST, doctor.RECIPE):
            assert check.fix and any(s.endswith(f"-> {check.fix}") for s in lines)
    rows = [s for s in lines if s.startswith("  ok ") or s.startswith("  FAILS ")]
    starts = {s.index(c.found[:10]) for s, c in zip(rows[:1], checks[:1])}
    arrows = {s.index("->") for s in lines if "->" in s}
    assert arrows == starts


def test_json(fake: FakeMachine) -> None:
    report = json.loads(doctor.to_json(fake.examine(), doctor.RECIPES))
    assert report["ready"] == [*doctor.RECIPES]
    assert {"level", "name", "ok", "found", "fix"} <= set(report["checks"][0])
