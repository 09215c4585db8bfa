"""One model trained by two nodes of a real Slurm, and a long outage of its controller.

``TOPDOWN_SLURM=all`` also preempts the training and takes the controller away for 60 s.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path

import launching
import pytest
import slurm_cluster
import yaml
from launching import job_id, wait_for
from slurm_cluster import long
from tones import tiny_config, write_corpus

launch = functools.partial(launching.launch, "slurm")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    slurm_cluster.needed,
]


@pytest.fixture
def candidate(on_slurm):
    """Prepare retrainings of a small joint model under its frozen softmax."""
    from espnet_topdown.jobs.prepare import prepare
    from espnet_topdown.jobs.spec import RetrainSpec
    from espnet_topdown.trainer.task import TopDownASRTask

    corpus = write_corpus(Path("tones").absolute())
    config = tiny_config(corpus, max_epoch=1, batch_size=4)
    Path("train.yaml").write_text(yaml.safe_dump(config))
    joint = Path("exp/joint")
    words = ["--config", "train.yaml", "--output_dir", str(joint), "--seed", "1"]
    TopDownASRTask.main(cmd=words)

    def make(name: str, epochs: int) -> Path:
        source = joint / "valid.loss.best.pth"
        more = {"max_epoch": epochs, "keep_nbest_models": 1}
        spec = RetrainSpec(name, joint, source, ("softmax",), seed=7, overrides=more)
        prepare(spec, Path("exp", name))
        return Path("exp", name)

    return make


def run_job(folder: Path, nodes: int):
    """Submit what a search submits for a candidate."""
    words = ("--folder", str(folder), "--num_nodes", str(nodes), "--ngpu", "0")
    call = (sys.executable, "-m", "espnet_topdown.bin.run_job", *words)
    log = str(folder / "train.log")
    return launch("--num_nodes", str(nodes), "--gpu", "0", log, *call)


def curve(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "curve.jsonl").open()]


@pytest.mark.espnet
def test_two_nodes_train_one_candidate(candidate, cluster) -> None:
    from espnet_topdown.jobs.run import run_job as run_here
    from espnet_topdown.jobs.verify import verify

    alone = candidate("alone", 3)
    run_here(alone)
    both = candidate("both", 3)
    launched = run_job(both, 2)
    job = job_id(both)
    form = ("squeue", "-h", "-t", "all", "-j", job, "-o", "%N")
    assert launched.wait(300) == 0, launched.stderr.read()
    assert cluster.call(*form) == "n[1-2]"
    assert (both / ".done").is_file() and verify(both), "frozen, bit for bit"
    config = yaml.safe_load((both / "config.yaml").read_text())
    names = ("dist_backend", "dist_launcher", "ngpu")
    assert [config[n] for n in names] == ["gloo", "slurm", 0]
    assert not list(both.glob(".dist_init*"))
    assert len(curve(both)) == 3
    for a, b in zip(curve(both), curve(alone)):
        for phase in ("train", "valid"):
            assert a[phase]["loss"] == pytest.approx(b[phase]["loss"], rel=1e-3)


@long
@pytest.mark.espnet
@pytest.mark.parametrize("how", ["USR2", "TERM"])
def test_a_preempted_pair_saves_and_goes_on(candidate, cluster, how: str) -> None:
    """That it is as if never stopped, bit for bit, is in test_ranks.py.

    Where a job of more weight needs the nodes, Slurm sends TERM to the two processes
    only, and would give them five minutes.
    """
    folder = candidate("preempted", 200)  # of less than 0.1 s
    launched = run_job(folder, 2)
    wait_for(folder / "curve.jsonl", 300)
    if how == "USR2":
        cluster.call("scancel", "--signal=USR2", "--batch", job_id(folder))
    else:
        words = ("-p", "urgent", "-N2", "-n4", "-o", "/dev/null", "--wrap", "true")
        cluster.call("sbatch", *words)
    assert launched.wait(600) == 0, launched.stderr.read()
    log = (folder / "train.log").read_text()
    assert log.count("# Started at") == 2
    assert log.count(f"E_PREEMPTED: stopped by SIG{how} in epoch") == 2, "both leave"
    assert log.count("The training was resumed") == 1
    assert [point["epoch"] for point in curve(folder)] == list(range(1, 201))
    assert (folder / ".done").is_file()


@long
def test_an_outage_of_a_minute(on_slurm, cluster) -> None:
    """A job that runs on and ends meanwhile, and one that is submitted meanwhile."""
    first = launch("a.log", "bash", "-c", "touch started; sleep 30; touch ended")
    wait_for("started")
    job_id()
    time.sleep(6)  # the controller has saved its state by then
    cluster.kill_controller()
    begun = time.monotonic()
    second = launch("b.log", "bash", "-c", "echo once >>b_ended")
    time.sleep(60)
    assert first.poll() == 0, "its exit status is a file: no controller is needed"
    assert second.poll() is None, "it waits"
    assert not Path("b_ended").exists()
    cluster.start_controller()
    assert second.wait(120) == 0, second.stderr.read()
    print(f"submitted and ended {time.monotonic() - begun - 60:.1f} s after the outage")
    assert second.stderr.read().count("W_CLUSTER_UNREACHABLE") == 1
    assert Path("b_ended").read_text() == "once\n", "nothing is submitted twice"
