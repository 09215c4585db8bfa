"""The options of the recipes' scripts: status, message, variables.

More of what is refused is in test/catalogue.yaml, rows 1 to 9.
"""

from __future__ import annotations

import pytest

from espnet_topdown.cli._recipe import main

SCRIPT = """
set -euo pipefail
STAGES=([1]=data [11]=train [12]=topdown) LAST_STAGE=12 OPTION_FILES=("$0")
stage=1         # first stage
stop_stage=100  # last stage
asr_exp=""      # folder
asr_args=""
tag=""
list=(a b)
readonly fixed=1
. "$PARSER"
printf '%s|' "$stage" "$stop_stage" "$asr_exp" "$asr_args" "$#"
"""
OPTIONS = {
    **dict(stage="1", stop_stage="100", skip_stages="", use_lm="false", nj="32"),
    **dict(min_dur="0.1", tag="", asr_tag="", asr_exp="", asr_args=""),
    **dict(freeze_param="", blank="<blank>"),
}


def given(capsys, *args: str) -> dict[str, str]:
    """What the parser gives the shell."""
    pairs = [f"{name}={value}" for name, value in OPTIONS.items()]
    stages = "1=data 11=train 12=topdown"
    main(["run.sh", "", stages, "12", "0", str(len(pairs)), *pairs, *args])
    words = capsys.readouterr().out.split("\0")
    return dict(zip(words[::2], words[1::2]))


@pytest.mark.parametrize(
    "args, name, value",
    [
        (["--stage", "12"], "stage", "12"),
        (["--stage=12"], "stage", "12"),
        (["--stage", "topdown"], "stage", "12"),
        (["--stage", "010"], "stage", "10"),
        (["--stop-stage", "3"], "stop_stage", "3"),
        (["--stop_stage", "10000"], "stop_stage", "10000"),
        (["--skip_stages", "train 3"], "skip_stages", "11 3"),
        (["--use-lm", "true"], "use_lm", "true"),
        (["--stage", "2", "--stage", "5"], "stage", "5"),
        (["--nj", "3", "--nj", "08"], "nj", "8"),
        (["--min_dur", "2", "--min_dur", "0.5"], "min_dur", "0.5"),
        (["--asr_args", "--max_epoch 3  --l 1"], "asr_args", "--max_epoch 3  --l 1"),
        (["--asr_args=--nj"], "asr_args", "--nj"),
        (["--asr_args", "--help"], "asr_args", "--help"),
        (["--asr_args", ""], "asr_args", ""),
        (["--asr_exp", "a b/ü=1"], "asr_exp", "a b/ü=1"),
        (["--blank", "<b>"], "blank", "<b>"),
    ],
)
def test_accepts(capsys, args, name, value):
    assert given(capsys, *args) == {name: value}


A_STAGE = "E_USAGE: --stage must be an integer 1..12 or a stage name, got "


@pytest.mark.parametrize(
    "args, message",
    [
        (["--stage", "--nj", "3"], "E_USAGE: option --stage needs a value"),
        (["--stage", ""], A_STAGE + "''"),
        (["--stage", "0"], A_STAGE),
        (["--stage", "-1"], A_STAGE),
        (["--stage", "13"], A_STAGE),
        (["--stage", "99999999999999999999"], A_STAGE),
        (["--stage", "a[$(id)]"], A_STAGE),
        (["--skip_stages", "2 x"], "E_USAGE: --skip_stages must be an integer"),
        (["--nj", "2", "3"], "E_USAGE: unexpected argument '3'. Do"),
        (["-stage", "3"], "E_USAGE: unknown option -stage (did you mean --stage?)"),
        (["--freeze", "x"], "E_USAGE: unknown option --freeze (did you mean --freeze_"),
        (["--halving", "2"], "E_USAGE: --halving was removed, see docs/results/search"),
        (["--num_nodes", "2"], "E_USAGE: --num_nodes was removed, see docs/cluster.md"),
        (["--zzzzzzzz", "x"], "E_USAGE: unknown option --zzzzzzzz. Do"),
        (["--", "x"], "E_USAGE: unknown option --"),
        (["--PATH", "x"], "E_USAGE: unknown option --PATH"),
        (["--a[$(id)]", "x"], "E_USAGE: unknown option"),
        (["--use_lm", "yes"], "E_USAGE: --use_lm must be true or false, got 'yes'"),
        (["--nj", "2.5"], "E_USAGE: --nj must be an integer, got '2.5'"),
        (["--nj", "a[$(id)]"], "E_USAGE: --nj must be an integer"),
        (["--min_dur", "x"], "E_USAGE: --min_dur must be a number, got 'x'"),
        (["--tag", "a;id"], "E_UNSAFE_NAME: character ';' not allowed in --tag"),
        (["--asr_exp", "x|id"], "E_UNSAFE_NAME: character '|' not allowed"),
        (["--asr_exp", 'x"id"'], "E_UNSAFE_NAME: character '\"' not allowed"),
        (["--asr_args", "--a $(id)"], "E_UNSAFE_NAME: character '$' not allowed"),
        (["--blank", "$(id)"], "E_UNSAFE_NAME: character '$' not allowed"),
        (["--asr_tag", "../x"], "E_UNSAFE_NAME: --asr_tag is not a single name: '../"),
        (["--asr_tag", "a b"], "E_UNSAFE_NAME: --asr_tag is not a single name: 'a b'"),
        (["--asr_exp", "JOBS/x"], "E_PATH: launchers replace 'JOB' in paths: JOBS/x"),
    ],
)
def test_refuses(capsys, args, message):
    with pytest.raises(SystemExit) as e:
        given(capsys, *args)
    assert e.value.code == 64
    out, err = capsys.readouterr()
    assert err.startswith(message) and ". Do: " in err
    assert (err.count("\n"), out) == (1, "")


@pytest.mark.recipe
@pytest.mark.parametrize(
    "args, status, shows",
    [
        (["--stage", "train", "--asr_exp", "a b/ü"], 0, "11|100|a b/ü||0|"),
        (["--asr_args=x  y\\n*", "--stop-stage=3"], 64, "E_UNSAFE_NAME"),
        (["--asr_args=x  y\\n"], 64, "E_UNSAFE_NAME: character '\\'"),
        (["--list", "x"], 64, "E_USAGE: unknown option --list"),
        (["--fixed", "x"], 64, "E_USAGE: unknown option --fixed"),
        (["--help_message", "x"], 64, "E_USAGE: unknown option --help_message"),
        (["--x$(touch canary)=1"], 64, "E_USAGE: unknown option"),
        (["--tag", "$(touch canary)"], 64, "E_UNSAFE_NAME"),
        (["--help"], 0, 'last stage [100]\n  --asr_exp                    folder [""]'),
        ([], 0, "1|100|||0|"),
    ],
)
def test_in_a_script(tmp_path, template, run, args, status, shows):
    script = tmp_path / "script.sh"
    script.write_text(SCRIPT)
    parser = str(template / "utils" / "parse_options.sh")
    done = run("bash", script, *args, cwd=tmp_path, timeout=50, PARSER=parser)
    assert done.returncode == status and shows in done.stdout + done.stderr
    assert not (tmp_path / "canary").exists()
