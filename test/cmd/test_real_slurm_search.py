"""Searches on a real Slurm; only their training is a fake."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from launching import REPOSITORY, wait_for
from toys import write_joint

from espnet_topdown.cmd.launch import backend_cmd

pytestmark = [pytest.mark.timeout(240), pytest.mark.espnet]
FAKE_JOB = REPOSITORY / "test" / "fixtures" / "fake_job.py"
ERRORS = {"m4": 50, "m1.3": 40, "m2.2": 45, "m3.1": 60, "m1.1.2": 41, "m1.2.1": 39}
ERRORS.update({"m2.1.1": 44, "m1.1.1.1": 42})
SEARCH = """
import json, sys
from pathlib import Path

sys.path.insert(0, str(Path(sys.argv[1]).parent))
from toys import toys_pass

from espnet_topdown.cmd import places
from espnet_topdown.search import driver
from espnet_topdown.search.request import SearchRequest

places._ASK_S = 0.5
driver.python_module = lambda name: [sys.executable, sys.argv[1]]
folders = Path("exp/joint"), Path("exp/search")
with toys_pass():
    driver.run_search(SearchRequest(*folders, **json.loads(sys.argv[2])))
"""


@pytest.fixture
def place(real_slurm, monkeypatch):
    """A joint model of four layers, in the current folder."""
    monkeypatch.chdir(real_slurm.folder)
    for name, value in real_slurm.env.items():
        monkeypatch.setenv(name, value)
    write_joint(n_blstm=3)
    Path("path.sh").write_text(f"export FAKE_DIR={Path.cwd()} FAKE_SECONDS=0.5\n")
    Path("errors.json").write_text(json.dumps({"root": "m4", **ERRORS}))
    Path("search.py").write_text(SEARCH)
    return real_slurm


def command(**asked: object) -> list[str]:
    asked["strategy"] = "full"
    return [sys.executable, "search.py", str(FAKE_JOB), json.dumps(asked)]


def check_result() -> None:
    result = json.loads(Path("exp/search/result.json").read_text())
    assert result["best"] == "m1.2.1"
    assert {n: v["errors"] for n, v in result["nodes"].items()} == ERRORS


def submitted(place) -> int:
    """Jobs that the cluster has seen from this folder."""
    folders = place.cluster.call("squeue", "-h", "-t", "all", "-o", "%Z").split()
    return Counter(folders)[str(place.folder)]


def test_a_full_search_whose_driver_is_killed(place) -> None:
    search = command(cmd=shlex.join(backend_cmd("slurm")), max_jobs=3)
    first = subprocess.Popen(search)
    wait_for("exp/search/m1.3/fake_epochs", 100)
    first.kill()
    first.wait()
    assert subprocess.run(search).returncode == 0
    check_result()
    work = Counter(Path("work").read_text().splitlines())
    assert set(work.values()) == {1}, "nothing is done twice"
    assert submitted(place) == len(ERRORS), "nothing is submitted twice"


def test_trainings_share_the_gpu_of_one_allocation(place) -> None:
    """docs/cluster.md: the search itself is the job; its trainings run in that."""
    Path("bin").mkdir()
    Path("bin/nvidia-smi").write_text("#!/bin/sh\necho 9999\n")
    Path("bin/nvidia-smi").chmod(0o755)
    search = shlex.join(command(ngpu=1, max_jobs=2, jobs_per_gpu=2))
    variables = f"FAKE_DIR={Path.cwd()} FAKE_GPU=meet PATH={Path.cwd()}/bin:$PATH"
    options = ("-W", "--gres=gpu:1", "--mem=2G", "-o", "search.log")
    script = f"env {variables} {search}"
    place.cluster.call("sbatch", *options, "--wrap", script, check=False)
    assert Path("exp/search/result.json").exists(), Path("search.log").read_text()
    check_result()
    ran = [line.split() for line in Path("gpu").read_text().splitlines()]
    assert max(int(count) for _, count, _ in ran) == 2, "two at a time"
    assert {gpu for *_, gpu in ran} == {"0"}, "the one that Slurm gave"
    assert submitted(place) == 1
