"""Run jobs through a Kaldi-style launcher, several at a time.

A launcher is any command that is called as ``<cmd> [--option value].. LOG command..``,
blocks, and whose exit status is 0 only if the command succeeded: Kaldi's ``run.pl``,
``queue.pl`` and ``slurm.pl``, or ``python -m espnet_topdown.cmd.local``.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from espnet_topdown.cmd import _cluster, _process, local, places
from espnet_topdown.cmd._process import run_all
from espnet_topdown.cmd._scheduler import Scheduler
from espnet_topdown.cmd._submission import OpenJob, read_open_job
from espnet_topdown.cmd._task import Task, waits_for
from espnet_topdown.cmd.python import python_module
from espnet_topdown.cmd.sge import GridEngine
from espnet_topdown.cmd.slurm import Slurm
from espnet_topdown.errors import CLUSTER, USAGE, TopDownError, nearest

_SCHEDULERS: dict[str, type[Scheduler]] = {"slurm": Slurm, "sge": GridEngine}
_OURS = ("local", *_SCHEDULERS)
_SAFE_FOR_A_SHELL = re.compile(r"[\w@%+=:,./ -]+")
_STOP_SECONDS = 2 * _process.GRACE_SECONDS + 5  # the launcher has to stop its tasks


@dataclasses.dataclass(frozen=True)
class Job:
    """One command to run.

    Attributes:
        name: what the caller calls it; unique among the jobs of one ``run_jobs``.
        log: where the launcher writes the command's output.
        command: the argument list.
    """

    name: str
    log: Path
    command: list[str]


def backend_cmd(name: str) -> list[str]:
    """The launcher of a backend, as the words of a command.

    Args:
        name: ``local``, ``slurm``, ``sge``, or ``pbs`` with Kaldi's ``pbs.pl``.

    Returns:
        What goes before the options, the log and the command.

    Raises:
        TopDownError: E_CLUSTER_BACKEND (78); E_CLUSTER_CMD (76) without ``pbs.pl``.
    """
    if name in _OURS:
        return python_module(f"espnet_topdown.cmd.{name}")
    if name != "pbs":
        what = f"unknown backend '{name}' ({nearest(name, [*_OURS, 'pbs'])})"
        raise TopDownError("E_CLUSTER_BACKEND", what, "set cmd_backend")
    return [_find("pbs.pl")]


def check_launcher(
    cmd: str | Sequence[str], ngpu: int | None = None, jobs_per_gpu: int = 1
) -> None:
    """Find out what a launcher lacks before anything is begun.

    Args:
        cmd: the launcher with its options, as in ``run_jobs``.
        ngpu: how many GPUs a job will use; None if its configuration says so.
        jobs_per_gpu: how many jobs will share one.

    Raises:
        TopDownError: E_CLUSTER_CMD (76), E_CLUSTER_CONF or E_CLUSTER_OPTION (78), what
            a scheduler lacks; E_GPU (78), if the jobs would run here without GPUs, or
            cannot share them.
    """
    words = shlex.split(cmd) if isinstance(cmd, str) else list(cmd)
    _line(words, Job("", Path("x.log"), ["true"]))
    backends = [word.partition("espnet_topdown.cmd.")[2] for word in words]
    backend = next((name for name in backends if name in _OURS), "")
    if jobs_per_gpu > 1:
        _check_sharing(backend, ngpu, jobs_per_gpu)
    if not backend:
        return
    options = words[backends.index(backend) + 1 :]
    request = local.parse([*options, "x.log", "true"])
    if backend in _SCHEDULERS:
        _cluster.scheduler_for(request.options, _SCHEDULERS[backend])
        return
    places.Places(request.count("gpu"))
    do = "give a smaller --ngpu, 0 for the CPU, or --cmd_backend slurm or sge"
    places.check_gpus(ngpu or 0, do)


def _check_sharing(backend: str, ngpu: int | None, jobs: int) -> None:
    """Refuse jobs that cannot share a GPU: each launcher call has its own place."""
    option, do = f"--jobs_per_gpu {jobs}", "leave it out"
    if backend != "local":
        what = f"{option}: only jobs of --cmd_backend local can share a GPU"
        do = "give --cmd_backend local (in a recipe: TOPDOWN_CMD_BACKEND=local); on a "
        do += "cluster run the search itself in a job that has the GPU"
    elif ngpu != 1:
        what, do = f"{option}: a training has --ngpu {ngpu}", f"give --ngpu 1, or {do}"
    elif any(places.free_mib(gpu) is None for gpu in places.visible_gpus()):
        what = f"{option}: nvidia-smi does not tell the free memory of the GPUs"
    else:
        return
    raise TopDownError("E_GPU", what, do)


def open_jobs(folder: Path) -> list[OpenJob]:
    """The jobs whose logs are in ``folder`` and whose end nobody has seen.

    Args:
        folder: of logs, such as a job's folder.

    Returns:
        In the order of their names.
    """
    return [*filter(None, map(read_open_job, sorted((Path(folder) / "q").glob("*"))))]


def why_waiting(log: Path) -> str:
    """What the task of a log waits for, with those who hold it.

    Args:
        log: where the task writes, or will write.

    Returns:
        A phrase; "" if it runs.
    """
    queued = [job.waits for job in open_jobs(Path(log).parent) if job.waits]
    return waits_for(log) or "; ".join(queued)


def cancel_jobs(folder: Path) -> list[str]:
    """Cancel a cluster's jobs whose logs are in ``folder`` and that nobody watches.

    Returns:
        A line for each of them.
    """
    done = []
    for job in (job for job in open_jobs(folder) if job.job):
        name = job.scheduler
        if name not in _SCHEDULERS:  # an older version did not say
            name = Slurm.name if shutil.which("scancel") else GridEngine.name
        message = _SCHEDULERS[name]().cancel(job.job)
        if not message:
            (job.folder / "submit.json").unlink(missing_ok=True)
        done.append(f"job {job.job}: {message or 'cancelled'}")
    return done


def run_jobs(
    jobs: Sequence[Job],
    cmd: str | Sequence[str],
    max_jobs: int = 1,
    on_poll: Callable[[], object] | None = None,
    on_done: Callable[[Job, int], Sequence[Job] | None] | None = None,
    gpus: places.SharedGPUs | None = None,
) -> dict[str, int]:
    """Run all jobs, ``max_jobs`` at a time; a failing job does not stop the others.

    Args:
        jobs: they are started in this order.
        cmd: the launcher with its options, as words or as one shell-quoted line.
        max_jobs: at least 1.
        on_poll: called about every second while jobs run, to show progress.
        on_done: called with each finished job and its status, in order of finishing;
            the jobs that it returns are started before those still waiting.
        gpus: where the jobs wait for places; else the launcher finds GPUs for them.

    Returns:
        For each name the launcher's exit status (128 + n if signal n ended it).

    Raises:
        KeyboardInterrupt: after INT; SystemExit after TERM and HUP. All that was
            started has been ended by then.
    """
    launcher = shlex.split(cmd) if isinstance(cmd, str) else list(cmd)
    status: dict[str, int] = {}
    polled = time.monotonic()

    def poll() -> None:
        nonlocal polled
        if on_poll is not None and time.monotonic() - polled >= 1.0:
            on_poll()
            polled = time.monotonic()

    def may_start(call: _Call) -> bool:
        if gpus is not None:
            call.environment = gpus.acquire(call.job.name)
        return gpus is None or bool(call.environment)

    def end(call: _Call) -> list[_Call]:
        if gpus is not None:
            gpus.release(call.job.name)
        status[call.job.name] = call.status
        more = on_done(call.job, call.status) if on_done is not None else None
        return [_Call(launcher, job) for job in more or ()]

    calls = [_Call(launcher, job) for job in jobs]
    most, grace = max(1, max_jobs), _STOP_SECONDS
    try:
        run_all(calls, most, may_start, end, poll, grace, hup=True)
    finally:
        if gpus is not None:
            gpus.release()
    return status


class _Call:
    """A job and the launcher that runs it."""

    def __init__(self, launcher: Sequence[str], job: Job) -> None:
        self.job = job
        self.line = _line(launcher, job)
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen | None = None
        self.status = 0

    def start(self) -> None:
        self.process = _process.start(self.line, signal.SIGTERM, self.environment)

    def ended(self) -> bool:
        code = None if self.process is None else self.process.poll()
        self.status = 128 - code if code is not None and code < 0 else code or 0
        return code is not None


def _line(launcher: Sequence[str], job: Job) -> list[str]:
    if not launcher:
        do = "set cmd, for example 'run.pl', or leave it out"
        raise TopDownError("E_CLUSTER_CMD", "the launcher command is empty", do)
    words = [str(job.log), *map(str, job.command)]
    if launcher[0].endswith(".pl"):  # these pass the words to a shell, half-quoted
        for word in words:
            if word and not _SAFE_FOR_A_SHELL.fullmatch(word):
                what = f"{os.path.basename(launcher[0])} cannot pass {word!r} on"
                do = "rename that file or folder, or use --cmd_backend local"
                raise TopDownError("E_UNSAFE_NAME", what, do, USAGE)
    return [_find(launcher[0]), *launcher[1:], *words]


def _find(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        what = f"launcher '{program}' is not in PATH"
        do = "source path.sh of your Kaldi or ESPnet, or use cmd_backend=local"
        raise TopDownError("E_CLUSTER_CMD", what, do, CLUSTER)
    return path


def out_of_gpu_memory(job: Job) -> bool:
    """Return whether the end of a job's log says so, in the words of torch and CUDA."""
    lines = Task(str(job.log), []).tail(50)
    return any(re.search("CUDA.*out of memory|_ALLOC_FAILED", s) for s in lines)


def share_cores(jobs: int) -> None:
    """Give jobs that run side by side their part of this machine's cores.

    Args:
        jobs: so many at a time.
    """
    threads = str(max(1, local.processors() // max(1, jobs)))
    os.environ.setdefault("OMP_NUM_THREADS", threads)
