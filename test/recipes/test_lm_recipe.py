"""The language model recipe: what it refuses, and its data stage."""

from __future__ import annotations

import shutil

import pytest

pytestmark = pytest.mark.recipe


@pytest.fixture
def recipe(template, tmp_path):
    """A copy of the recipe with everything that it links to."""
    root = template.parents[2]
    (tmp_path / "espnet_topdown").symlink_to(root / "espnet_topdown")
    for name in ("TEMPLATE", "wikitext2_topdown"):
        shutil.copytree(root / "egs2" / name, tmp_path / "egs2" / name, symlinks=True)
    return tmp_path / "egs2/wikitext2_topdown/lm1"


@pytest.mark.parametrize(
    "options, status, said",
    [
        (["--help"], 0, "1 data, 11 train, 12 topdown, 13 perplexity, 15 report"),
        (["--small", "maybe"], 64, "E_USAGE"),
        (["--ngpu", "2"], 78, "E_MULTI_GPU"),
        (["--stage", "train"], 66, "run --stage data first"),
        (["--stage", "topdown"], 66, "run --stage train first"),
        (["--stage", "decode"], 64, "E_USAGE"),
    ],
)
def test_asked_for(run, recipe, options, status, said) -> None:
    ran = run("./run.sh", *options, cwd=recipe)
    assert ran.returncode == status, ran.stderr
    assert said in ran.stdout + ran.stderr


def test_small_data(run, recipe, shared) -> None:
    words = ["--small", "true", "--wikitext", shared / "wikitext2_small"]
    ran = run("./run.sh", *words, "--stop_stage", "data", cwd=recipe)
    assert ran.returncode == 0, ran.stderr
    assert len((recipe / "data/small/tokens.txt").read_text().split()) == 1450


def test_copies_are_those_of_the_template(template, recipe) -> None:
    for name in ("cmd.sh", "conf/slurm.conf", "conf/queue.conf", "conf/pbs.conf"):
        text = (template / name).read_bytes()
        for folder in (recipe, template.parent / "lm1"):
            assert (folder / name).read_bytes() == text, (folder, name)
