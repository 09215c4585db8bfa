"""The prompts recipe: what run.sh chooses for a language, where data.sh writes."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.recipe
CHOICES = [
    ([], "es", ""),
    (["--lang", "fr"], "fr", "_fr"),
    (["--stage", "train", "--lang=ru", "--ngpu", "1"], "ru", "_ru"),
    (["--lang", "fr", "--lang", "es"], "es", ""),
]


def executable(path, text):
    """Write a shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def prompts(template):
    """The recipe's folder."""
    return template.parents[1] / "prompts_topdown" / "asr1"


@pytest.mark.parametrize("args, lang, suffix", CHOICES)
def test_run_sh_names_the_sets(prompts, run, tmp_path, args, lang, suffix):
    executable(tmp_path / "topdown.sh", "printf '%s\\n' \"$@\"")
    done = run(prompts / "run.sh", *args, cwd=tmp_path)
    words = done.stdout.splitlines()
    chosen = {o: words[i + 1] for i, o in enumerate(words) if o.startswith("--")}
    names = [chosen[f"--{name}"] for name in ("train_set", "valid_set", "test_sets")]
    assert names == [f"{name}{suffix}" for name in ("train", "dev", "test")]
    assert f"--lang {lang}" in words[words.index("--local_data_opts") + 1]
    assert words[len(words) - len(args) :] == args


def test_run_sh_passes_a_missing_value_on(prompts, run, tmp_path):
    executable(tmp_path / "topdown.sh", "printf '%s\\n' \"$@\"")
    done = run(prompts / "run.sh", "--lang", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "--lang"


@pytest.mark.parametrize(
    "suffix, folder", [("", "data"), ("_fr", "data/local/prompts_fr")]
)
def test_data_sh_keeps_languages_apart(prompts, recipe, run, suffix, folder):
    (recipe / "local" / "data.sh").unlink()
    (recipe / "local" / "data.sh").symlink_to(prompts / "local" / "data.sh")
    make = (
        'while [ "$1" != --output_dir ]; do shift; done; mkdir -p "$2"/{train,dev,test}'
    )
    executable(recipe / "bin" / "python3", make)
    args = ["--lang", "fr", *(["--set_suffix", suffix] if suffix else [])]
    path = f"{recipe / 'bin'}:/usr/bin:/bin"
    done = run("local/data.sh", *args, cwd=recipe, PATH=path)
    assert done.returncode == 0, done.stderr
    for name in ("train", "dev", "test"):
        found = (recipe / "data" / f"{name}{suffix}").resolve()
        assert found == (recipe / folder / name).resolve() and found.is_dir()
