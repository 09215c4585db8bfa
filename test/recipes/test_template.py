"""The recipe folders: what is shared, what is equal, what a script says of itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.recipe

STAGES = (
    "1 data, 2 speed, 3 format, 4 filter, 5 tokens, 6 lm_stats, 7 lm_train, "
    "8 lm_perplexity, 9 ngram, 10 stats, 11 train"
)
TOPDOWN = "12 topdown, 13 decode, 14 score, 15 report, 16 pack"
COPIES = ["cmd.sh", "conf/slurm.conf", "conf/queue.conf", "conf/pbs.conf"]


def recipes(template):
    """All ASR recipes that link to the template."""
    return sorted(p.parent for p in template.parents[1].glob("*/asr1/topdown.sh"))


def test_there_are_recipes_to_test(template):
    assert template in recipes(template) and len(recipes(template)) >= 2


def test_links_resolve_inside_the_repository(template):
    root = template.parents[2]
    for recipe in recipes(template):
        for path in recipe.rglob("*"):
            if path.is_symlink() and "downloads" not in path.parts:
                assert path.exists(), path
                assert not os.readlink(path).startswith("/"), path
                assert root in path.resolve().parents, path


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_identical(template, name):
    texts = {(r / name).read_bytes() for r in recipes(template)}
    assert len(texts) == 1


def test_run_sh_holds_choices_only(template):
    for recipe in recipes(template):
        lines = (recipe / "run.sh").read_text().splitlines()
        assert len(lines) <= 30, recipe
        assert lines[-1].strip() == '"$@"', recipe
        assert "set -euo pipefail" in lines


def test_step_scripts_have_one_skeleton(template):
    for name in ("topdown.sh", "asr_pip.sh"):
        text = (template / name).read_text()
        assert text.startswith("#!/usr/bin/env bash\n")
        assert "set -euo pipefail" in text
        assert not re.search(r"\beval\b", text)
        assert os.access(template / name, os.X_OK)
        assert len(text.splitlines()) <= 300


def scripts(template):
    """Every shell script of ours under egs2."""
    return [p for p in template.parents[1].rglob("*.sh") if not p.is_symlink()]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is missing")
@pytest.mark.timeout(120)
def test_shellcheck(template):
    done = subprocess.run(
        ["shellcheck", "-x", "-e", "SC1091", *map(str, scripts(template))],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "script, table", [("topdown.sh", f"{STAGES}, {TOPDOWN}"), ("asr_pip.sh", STAGES)]
)
def test_help_prints_the_stage_table_and_exits_0(recipe, run, script, table):
    done = run(f"./{script}", "--help", cwd=recipe)
    assert done.returncode == 0
    assert f"Stages: {table}\n" in done.stdout
    assert re.search(
        r"^  --asr_config +training configuration \[\"\"\]$", done.stdout, re.M
    )


def test_every_option_has_a_comment(template):
    names = []
    for file in ("asr_options.sh", "topdown_options.sh"):
        for line in (template / "utils" / file).read_text().splitlines():
            if re.match(r"[a-z]\w*=", line):
                assert re.fullmatch(r"[a-z]\w*=[^#]* # \S.*", line), line
                names.append(line.partition("=")[0])
    assert len(names) == len(set(names)) > 60


ORDER = [
    ["--stage", "topdown"],
    ["--stage", "13"],
    ["--stage", "report"],
    ["--stage", "16", "--skip_packing", "false"],
]


@pytest.mark.parametrize("args", ORDER)
def test_later_stages_need_a_joint_model(recipe, run, args):
    done = run("./topdown.sh", "--asr_exp", "exp/none", *args, cwd=recipe)
    assert done.returncode == 66
    assert "E_ORDER: no finished joint model in exp/none" in done.stderr
    assert "run --stage train" in done.stderr


def test_later_stages_need_a_finished_search(recipe, run):
    base = recipe / "exp" / "asr_base"
    base.mkdir(parents=True)
    for name in ("config.yaml", "1epoch.pth"):
        (base / name).touch()
    done = run("./topdown.sh", "--asr_exp", "exp/asr_base", "--stage", "13", cwd=recipe)
    assert done.returncode == 66
    assert "E_ORDER: no finished search in exp/asr_base_topdown" in done.stderr


PIP_REFUSALS = [
    ([], "E_USAGE: option --train_set is required"),
    (["--train_set", "a", "--valid_set", "a"], "E_USAGE: 'a' is the training set"),
    (
        ["--train_set", "a", "--valid_set", "b", "--test_sets", "a"],
        "E_USAGE: 'a' is the",
    ),
    (
        ["--train_set", "a", "--valid_set", "b", "--feats_type", "fbank"],
        "E_USAGE: --feats_",
    ),
    (
        ["--train_set", "a", "--valid_set", "b", "--stage", "topdown"],
        "E_USAGE: --stage must",
    ),
    (
        ["--train_set", "a", "--valid_set", "b", "--stage", "9", "--stop_stage", "9"]
        + ["--use_ngram", "true"],
        "E_NGRAM: stage 9 needs KenLM",
    ),
]


@pytest.mark.parametrize("args, message", PIP_REFUSALS)
def test_asr_pip_refuses(recipe, run, args, message):
    done = run("./asr_pip.sh", *args, cwd=recipe)
    assert done.returncode == 64
    assert message in done.stderr


@pytest.mark.parametrize("stage, missing", [(3, "data"), (4, "format"), (10, "filter")])
def test_asr_pip_names_the_stage_that_is_missing(recipe, run, stage, missing):
    args = ["--train_set", "a", "--valid_set", "b", "--token_type", "char"]
    done = run(
        "./asr_pip.sh", *args, "--stage", stage, "--stop_stage", stage, cwd=recipe
    )
    assert done.returncode == 66
    assert f"run --stage {missing} first" in done.stderr


NAMES = [
    (
        "--asr_config conf/train_ctc.yaml --lang es --token_type char",
        "asr_train_ctc_raw_es_char",
    ),
    ("--token_type bpe --nbpe 50", "asr_train_raw_bpe50"),
    (
        "--asr_config conf/x.yaml --token_type word --speed_perturb_factors 0.9",
        "asr_x_raw_word_sp",
    ),
    ("--asr_tag mine", "asr_mine"),
    ("--asr_exp exp/there/", "there"),
]


@pytest.mark.parametrize("args, folder", NAMES)
def test_experiments_are_named_as_upstream_names_them(recipe, run, args, folder):
    done = run("./topdown.sh", *args.split(), "--stage", "12", cwd=recipe)
    assert re.search(rf"joint model in exp/(\w+/)?{folder}:", done.stderr), done.stderr


def test_asr_args_become_part_of_the_tag(recipe, run):
    args = ["--asr_args", "--max_epoch 3 --model_conf ctc_weight=1.0"]
    done = run(
        "./topdown.sh", "--token_type", "char", *args, "--stage", "12", cwd=recipe
    )
    assert "exp/asr_train_raw_char_max_epoch3_model_confctc_weight1.0:" in done.stderr


@pytest.mark.parametrize("blocked", ["dump", "dump/raw/org/a"])
def test_an_output_folder_that_is_a_file_is_named(recipe, run, blocked):
    for name in ("a", "b"):
        (recipe / "data" / name).mkdir(parents=True)
        (recipe / "data" / name / "wav.scp").write_text("u x.wav\n")
    (recipe / blocked).parent.mkdir(parents=True, exist_ok=True)
    (recipe / blocked).touch()
    args = "--train_set a --valid_set b --stage 3 --stop_stage 3"
    done = run("./asr_pip.sh", *args.split(), cwd=recipe)
    assert done.returncode == 73
    assert "E_CREATE: dump/raw/org/a is " in done.stderr


@pytest.mark.parametrize("script", ["topdown.sh", "asr_pip.sh"])
def test_a_script_may_be_updated_while_it_runs(recipe, run, template, script):
    (recipe / script).unlink()
    shutil.copy(template / script, recipe)
    (recipe / "local" / "data.sh").write_text(f"#!/bin/sh\necho 'exit 9' >{script}\n")
    args = "--train_set a --valid_set b --stage data --stop_stage data"
    done = run(f"./{script}", *args.split(), cwd=recipe)
    assert (recipe / script).read_text() == "exit 9\n"
    assert done.returncode == 0, done.stderr
    assert "Successfully finished" in done.stdout.splitlines()[-1]
