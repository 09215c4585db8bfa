"""What is said of packages that do not fit, before anything else is done.

The packages are stubs in a folder on PYTHONPATH, before those that are installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_topdown.cli import _doctor as doctor
from espnet_topdown.cli import installation

ROOT = Path(__file__).parents[1]
RECIPES = ("egs2/prompts_topdown/asr1", "egs2/wikitext2_topdown/lm1")
VERSIONS = {"torch": "2.12.1", "torchaudio": "2.99", "soundfile": "0.13", "espnet": "1"}
TORCH = """
class cuda:
    device_count = staticmethod(lambda: 0)
class zeros:
    def __init__(self, size): pass
    def numpy(self): pass
def load_library(path):
    try:
        raise OSError(f"{path}: undefined symbol: torch_what")
    except OSError as e:
        raise OSError("Could not load this library") from e
"""
UNFIT = "import torch; torch.load_library(__file__ + 'lib.so')"


class Stubs:
    """An installation of stubs, and commands that are run with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "lib/site-packages"
        self.home = folder
        self.module("torch", TORCH)
        for name in ("torchaudio", "soundfile", "espnet2", "espnet2.tasks"):
            self.module(name, "")
        tried = str(folder / "tried")
        self.module("espnet2.tasks.asr", f"open({tried!r}, 'a').write('x')")
        for name, version in VERSIONS.items():
            self.release(name, version)

    def module(self, name: str, source: str) -> None:
        path = self.folder / name.replace(".", "/") / "__init__.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)

    def release(self, name: str, version: str) -> None:
        info = self.folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        (info / "top_level.txt").write_text("espnet2" if name == "espnet" else name)

    def run(self, *words: object, cwd: Path | None = None, **more: str):
        env = {k: v for k, v in os.environ.items() if k != "ESPNET_ROOT"}
        env["PYTHONPATH"] = f"{self.folder}{os.pathsep}{ROOT}"
        env["XDG_CACHE_HOME"] = str(self.home / "cache")
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        env["VIRTUAL_ENV"] = sys.prefix
        return subprocess.run(
            list(map(str, words)),
            cwd=cwd or self.home,
            env={**env, **more},
            capture_output=True,
            text=True,
            timeout=100,
        )

    def check(self, **more: str):
        return self.run(sys.executable, "-m", "espnet_topdown.cli.installation", **more)

    def tries(self) -> int:
        tried = self.home / "tried"
        return len(tried.read_text()) if tried.exists() else 0


@pytest.fixture
def stubs(tmp_path: Path) -> Stubs:
    return Stubs(tmp_path)


@pytest.mark.parametrize(
    "module, source, says",
    [
        (
            "torchaudio",
            UNFIT,
            "torchaudio 2.99 cannot be used with torch 2.12.1: OSError: torchaudio/",
        ),
        (
            "espnet2.tasks.asr",
            "import pyworld",
            "numpy VERSION cannot be used with pyworld 0.0.1: ImportError: numpy.core",
        ),
        (
            "torch",
            "raise OSError('libcudnn.so.9: cannot open shared object file')",
            "torch 2.12.1 cannot be used: OSError: libcudnn.so.9: cannot open",
        ),
        (
            "espnet2.tasks.asr",
            "import absent_part",
            "absent-part (not installed) cannot be used with espnet 1: ",
        ),
        (
            "soundfile",
            "import os; os.kill(os.getpid(), 11)",
            "soundfile 0.13 cannot be used: killed by SIGSEGV",
        ),
    ],
)
def test_who_does_not_fit_whom(
    stubs: Stubs, module: str, source: str, says: str
) -> None:
    stubs.module("pyworld", "raise ImportError('numpy.core.multiarray failed to load')")
    stubs.release("pyworld", "0.0.1")
    stubs.module(module, source)
    done = stubs.check()
    assert done.returncode == 78 and "Traceback" not in done.stderr
    says = says.replace("VERSION", installation.installed("numpy") or "")
    assert f"E_INSTALL: {says}" in done.stderr
    culprit = says.split()[0]
    if known := installation._tested().get(culprit):
        assert f"known to work together: {culprit} {known}" in done.stderr
    assert f"-c {installation._constraints()} {culprit}" in done.stderr
    assert stubs.check().returncode == 78  # a failure is not remembered


@pytest.mark.parametrize(
    "words",
    [
        "search --base_exp none --output_dir out",
        "retrain --base_exp none --output_dir out --freeze softmax",
        "decode --exp none --wav_scp none --output_dir out",
        "doctor",
    ],
)
def test_commands_say_so_before_they_begin(stubs: Stubs, words: str) -> None:
    stubs.module("torchaudio", UNFIT)
    done = stubs.run(sys.executable, "-m", "espnet_topdown", *words.split())
    assert done.returncode == (66 if words == "doctor" else 78)
    text = " ".join((done.stdout + done.stderr).split())
    assert "torchaudio 2.99 cannot be used with torch 2.12.1" in text
    assert ("E_INSTALL: " in text) == (words != "doctor")
    assert f"-c {installation._constraints()} torchaudio torch" in text
    assert not (stubs.home / "out").exists()


@pytest.mark.recipe
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_say_so_before_they_begin(stubs: Stubs, recipe: str) -> None:
    stubs.module("torchaudio", UNFIT)
    folder = ROOT / recipe
    done = stubs.run("./run.sh", "--stage", "1", "--stop_stage", "1", cwd=folder)
    assert done.returncode == 78, done.stderr
    assert "E_INSTALL: torchaudio 2.99 cannot be used with torch 2.12.1" in done.stderr
    assert "Stage" not in done.stdout.replace("Stages:", "")


def test_a_pass_is_remembered_under_the_versions(stubs: Stubs) -> None:
    for _ in range(2):
        assert stubs.check().returncode == 0
    assert stubs.tries() == 1
    stubs.release("somebody", "1.0")
    assert stubs.check().returncode == 0 and stubs.tries() == 2


def test_a_folder_that_cannot_remember_costs_only_time(stubs: Stubs) -> None:
    (stubs.home / "file").touch()
    for cache in (str(stubs.home / "file"), "relative"):
        done = stubs.check(XDG_CACHE_HOME=cache)
        assert done.returncode == 0, done.stderr
    assert stubs.tries() == 2


def test_the_right_versions_that_are_damaged_are_installed_again() -> None:
    known = installation._tested()
    same = [name for name in known if installation.installed(name) == known[name]]
    assert "--force-reinstall" in installation.remedy(same[:2])
    assert "--force-reinstall" not in installation.remedy([*same[:1], "absent"])


def test_a_python_without_a_tested_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_constraints", lambda: Path("/none"))
    trial = installation.Trial({"torch": "ImportError: x"}, {})
    error = trial.problem("torch")
    assert error is not None and "has no tested set of versions" in error.what
    assert error.remedy.startswith("make setup PYTHON=")


def test_sets_have_what_is_needed() -> None:
    assert len(installation.supported()) > 1
    needed = {name.lower() for name in doctor.PACKAGES if name not in doctor.LACKS}
    known = {name.lower() for name in installation._tested()}
    assert not known or needed <= known  # this Python may have no set
