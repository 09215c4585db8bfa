"""One training in several processes: on the nodes of a Slurm job, or on this machine.

ESPnet's trainer does the work; here its processes are started with ESPnet's own
``--dist_*`` options, told of signals, and ended together. One process a node is started
for CPUs; for GPUs each of them starts one for every GPU, which is ESPnet's way.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.cmd import process
from espnet_topdown.errors import CLUSTER, INTERNAL, RETRY, TopDownError
from espnet_topdown.trainer.stop import on_signal

GRACE_SECONDS = 20.0  # for the others, when one process has failed
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Workers:
    """How many processes train one model.

    Attributes:
        num_nodes: of a Slurm job; elsewhere processes on this machine's CPUs.
        ngpu: of each node; None leaves it to the training's configuration.
    """

    num_nodes: int = 1
    ngpu: int | None = None

    @property
    def options(self) -> list[str]:
        """The trainer's options where one process is enough."""
        return [] if self.ngpu is None else ["--ngpu", str(self.ngpu)]

    @property
    def several(self) -> bool:
        """Whether there is more than one process."""
        return self.num_nodes > 1 or (self.ngpu or 0) > 1

    @property
    def job_options(self) -> list[str]:
        """The same for ``run_job``, nothing where all is as usual."""
        nodes = ["--num_nodes", str(self.num_nodes)] if self.num_nodes > 1 else []
        return [*nodes, *self.options]

    def launcher(self, cmd: str | Sequence[str]) -> list[str]:
        """A launcher's words with what such a job asks for, unless they do."""
        words = shlex.split(cmd) if isinstance(cmd, str) else list(cmd)
        if self.num_nodes > 1 and "--num_nodes" not in words:
            words += ["--num_nodes", str(self.num_nodes)]
        if self.ngpu is not None and "--gpu" not in words:
            words += ["--gpu", str(self.ngpu)]
        return words

    def check(self) -> None:
        """Raises E_RANGE (78)."""
        if self.num_nodes < 1 or (self.ngpu or 0) < 0:
            what = f"--num_nodes {self.num_nodes} --ngpu {self.ngpu}"
            raise TopDownError("E_RANGE", what, "give 1 node or more, 0 GPUs or more")


def calls(
    command: Sequence[str],
    workers: Workers,
    init_file: Path,
    environ: Mapping[str, str] = os.environ,
) -> list[list[str]]:
    """The command lines to start at once.

    Args:
        command: A training command that takes ESPnet's options.
        workers: How many; ``ngpu`` None counts as 0.
        init_file: A new name in a folder that all nodes see.
        environ: Where Slurm says what the job has.

    Raises:
        TopDownError: E_NODES (76) where there are not so many nodes.
    """
    nodes, ngpu = workers.num_nodes, workers.ngpu or 0
    line = [*command, "--ngpu", str(ngpu), "--multiprocessing_distributed", "true"]
    if nodes == 1:
        return [line]
    line += ["--dist_init_method", f"file://{Path(init_file).absolute()}"]
    line += ["--dist_backend", "nccl" if ngpu else "gloo"]
    if "SLURM_JOB_ID" in environ:
        return [[*_srun(nodes, environ), *line, "--dist_launcher", "slurm"]]
    if ngpu or "PE_HOSTFILE" in environ:
        what = f"--num_nodes {nodes} --ngpu {ngpu}, but this is no job of Slurm's"
        do = "use --cmd_backend slurm; elsewhere one node can be used"
        raise TopDownError("E_NODES", what, do, CLUSTER)
    line += ["--dist_world_size", str(nodes), "--local_rank", "0"]
    return [[*line, "--dist_rank", str(rank)] for rank in range(nodes)]


def _srun(nodes: int, environ: Mapping[str, str]) -> list[str]:
    """One task on each node; all are ended when one fails."""
    have = int(environ.get("SLURM_JOB_NUM_NODES") or 1)
    if have < nodes:
        what = f"this Slurm job has {have} nodes, --num_nodes asks for {nodes}"
        do = "conf/slurm.conf needs the line 'option num_nodes=* --nodes $0'"
        raise TopDownError("E_NODES", what, do, CLUSTER)
    line = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    line += ["--export=ALL", "--mpi=none", "--kill-on-bad-exit=1"]
    if environ.get("SLURM_CPUS_PER_TASK"):  # since 22.05 srun does not look itself
        line += [f"--cpus-per-task={environ['SLURM_CPUS_PER_TASK']}"]
    return line


def train_together(command: Sequence[str], folder: Path, workers: Workers) -> None:
    """Train one model in several processes; returns when all have ended well.

    TERM and USR2 to us become USR2 to them: they finish the batch and leave together.

    Raises:
        TopDownError: E_NODES (76); E_PREEMPTED (75) after a signal; E_TRAINING with
            the status of the process that failed.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    init_file = Path(folder) / f".dist_init.{secrets.token_hex(4)}"
    lines = calls(command, workers, init_file)
    if shutil.which(lines[0][0]) is None:
        do = "put Slurm's programs into PATH"
        raise TopDownError("E_CLUSTER_CMD", f"no '{lines[0][0]}' here", do, CLUSTER)
    started: list[subprocess.Popen] = []
    try:
        with on_signal() as stop:
            started += [process.start(line, signal.SIGKILL) for line in lines]
            told = False
            while not _ended(started):
                if stop.signal is not None and not told:
                    told = True
                    _tell(started)
                if any(p.returncode for p in started):
                    _wait(started, GRACE_SECONDS)
                    break
                time.sleep(_POLL_SECONDS)
    finally:
        process.stop(started)
        init_file.unlink(missing_ok=True)
    _judge(folder, [p.returncode for p in started], stop.signal)


def _tell(started: Sequence[subprocess.Popen]) -> None:
    """USR2: our trainer takes it, and srun passes it on to every node."""
    for worker in started:
        if worker.poll() is None:
            worker.send_signal(signal.SIGUSR2)


def _ended(started: Sequence[subprocess.Popen]) -> bool:
    return None not in [p.poll() for p in started]  # all are asked


def _wait(started: Sequence[subprocess.Popen], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not _ended(started):
        time.sleep(_POLL_SECONDS)


def _judge(folder: Path, codes: Sequence[int], asked: int | None) -> None:
    """What the processes' exit codes mean; a code below 0 is a signal."""
    failed = [code for code in codes if code]
    if not failed:
        return
    if asked is not None or RETRY in failed:
        name = signal.Signals(asked).name if asked is not None else "a signal"
        raise TopDownError(
            "E_PREEMPTED",
            f"{folder}: stopped by {name}; its whole epochs are saved",
            "run the same command again, it continues",
            RETRY,
        )
    code = next((c for c in failed if 64 <= c <= 78), failed[0])
    raise TopDownError(
        "E_TRAINING",
        f"{folder}: a process of the training ended with {code}, all: {list(codes)}",
        "read the log; the same command continues",
        code if 64 <= code <= 78 else INTERNAL,
    )
