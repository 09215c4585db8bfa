"""Stage 1 of every recipe also runs from the folder where ESPnet's asr.sh runs."""

from __future__ import annotations

from pathlib import Path

import pytest

RECIPES = sorted(Path(__file__).resolve().parents[2].glob("egs2/*_topdown/asr1"))

pytestmark = pytest.mark.recipe


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda folder: folder.parent.name)
@pytest.mark.parametrize("where", [".", ".upstream"])
def test_data_sh_finds_its_recipe(recipe, where, run, tmp_path):
    upstream = tmp_path / ".upstream"
    (upstream / "utils").mkdir(parents=True)  # ESPnet's, not ours
    (upstream / "local").symlink_to("../local")
    for name in ("local", "utils"):
        (tmp_path / name).symlink_to(recipe / name)
    done = run("local/data.sh", "--help", cwd=tmp_path / where)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout + done.stderr
