"""Searches on a real Slurm; only their training is a fake."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import slurm_cluster
from launching import REPOSITORY, wait_for
from toys import write_joint

from espnet_topdown.search.driver import run_search
from espnet_topdown.search.request import SearchRequest

FIXTURES = REPOSITORY / "test" / "fixtures"
pytestmark = [pytest.mark.timeout(240), slurm_cluster.needed]


def launcher(job: str) -> str:
    """A ``cmd`` that has the cluster run a fake job instead of the one it is given."""
    python, path = shlex.quote(sys.executable), shlex.quote(str(FIXTURES / job))
    script = (  # LOG python -m module options -> LOG python JOB options
        f'log=$1; shift 4; exec {python} -m espnet_topdown.cmd.slurm "$log"'
        f' {python} {path} "$@"'
    )
    return shlex.join(["bash", "-c", script, "-"])


ERRORS = {
    "m4": 50,
    "m1.3": 40,
    "m2.2": 45,
    "m3.1": 60,
    "m1.1.2": 41,
    "m1.2.1": 39,
    "m2.1.1": 44,
    "m1.1.1.1": 42,
}


@pytest.fixture
def base(on_slurm) -> Path:
    """A joint model of four layers."""
    exports = f"export FAKE_DIR={on_slurm} FAKE_SECONDS=0.5\n"
    Path("path.sh").write_text(exports)
    from espnet_topdown.models.experiment import known_options

    known_options("espnet2.bin.asr_train")  # imported before the forks
    known_options("espnet_topdown.bin.asr_train")
    return write_joint(n_blstm=3)


def full_search(base: Path, job: str, **more: object) -> SearchRequest:
    """Three jobs at a time."""
    asked = {"strategy": "full", "cmd": launcher(job), "max_jobs": 3, **more}
    return SearchRequest(base, Path("exp/search"), **asked)


def in_child(request) -> int:
    """Run the search in a fork; returns its pid."""
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            run_search(request)
            status = 0
        except BaseException as e:
            os.write(2, f"{type(e).__name__}: {e}\n".encode())
        finally:
            os._exit(status)
    return pid


def submitted() -> int:
    """Jobs that the cluster has seen from this folder."""
    form = ["squeue", "-h", "-t", "all", "-o", "%Z"]
    folders = subprocess.run(form, capture_output=True, text=True).stdout.split()
    return Counter(folders)[os.getcwd()]


@pytest.mark.espnet
def test_a_full_search_whose_driver_is_killed(base) -> None:
    Path("errors.json").write_text(json.dumps({"root": "m4", **ERRORS}))
    search = full_search(base, "fake_job.py")
    first = in_child(search)
    wait_for("exp/search/m1.3/fake_epochs", 100)
    os.kill(first, signal.SIGKILL)
    assert os.waitpid(first, 0)[1] == signal.SIGKILL
    assert os.waitpid(in_child(search), 0)[1] == 0
    result = json.loads(Path("exp/search/result.json").read_text())
    assert result["best"] == "m1.2.1"
    assert {n: v["errors"] for n, v in result["nodes"].items()} == ERRORS
    work = Counter(Path("work").read_text().splitlines())
    assert set(work.values()) == {1}, "nothing is done twice"
    assert submitted() == len(ERRORS), "nothing is submitted twice"


SHARING = """
import sys
from pathlib import Path

sys.path.insert(0, str(Path(sys.argv[1]).parent))
from toys import toys_pass

from espnet_topdown.cmd import places
from espnet_topdown.search import driver
from espnet_topdown.search.request import SearchRequest

places._ASK_S = 0.5
driver.python_module = lambda name: [sys.executable, sys.argv[1]]
asked = {"strategy": "full", "ngpu": 1, "max_jobs": 2, "jobs_per_gpu": 2}
with toys_pass():
    driver.run_search(SearchRequest(Path("exp/joint"), Path("exp/search"), **asked))
"""


@pytest.mark.espnet
def test_trainings_share_the_gpu_of_one_allocation(base, cluster) -> None:
    """docs/cluster.md: the search itself is the job; its trainings run in that."""
    Path("errors.json").write_text(json.dumps({"root": "m4", **ERRORS}))
    Path("bin").mkdir()
    Path("bin/nvidia-smi").write_text("#!/bin/sh\necho 9999\n")
    Path("bin/nvidia-smi").chmod(0o755)
    Path("sharing.py").write_text(SHARING)
    words = [sys.executable, "sharing.py", str(FIXTURES / "fake_job.py")]
    variables = f"FAKE_DIR={Path.cwd()} FAKE_GPU=meet PATH={Path.cwd()}/bin:$PATH"
    script = f"env {variables} {shlex.join(words)}"
    options = ("-W", "--gres=gpu:1", "--mem=2G", "-o", "search.log")
    cluster.call("sbatch", *options, "--wrap", script, check=False)
    result = Path("exp/search/result.json")
    assert result.exists(), Path("search.log").read_text()
    assert json.loads(result.read_text())["best"] == "m1.2.1"
    ran = [line.split() for line in Path("gpu").read_text().splitlines()]
    assert max(int(count) for _, count, _ in ran) == 2, "two at a time"
    assert {gpu for *_, gpu in ran} == {"0"}, "the one that Slurm gave"
    assert submitted() == 1
