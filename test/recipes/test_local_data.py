"""Stage 1 of every recipe also runs from the folder where ESPnet's asr.sh runs."""

from __future__ import annotations

from pathlib import Path

import pytest

RECIPES = sorted(Path(__file__).resolve().parents[2].glob("egs2/*_topdown/asr1"))

pytestmark = pytest.mark.recipe


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda folder: folder.parent.name)
def test_data_sh_finds_its_recipe(recipe, run, tmp_path):
    (tmp_path / "utils").mkdir()  # as in .upstream: not our utils
    (tmp_path / "local").symlink_to(recipe / "local")
    done = run("local/data.sh", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout + done.stderr
