"""cmd.sh, path.sh, setup.sh, and the hand-over to ESPnet's own asr.sh."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from launching import wait_for

pytestmark = pytest.mark.recipe


def fake(folder, name, text="exit 0\n"):
    """An executable script."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/usr/bin/env bash\n" + text)
    path.chmod(0o755)
    return path


PRINT = '. ./path.sh; . ./cmd.sh; echo "$train_cmd|$cuda_cmd|$decode_cmd"'
BACKENDS = [
    ("local", "python3 -P -m espnet_topdown.cmd.local"),
    ("run.pl", "run.pl"),
    ("slurm.pl", "slurm.pl"),
    ("slurm", "python3 -P -m espnet_topdown.cmd.slurm"),
    ("sge", "python3 -P -m espnet_topdown.cmd.sge"),
    ("pbs", "pbs.pl"),
]


@pytest.mark.parametrize("backend, command", BACKENDS)
def test_cmd_sh_exports_three_commands(recipe, run, tmp_path, backend, command):
    for name in ("run.pl", "slurm.pl", "queue.pl", "pbs.pl"):
        fake(tmp_path / "kaldi", name)
    (recipe / "local" / "path.sh").write_text(f'PATH="{tmp_path}/kaldi:$PATH"\n')
    done = run("bash", "-euc", PRINT, cwd=recipe, TOPDOWN_CMD_BACKEND=backend)
    assert done.stdout == f"{command}|{command}|{command}\n", done.stderr


@pytest.mark.parametrize("backend", ["ssh.pl", "cloud"])
def test_cmd_sh_refuses(recipe, run, backend):
    done = run("bash", "-euc", PRINT, cwd=recipe, TOPDOWN_CMD_BACKEND=backend)
    assert done.returncode == 64
    assert "E_CMD: " in done.stderr and " Do: " in done.stderr


def test_path_sh_finds_the_checkout_and_sources_local_path_sh(recipe, run, template):
    (recipe / "local" / "path.sh").write_text("export SITE=here\n")
    script = """. ./path.sh
        python3 -c 'import espnet_topdown; print(espnet_topdown.__file__)'
        echo "$SITE $LC_ALL $OMP_NUM_THREADS $PYTHONIOENCODING"
    """
    done = run("bash", "-euc", script, cwd=recipe, OMP_NUM_THREADS="3")
    module, settings = done.stdout.splitlines()
    assert module == str(template.parents[2] / "espnet_topdown" / "__init__.py")
    assert settings == "here C 3 UTF-8"


def test_setup_keeps_what_is_there(recipe, succeed, template):
    (recipe / "run.sh").write_text("mine\n")
    succeed(template / "setup.sh", recipe, cwd=recipe)
    assert (recipe / "run.sh").read_text() == "mine\n"
    assert (recipe / "utils").resolve() == template / "utils"


@pytest.mark.parametrize(
    "args, status",
    [([], 64), (["a", "b"], 64), (["--help"], 64), (["file"], 73), (["TEMPLATE"], 64)],
)
def test_setup_refuses(template, run, tmp_path, args, status):
    (tmp_path / "file").touch()
    args = [template if word == "TEMPLATE" else word for word in args]
    assert run(template / "setup.sh", *args, cwd=tmp_path).returncode == status


ASR_SH = r"""
set -euo pipefail
. ./path.sh
. ./cmd.sh
for word in "$@"; do printf '[%s]' "$word"; done
echo
mkdir -p data/made dump/made exp/made
cat utils/tool conf/slurm.conf >/dev/null
"""


@pytest.fixture
def espnet_root(tmp_path):
    """A stand-in for a checkout of ESPnet."""
    folder = tmp_path / "esp net" / "egs2" / "TEMPLATE" / "asr1"
    fake(folder, "asr.sh", ASR_SH)
    for name in ("utils", "scripts", "pyscripts", "steps"):
        fake(folder / name, "tool")
    return tmp_path / "esp net"


def test_stages_1_to_11_can_be_espnets_own(recipe, succeed, espnet_root):
    said = succeed(
        *["./topdown.sh", "--stage", "3", "--stop_stage", "train", "--train_set=tr"],
        *["--asr_args", "--max_epoch 2", "--lang", "es", "--search", "full"],
        cwd=recipe,
        ESPNET_ROOT=str(espnet_root),
    )
    (words,) = (line for line in said.splitlines() if line.startswith("["))
    assert "[--train_set][tr]" in words and "[--asr_args][--max_epoch 2]" in words
    assert words.endswith("[--stage][3][--stop_stage][11]")
    assert "search" not in words and "[]" not in words
    for name in ("data", "dump", "exp"):
        assert (recipe / name / "made").is_dir()
    assert said.splitlines()[-1].endswith("s]")


def test_an_incomplete_checkout_is_named(recipe, run, espnet_root):
    (espnet_root / "egs2" / "TEMPLATE" / "asr1" / "asr.sh").unlink()
    words = ["./topdown.sh", "--stage", "1", "--stop_stage", "1"]
    done = run(*words, cwd=recipe, ESPNET_ROOT=str(espnet_root))
    assert done.returncode == 66 and "asr.sh is missing" in done.stderr


@pytest.fixture
def broken_data(recipe):
    """Options of a stage 3 that cannot succeed: the audio is not there."""
    for name in ("a", "b"):
        folder = recipe / "data" / name
        folder.mkdir(parents=True)
        (folder / "wav.scp").write_text("utt1 nowhere.wav\n")
        (folder / "text").write_text("utt1 x\n")
        (folder / "utt2spk").write_text("utt1 utt1\n")
    return "--train_set a --valid_set b --stage 3 --stop_stage 3".split()


def test_a_failing_job_shows_its_log(recipe, run, broken_data):
    """And no script of the user's takes the place of a module of Python's."""
    for name in ("random", "copy", "queue", "tokenize", "inspect"):
        (recipe / f"{name}.py").write_text("raise SystemExit('not me')\n")
    done = run("./asr_pip.sh", *broken_data, cwd=recipe, PYTHONPATH=":")
    assert done.returncode == 66 and "not me" not in done.stdout + done.stderr
    for said in ("nowhere.wav", "E_JOB: a job failed", "format_wav.N.log"):
        assert said in done.stderr


RUN_PL = """
mkdir -p "$(dirname "$2")"
echo "the reason" >"${2/JOB/1}"
exit 1
"""


def test_a_failing_job_of_kaldis_launcher_shows_its_log(
    recipe, run, broken_data, tmp_path
):
    fake(tmp_path / "kaldi", "run.pl", RUN_PL)
    (recipe / "local" / "path.sh").write_text(f'PATH="{tmp_path}/kaldi:$PATH"\n')
    done = run("./asr_pip.sh", *broken_data, cwd=recipe, TOPDOWN_CMD_BACKEND="run.pl")
    assert done.returncode == 1
    for said in ("the reason", "format_wav.1.log", "E_JOB: a job failed with status 1"):
        assert said in done.stderr


WAITS = """
trap 'echo $$ got it >>got; sleep 0.5; exit 7' {name}
touch started
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_a_signal_to_run_sh_reaches_what_it_has_started(recipe, run, template, name):
    """To its process alone, as ``kill`` sends it: nothing runs on."""
    fake(recipe / "local", "data.sh", WAITS.format(name=name))
    run("cp", template / "run.sh", recipe, cwd=recipe)
    words = ["./run.sh", "--stage", "1", "--stop_stage", "1"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "VIRTUAL_ENV": sys.prefix, "PATH": path}
    options = {"cwd": recipe, "env": env, "text": True, "start_new_session": True}
    running = subprocess.Popen(words, stderr=subprocess.PIPE, **options)
    wait_for(recipe / "started")
    os.kill(running.pid, getattr(signal, f"SIG{name}"))
    said = running.communicate(timeout=20)[1]
    assert running.returncode != 0 and f"interrupted by {name}; the same" in said
    assert "E_JOB" not in said and "[1]" not in said
    stat = Path("/proc", (recipe / "got").read_text().split()[0], "stat")
    assert not stat.exists() or ") Z " in stat.read_text()


@pytest.mark.parametrize("status, says", [(130, False), (143, False), (1, True)])
def test_an_interrupted_job_has_not_failed(recipe, run, status, says):
    script = f". utils/common.sh; run_job x.log bash -c 'exit {status}'"
    done = run("bash", "-uc", script, cwd=recipe)
    assert done.returncode == status
    assert ("E_JOB" in done.stderr) == says
    assert ("interrupted; the same command continues" in done.stderr) != says
