"""--seeds: the data once, everything from the joint training on for every seed."""

from __future__ import annotations

import json
import re

import pytest

pytestmark = pytest.mark.recipe
STUB = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>calls
echo "slots ${TOPDOWN_SLOTS-}"
for word in "$@"; do
    case "${word}" in --asr_args=*) echo "args ${word#*=}" ;; esac
done
"""


@pytest.fixture
def stubbed(recipe):
    """A recipe whose stages 1-11 only say how they were called."""
    (recipe / "asr_pip.sh").unlink()
    (recipe / "asr_pip.sh").write_text(STUB)
    (recipe / "asr_pip.sh").chmod(0o755)
    return recipe


@pytest.fixture
def topdown(stubbed, succeed):
    """Run topdown.sh, which must succeed: what it shows, and how stages were called."""

    def call(words: str, *more: str, **environment: str) -> tuple[str, list[str]]:
        sets = "--train_set train --valid_set dev --test_sets test"
        words = ("./topdown.sh", *sets.split(), *words.split(), *more)
        said = succeed(*words, cwd=stubbed, **environment)
        return said, (stubbed / "calls").read_text().splitlines()

    return call


def test_stages_before_the_training_run_once(topdown):
    options = "--stop_stage train --max_jobs 3 --ngpu 0"
    stdout, calls = topdown(options, "--seeds", "7 8")
    assert len(calls) == 3
    assert "--seed" not in calls[0] and calls[0].endswith("--stage 1 --stop_stage 10")
    seeds = {re.search(r"--asr_args=--seed (\d+) ", call)[1] for call in calls[1:]}
    assert seeds == {"7", "8"}
    assert all(call.endswith("--stage 11 --stop_stage 11") for call in calls[1:])
    # what they print is shown, with the number of the seed
    shown = re.findall(r"^\[seed\.(\d)\] args --seed (\d)$", stdout, re.M)
    assert sorted(shown) == [("1", "7"), ("2", "8")]
    slots = re.findall(r"^\[seed\.\d\] slots (\d*)$", stdout, re.M)
    assert slots == ["3", "3"]  # none of which the seeds themselves take


@pytest.mark.parametrize(
    "options, backend, says",
    [
        # slots are for CPUs of this machine: GPUs have locks, a cluster a scheduler
        ("--seeds 7 --stage train --ngpu 1", "local", "[seed.1] slots \n"),
        ("--seeds 7 --stage train", "slurm", "[seed.1] slots \n"),
        ("--seeds 7 --stage train --asr_tag x", "local", "--asr_tag=x_seed7 "),
    ],
)
def test_what_a_seed_needs(topdown, options, backend, says):
    words = ["--stop_stage", "train", "--asr_args", "--max_epoch 3"]
    stdout, calls = topdown(options, *words, TOPDOWN_CMD_BACKEND=backend)
    assert len(calls) == 1 and "--asr_args=--max_epoch 3 --seed 7" in calls[0]
    assert says in f"{stdout}{calls[0]} "


# Starts what starts stages; of other commands it says which searches are compared.
SAYS_WHAT_IS_COMPARED = """#!/usr/bin/env bash
case "$*" in
    *cmd.local*) exec python3 "$@" ;;
    *_decoding*) printf 'm5\\t.\\tm.pth\\n' ;;
    *"topdown seeds"*) echo "compared: $*" ;;
esac
"""


@pytest.mark.parametrize(
    "options, name",
    [
        ("", "train_raw_bpe30_seed7"),
        ("--speed_perturb_factors 0.9", "train_raw_bpe30_seed7_sp"),
        ("--speed_perturb_factors 0.9 --asr_tag my_sp", "my_sp_seed7"),
    ],
)
def test_the_searches_of_the_seeds_are_compared(recipe, succeed, options, name):
    for file in (f"asr_{name}/config.yaml", f"asr_{name}_topdown/result.json"):
        (recipe / "exp" / file).parent.mkdir(parents=True)
        (recipe / "exp" / file).touch()
    (recipe / "python").write_text(SAYS_WHAT_IS_COMPARED)
    (recipe / "python").chmod(0o755)
    words = f"--train_set train --valid_set dev --seeds 7 --stage 15 {options}"
    said = succeed("./topdown.sh", *words.split(), "--python", "./python", cwd=recipe)
    assert f"--search_dirs exp/asr_{name}_topdown --output" in said


@pytest.mark.parametrize("last", ["10", "4"])
def test_data_alone_has_no_seed(topdown, last):
    _, (call,) = topdown(f"--stop_stage {last}", "--seeds", "7 8")
    assert call.endswith(f"--stop_stage {last}")


@pytest.mark.parametrize(
    "seeds, options, said",
    [
        ("1000 12000 23000", "", []),
        ("12000 1000 9000", "", ["seed 1000 may have seed 9000", "12000"]),
        ("1000 2000", "--retrain_seed same", []),
    ],
)
def test_seeds_whose_trainings_repeat_are_said_once(topdown, seeds, options, said):
    """Retraining k of seed s has seed s + 1000 k."""
    stdout, _ = topdown(f"{options} --stop_stage train", "--seeds", seeds)
    lines = [x for x in stdout.splitlines() if "W_SEEDS" in x]
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines))


def test_a_failed_seed_is_a_failure(stubbed, run):
    stub = stubbed / "asr_pip.sh"
    stub.write_text(f'{STUB}[[ "$*" != *"--seed 8"* ]] || exit 3\n')
    words = ["--train_set", "train", "--valid_set", "dev", "--seeds", "7 8"]
    words += ["--stage", "train", "--stop_stage", "train"]
    done = run("./topdown.sh", *words, cwd=stubbed)
    assert done.returncode == 1
    assert "1 of 2 tasks failed" in done.stderr and "E_JOB" in done.stderr


@pytest.mark.espnet
@pytest.mark.nightly
@pytest.mark.timeout(1500)
def test_two_seeds_to_their_comparison(tiny, succeed):
    options = (
        "--lang es --fs 8k --nj 1 --ngpu 0 --max_frozen 1 --max_jobs 2 "
        "--asr_config conf/train_tiny.yaml --controls warm --seed_controls first"
    ).split()
    said = succeed("./run.sh", *options, "--seeds", "5 6", cwd=tiny, timeout=1400)
    exp = tiny / "exp"
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
    assert "epoch" in said and "Comparison of the seeds" in said
