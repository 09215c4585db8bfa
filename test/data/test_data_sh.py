"""Stage 1 of the prompts recipe, as a user runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packages import real_packages

from espnet_topdown.data.kaldi_dir import read_pairs

ASR1 = Path(__file__).parents[2] / "egs2" / "prompts_topdown" / "asr1"
SCRIPT = ASR1 / "local" / "data.sh"
pytestmark = pytest.mark.recipe


@pytest.fixture
def run(tmp_path):
    """Run local/data.sh in a copy of the recipe whose path has a space."""
    recipe = tmp_path / "my recipe"
    recipe.mkdir()
    for name in ("utils", "path.sh", "db.sh", "local"):
        (recipe / name).symlink_to((ASR1 / name).resolve())

    def data_sh(*options: str, path: str = "/usr/bin:/bin"):
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        env.update(VIRTUAL_ENV=sys.prefix, PATH=f"{Path(sys.executable).parent}:{path}")
        return subprocess.run(
            ["local/data.sh", *options],
            cwd=recipe,
            env=env,
            capture_output=True,
            text=True,
            timeout=50,
        )

    data_sh.recipe = recipe
    return data_sh


@pytest.mark.parametrize(
    "options, status, part",
    [
        (["--lang", "de"], 64, "E_LANG: no prompts in 'de'"),
        (["--langg", "es"], 64, "did you mean --lang?"),
        (["es"], 64, "es"),
        (["--source", "local"], 66, "asterisk-core-sounds-es-wav-1.6.1.tar.gz"),
    ],
)
def test_mistakes(run, options, status, part):
    done = run(*options)
    assert done.returncode == status and part in done.stderr
    assert not (run.recipe / "data").exists()


def test_help(run):
    done = run("--help")
    assert done.returncode == 0 and "--fold_accents" in done.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_shellcheck():
    done = subprocess.run(
        ["shellcheck", "-x", "local/data.sh"], cwd=ASR1, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.nightly
def test_the_real_spanish_prompts(run):
    (run.recipe / "downloads").mkdir()
    real_packages(run.recipe / "downloads")
    done = run("--lang", "es", "--source", "local")
    assert done.returncode == 0, done.stderr
    counts = {
        name: len(read_pairs(run.recipe / "data" / name / "text"))
        for name in ("train", "dev", "test")
    }
    assert counts == {"train": 382, "dev": 47, "test": 46}
    for path in read_pairs(run.recipe / "data" / "dev" / "wav.scp").values():
        assert (run.recipe / path).is_file()
