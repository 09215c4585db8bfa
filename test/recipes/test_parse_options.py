"""The option parser of the recipes, seen from outside: status, message, variables."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.recipe

SCRIPT = """
set -euo pipefail
STAGES=([1]=data [11]=train [12]=topdown) LAST_STAGE=12 OPTION_FILES=("$0")
stage=1         # first stage
stop_stage=100  # last stage
skip_stages=""
use_lm=false
nj=32
min_dur=0.1
tag=""
asr_tag=""
asr_exp=""      # folder
asr_args=""
freeze_param=""
blank="<blank>"
list=(a b)
readonly fixed=1
. "$PARSER"
for name in stage stop_stage skip_stages use_lm nj min_dur asr_exp asr_args blank; do
    printf '%s=%s\\n' "$name" "${!name}"
done
printf 'rest=%s\\n' "$#"
"""


@pytest.fixture
def parse(tmp_path, template, run):
    """Run a script that takes options; ``.values`` holds what it saw."""
    script = tmp_path / "script.sh"
    script.write_text(SCRIPT)

    def call(*args):
        parser = template / "utils" / "parse_options.sh"
        done = run("bash", script, *args, cwd=tmp_path, timeout=20, PARSER=str(parser))
        lines = (line.partition("=") for line in done.stdout.splitlines())
        done.values = {name: value for name, _, value in lines}
        return done

    return call


ACCEPTED = [
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
    (
        ["--asr_args", "--max_epoch 3  --lr 1e-3"],
        "asr_args",
        "--max_epoch 3  --lr 1e-3",
    ),
    (["--asr_args=--nj"], "asr_args", "--nj"),
    (["--asr_args", ""], "asr_args", ""),
    (["--asr_exp", "a b/ü=1"], "asr_exp", "a b/ü=1"),
    (["--blank", "<b>"], "blank", "<b>"),
    ([], "rest", "0"),
    (["--nj", "1"], "rest", "0"),
]


@pytest.mark.parametrize("args, name, value", ACCEPTED)
def test_accepts(parse, args, name, value):
    done = parse(*args)
    assert (done.returncode, done.values.get(name)) == (0, value), done.stderr


REFUSED = [
    (["--stage"], "E_USAGE: option --stage needs a value"),
    (["--stage", "--nj", "3"], "E_USAGE: option --stage needs a value"),
    (
        ["--stage", "12x"],
        "E_USAGE: --stage must be an integer 1..12 or a stage name, got '12x'",
    ),
    (
        ["--stage", ""],
        "E_USAGE: --stage must be an integer 1..12 or a stage name, got ''",
    ),
    (["--stage", "0"], "E_USAGE: --stage must be an integer"),
    (["--stage", "-1"], "E_USAGE: --stage must be an integer"),
    (["--stage", "13"], "E_USAGE: --stage must be an integer"),
    (["--stage", "99999999999999999999"], "E_USAGE: --stage must be an integer"),
    (["--stage", "a[$(touch canary)]"], "E_USAGE: --stage must be an integer"),
    (["--skip_stages", "2 x"], "E_USAGE: --skip_stages must be an integer"),
    (["stage", "12"], "E_USAGE: unexpected argument 'stage'; did you mean --stage?"),
    (["--nj", "2", "3"], "E_USAGE: unexpected argument '3'"),
    (["--stage", "12", "", "--nj", "2"], "E_USAGE: empty argument 3"),
    (["--stgae", "3"], "E_USAGE: unknown option --stgae; did you mean --stage?"),
    (["-stage", "3"], "E_USAGE: unknown option -stage; did you mean --stage?"),
    (
        ["--freeze", "x"],
        "E_USAGE: unknown option --freeze; did you mean --freeze_param?",
    ),
    (
        ["--halving", "2:8"],
        "E_USAGE: --halving was removed, see docs/results/search.md",
    ),
    (["--zzzzzzzz", "x"], "E_USAGE: unknown option --zzzzzzzz."),
    (["--", "x"], "E_USAGE: unknown option --"),
    (["--PATH", "x"], "E_USAGE: unknown option --PATH"),
    (["--list", "x"], "E_USAGE: unknown option --list"),
    (["--fixed", "x"], "E_USAGE: unknown option --fixed"),
    (["--help_message", "x"], "E_USAGE: unknown option --help_message"),
    (["--a[$(touch canary)]", "x"], "E_USAGE: unknown option"),
    (["--x$(touch canary)=1"], "E_USAGE: unknown option"),
    (["--use_lm", "yes"], "E_USAGE: --use_lm must be true or false, got 'yes'"),
    (["--nj", "2.5"], "E_USAGE: --nj must be an integer, got '2.5'"),
    (["--nj", "a[$(touch canary)]"], "E_USAGE: --nj must be an integer"),
    (["--min_dur", "x"], "E_USAGE: --min_dur must be a number, got 'x'"),
    (["--tag", "$(touch canary)"], "E_UNSAFE_NAME: character '$' not allowed in --tag"),
    (["--tag", "`touch canary`"], "E_UNSAFE_NAME: character '`' not allowed in --tag"),
    (["--tag", "a;touch canary"], "E_UNSAFE_NAME: character ';' not allowed in --tag"),
    (
        ["--tag", "a\ntouch canary"],
        "E_UNSAFE_NAME: character newline not allowed in --tag",
    ),
    (["--asr_exp", "x|touch canary"], "E_UNSAFE_NAME: character '|' not allowed"),
    (["--asr_exp", 'x"touch canary"'], "E_UNSAFE_NAME: character '\"' not allowed"),
    (["--asr_args", "--a $(touch canary)"], "E_UNSAFE_NAME: character '$' not allowed"),
    (["--blank", "$(touch canary)"], "E_UNSAFE_NAME: character '$' not allowed"),
    (["--asr_tag", "../x"], "E_UNSAFE_NAME: --asr_tag is not a single name: '../x'"),
    (["--asr_tag", "a b"], "E_UNSAFE_NAME: --asr_tag is not a single name: 'a b'"),
    (["--asr_exp", "a,b"], "E_PATH: ESPnet cannot use paths with ',': a,b"),
    (["--asr_exp", "JOBS/x"], "E_PATH: launchers replace 'JOB' in paths: JOBS/x"),
]


@pytest.mark.parametrize("args, message", REFUSED)
def test_refuses(parse, tmp_path, args, message):
    done = parse(*args)
    assert done.returncode == 64
    assert done.stderr.startswith(message)
    assert ". Do: " in done.stderr or "? Do: " in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "canary").exists()


def test_help_lists_the_options_with_their_defaults(parse):
    done = parse("--help")
    assert done.returncode == 0
    assert "--stop_stage" in done.stdout and "last stage [100]" in done.stdout
    assert "--asr_exp" in done.stdout and 'folder [""]' in done.stdout
