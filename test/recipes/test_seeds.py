"""--seeds: the data once, everything from the joint training on for every seed."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest

pytestmark = pytest.mark.recipe
STUB = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>calls
echo "slots ${TOPDOWN_SLOTS-}"
for word in "$@"; do
    case "${word}" in --asr_args=*) echo "args ${word#*=}" ;; esac
done
"""
BASE = ["--train_set", "train", "--valid_set", "dev", "--test_sets", "test"]


@pytest.fixture
def stubbed(recipe):
    """A recipe whose stages 1-11 only say how they were called."""
    (recipe / "asr_pip.sh").unlink()
    (recipe / "asr_pip.sh").write_text(STUB)
    (recipe / "asr_pip.sh").chmod(0o755)
    return recipe


def test_stages_before_the_training_run_once(stubbed, run):
    args = [*BASE, "--seeds", "7 8", "--stop_stage", "train", "--max_jobs", "3"]
    args += ["--ngpu", "0"]
    done = run("./topdown.sh", *args, cwd=stubbed, timeout=60)
    assert done.returncode == 0, done.stderr
    calls = (stubbed / "calls").read_text().splitlines()
    assert len(calls) == 3
    assert "--seed" not in calls[0] and calls[0].endswith("--stage 1 --stop_stage 10")
    seeds = {re.search(r"--asr_args=--seed (\d+) ", call)[1] for call in calls[1:]}
    assert seeds == {"7", "8"}
    assert all(call.endswith("--stage 11 --stop_stage 11") for call in calls[1:])
    # what they print is shown, with the number of the seed
    shown = re.findall(r"^\[seed\.(\d)\] args --seed (\d)$", done.stdout, re.M)
    assert sorted(shown) == [("1", "7"), ("2", "8")]
    slots = re.findall(r"^\[seed\.\d\] slots (\d*)$", done.stdout, re.M)
    assert slots == ["3", "3"]  # none of which the seeds themselves take


@pytest.mark.parametrize(
    "more, backend, calls, says",
    [
        # slots are for CPUs of this machine: GPUs have locks, a cluster a scheduler
        ("--stage train --stop_stage train --ngpu 1", "", 1, "[seed.1] slots \n"),
        ("--stage train --stop_stage train", "slurm", 1, "[seed.1] slots \n"),
        ("--stop_stage 10", "", 1, "--stop_stage 10\n"),  # data alone has no seed
        ("--stop_stage 4", "", 1, "--stop_stage 4\n"),
    ],
)
def test_what_a_seed_needs(stubbed, run, more, backend, calls, says):
    seeds = "7" if "train" in more else "7 8"
    words = ["./topdown.sh", *BASE, "--seeds", seeds, *more.split()]
    environment = {"TOPDOWN_CMD_BACKEND": backend} if backend else {}
    done = run(*words, cwd=stubbed, timeout=60, **environment)
    assert done.returncode == 0, done.stderr
    text = (stubbed / "calls").read_text()
    assert text.count("\n") == calls and says in done.stdout + text


def test_other_arguments_and_a_tag_are_kept(stubbed, run):
    more = ["--asr_args", "--max_epoch 3", "--asr_tag", "x", "--stage", "train"]
    args = [*BASE, "--seeds", "7", *more, "--stop_stage", "train"]
    done = run("./topdown.sh", *args, cwd=stubbed, timeout=60)
    assert done.returncode == 0, done.stderr
    (call,) = (stubbed / "calls").read_text().splitlines()
    assert "--asr_args=--max_epoch 3 --seed 7" in call and "--asr_tag=x_seed7" in call


@pytest.mark.parametrize(
    "seeds, more, said",
    [
        ("1000 12000 23000", [], []),
        ("12000 1000 9000", [], ["seed 1000 may have seed 9000", "12000"]),
        ("1000 2000", ["--retrain_seed", "same"], []),
    ],
)
def test_seeds_whose_trainings_repeat_are_said_once(stubbed, run, seeds, more, said):
    """Retraining k of seed s has seed s + 1000 k."""
    args = [*BASE, "--seeds", seeds, *more, "--stop_stage", "train"]
    done = run("./topdown.sh", *args, cwd=stubbed, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [x for x in done.stdout.splitlines() if "W_SEEDS" in x]
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines))


def test_a_failed_seed_is_a_failure(stubbed, run):
    stub = stubbed / "asr_pip.sh"
    stub.write_text(f'{STUB}[[ "$*" != *"--seed 8"* ]] || exit 3\n')
    args = [*BASE, "--seeds", "7 8", "--stage", "train", "--stop_stage", "train"]
    done = run("./topdown.sh", *args, cwd=stubbed, timeout=60)
    assert done.returncode == 1
    assert "1 of 2 tasks failed" in done.stderr and "E_JOB" in done.stderr


@pytest.mark.espnet
@pytest.mark.nightly
@pytest.mark.timeout(1500)
def test_two_seeds_to_their_comparison(recipe, template, run):
    conf = template.parents[1] / "prompts_topdown" / "asr1" / "conf" / "train_tiny.yaml"
    shutil.copy(conf, recipe / "conf")
    corpus = template.parents[2] / "test" / "fixtures" / "tones.py"
    script = f"#!/bin/sh\nset -eu\nexec '{sys.executable}' '{corpus}' data\n"
    (recipe / "local" / "data.sh").write_text(script)
    options = (
        "--lang es --fs 8k --nj 1 --ngpu 0 --max_frozen 1 --max_jobs 2 "
        "--asr_config conf/train_tiny.yaml --controls warm --seed_controls first"
    ).split()
    done = run("./run.sh", *options, "--seeds", "5 6", cwd=recipe, timeout=1400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    exp = recipe / "exp"
    controls = []
    for seed in (5, 6):
        search = exp / f"asr_train_tiny_raw_es_char_seed{seed}_topdown"
        result = json.loads((search / "result.json").read_text())
        assert {"m3", "m1.2"} <= set(result["nodes"])
        assert (search / "report.html").is_file()
        controls += [f"{seed} {n}" for n in result["nodes"] if "control" in n]
    assert controls == ["5 control.warm"]
    text = (exp / "asr_train_tiny_raw_es_char_seeds" / "RESULTS.md").read_text()
    assert "Over 2 seeds" in text and "Controls of seed 6: not run." in text
    assert "epoch" in done.stdout and "Comparison of the seeds" in done.stdout
