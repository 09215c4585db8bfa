"""python bench/slurm.py --sleep 60

What the Slurm launcher costs, on a private cluster of two nodes on this machine: from
a job's end to its caller knowing it, from scancel to the error, and a full search of
four layers with a trainer that sleeps, three jobs at a time, against the ideal.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "test" / "fixtures")]

import slurm_cluster  # noqa: E402

SLURM = [sys.executable, "-m", "espnet_topdown.cmd.slurm"]
CONF = REPOSITORY / "egs2/TEMPLATE/asr1/conf/slurm.conf"
ERRORS = {"root": "m4", "m4": 50, "m1.3": 40, "m2.2": 45, "m3.1": 60, "m1.1.2": 41}
ERRORS.update({"m1.2.1": 39, "m2.1.1": 44, "m1.1.1.1": 42})


def job_end(seconds: float) -> float:
    """Seconds from the end of a job to the end of its launcher."""
    command = ["bash", "-c", f"sleep {seconds}; date +%s.%N >ended"]
    subprocess.run([*SLURM, "a.log", *command], check=True)
    return time.time() - float(Path("ended").read_text())


def cancelled(after: float) -> float:
    """Seconds from scancel, so long after the start, to the launcher's error."""
    Path("started").unlink(missing_ok=True)
    command = ["bash", "-c", "touch started; sleep 600"]
    launched = subprocess.Popen([*SLURM, "b.log", *command], stderr=subprocess.DEVNULL)
    while not Path("started").exists():
        time.sleep(0.05)
    time.sleep(after)
    (note,) = Path("q").glob("b.log*/submit.json")
    begun = time.time()
    subprocess.run(["scancel", json.loads(note.read_text())["job"]], check=True)
    if launched.wait(600) != 1:
        raise SystemExit("a cancelled job must be an error")
    return time.time() - begun


def search(sleep: float, jobs: int) -> float:
    """Seconds of a full search of four layers whose trainings only sleep."""
    from toys import rnn_weights, toys_pass, write_data, write_experiment

    from espnet_topdown.models.experiment import known_options
    from espnet_topdown.search.driver import run_search
    from espnet_topdown.search.request import SearchRequest

    known_options("espnet2.bin.asr_train")  # ESPnet's import is not what is measured
    known_options("espnet_topdown.bin.asr_train")
    data = {
        f"{phase}_data_path_and_name_and_type": write_data(Path("data", phase), ids)
        for phase, ids in (("train", ["t1", "t2"]), ("valid", ["v1", "v2"]))
    }
    write_experiment(Path("exp/joint"), rnn_weights(3), **data)
    Path("errors.json").write_text(json.dumps(ERRORS))
    Path("path.sh").write_text(
        f"export FAKE_DIR={os.getcwd()} FAKE_SECONDS={sleep / 3}"
    )
    job = shlex.quote(str(REPOSITORY / "test/fixtures/fake_job.py"))
    script = (
        f'log=$1; shift 4; exec {shlex.join(SLURM)} "$log" {sys.executable} {job} "$@"'
    )
    cmd = shlex.join(["bash", "-c", script, "-"])
    asked = {"strategy": "full", "cmd": cmd, "max_jobs": jobs}
    begun = time.time()
    with toys_pass():
        run_search(SearchRequest(Path("exp/joint"), Path("exp/search"), **asked))
    return time.time() - begun


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sleep", type=float, default=60.0, help="Seconds a training")
    parser.add_argument("--search", action="store_true", help="Only the full search")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        cluster = slurm_cluster.Cluster(Path(folder))
        try:
            cluster.start()
            (Path(folder) / "work" / "conf").mkdir(parents=True)
            os.chdir(Path(folder) / "work")
            os.environ.update(cluster.env, PYTHONPATH=str(REPOSITORY))
            Path("conf/slurm.conf").write_text(CONF.read_text())
            if not args.search:
                measure_launcher()
            measure_search(args.sleep)
        finally:
            os.chdir("/")
            cluster.stop()


def measure_launcher() -> None:
    """From a job's end, and from its cancellation, to the launcher's."""
    for seconds, runs in ((1, 5), (20, 3), (60, 1)):
        ends = [job_end(seconds) for _ in range(runs)]
        shown = f"{statistics.median(ends):.1f} s, at most {max(ends):.1f} s"
        print(
            f"from the end of a job of {seconds} s: {shown} ({runs} runs)", flush=True
        )
    for after, runs in ((0, 3), (60, 1)):
        waits = [cancelled(after) for _ in range(runs)]
        shown = ", ".join(f"{w:.1f} s" for w in waits)
        print(f"from scancel {after} s after the start: {shown}", flush=True)


def measure_search(sleep: float) -> None:
    """A full search against the ideal, with the load of the machine."""
    before = os.getloadavg()[0]
    spent = search(sleep, 3)
    share = 3 * sleep / spent
    print(f"full search, n = 4, trainings of {sleep:g} s, 3 at a time: {spent:.1f} s")
    print(
        f"ideal {3 * sleep:g} s: {share:.3f} of it; one after another {7 * sleep:g} s; "
        f"load {before:.1f} to {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
