"""Places for tasks on this machine: its GPUs, and as many as ``TOPDOWN_SLOTS`` says.

A place is a lock file; it is free again when its holder is dead. GPUs are shared by all
launchers of a user, the places of ``TOPDOWN_SLOTS`` by those of one checkout. A process
that holds a GPU can have several jobs on it (``SharedGPUs``).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from espnet_topdown.cmd._process import capture
from espnet_topdown.cmd._task import Task, say
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import Lock, holder_name, lock_holder

_CHECKOUT = Path(__file__).resolve().parents[2]
_ASK_S = 20.0  # between two looks at the memory of a GPU


class Places:
    """Hands out ``gpus`` GPUs (where there are any) and one place to each task.

    Raises:
        TopDownError: E_GPU, E_SLOTS (78).
    """

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus
        self._visible = visible_gpus() if gpus else []
        if self._visible:
            check_gpus(gpus, "ask for fewer")
        slots = os.environ.get("TOPDOWN_SLOTS") or "0"
        if not slots.isdecimal():
            what = f"TOPDOWN_SLOTS is '{slots}'"
            raise TopDownError("E_SLOTS", what, "set it to a whole number")
        digest = hashlib.sha256(os.fsencode(_CHECKOUT)).hexdigest()[:10]
        self._slots = [f"{digest}.slot{n}" for n in range(int(slots))]
        self._held: dict[Task, list[Lock]] = {}

    def reserve(self, task: Task) -> str:
        """Reserve all that a task needs, or nothing.

        Returns:
            What is in the way, with its holders; empty if the task may start.
        """
        if self._slots and not self._lock(task, self._slots, 1):
            what = f"a place, TOPDOWN_SLOTS={len(self._slots)}"
            return f"{what}: {_holders(self._slots)}"
        if self._visible:
            names = self._lock(task, self._visible, self._gpus)
            if not names:
                self.release(task)
                what = f"{self._gpus} of {len(self._visible)} GPUs"
                return f"{what}: {_holders(self._visible)}"
            task.environment.update(_environment(names))
        return ""

    def release(self, task: Task) -> None:
        """Release what the task had."""
        for lock in self._held.pop(task, []):
            lock.release()

    def _lock(self, task: Task, names: Sequence[str], number: int) -> list[str]:
        """Return so many of the places, none if too few are free."""
        taken: dict[str, Lock] = {}
        for name in names:
            lock = Lock(_file(name), doing=f"{task.log} in {os.getcwd()}")
            if len(taken) < number and lock.acquire():
                taken[name] = lock
        self._held.setdefault(task, []).extend(taken.values())
        if len(taken) == number:
            return list(taken)
        self.release(task)
        return []


class SharedGPUs:
    """This machine's GPUs, each for several jobs of this process at a time.

    Other launchers find a GPU taken as long as one of the jobs is on it. The first job
    of a GPU is always let on it; a further one only if the memory that is free now
    suffices for it, and for those that have not taken theirs yet.

    Args:
        max_jobs: On one GPU.
        job_mib: Memory that a job takes, as far as any has shown; 0 if none has.
        has_allocated: Whether a job, by name, has taken its memory since a time (s).

    Attributes:
        exclusive: Names of jobs that want a GPU for themselves.
        shared: Names of jobs that had others on theirs.
    """

    def __init__(
        self,
        max_jobs: int,
        job_mib: Callable[[], float],
        has_allocated: Callable[[str, float], bool],
    ) -> None:
        self._max_jobs, self._job_mib = max_jobs, job_mib
        self._has_allocated = has_allocated
        self._jobs: dict[str, dict[str, float]] = {gpu: {} for gpu in visible_gpus()}
        self._locks: dict[str, Lock] = {}
        self._ask_at: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self.exclusive: set[str] = set()
        self.shared: set[str] = set()

    def acquire(self, job: str) -> dict[str, str]:
        """Find a place for a job, on an empty GPU if there is one.

        Returns:
            Variables of the environment that name the GPU; empty if there is no place.
        """
        for gpu, others in sorted(self._jobs.items(), key=lambda item: len(item[1])):
            lock = self._locks.get(gpu) or Lock(_file(gpu), doing=os.getcwd())
            if others:
                missing = self._missing(gpu, {job, *others})
            else:
                missing = "" if lock.acquire() else _holders([gpu])
            if missing:
                if self._said.get(gpu) != missing:
                    say("search", f"GPU {gpu}: another training waits, {missing}")
                self._said[gpu] = missing
                continue
            self._locks[gpu] = lock
            self.shared.discard(job)
            self.shared |= {job, *others} if others else set()
            others[job] = time.time()
            return _environment([gpu])
        return {}

    def release(self, *jobs: str) -> None:
        """Release the places of jobs; without names those of all."""
        self._ask_at.clear()
        for gpu, there in self._jobs.items():
            for job in jobs or list(there):
                there.pop(job, None)
            if not there and gpu in self._locks:
                self._locks.pop(gpu).release()

    # What is in the way of all these jobs on a GPU.
    def _missing(self, gpu: str, jobs: set[str]) -> str:
        now, there = time.monotonic(), self._jobs[gpu]
        names = ", ".join(there)
        if len(jobs) > self._max_jobs or self.exclusive & jobs:
            return f"the place is taken by {names}"
        if now < self._ask_at.get(gpu, now):
            return self._said[gpu]
        young = sum(not self._has_allocated(job, since) for job, since in there.items())
        need = self._job_mib() * (1 + young)
        if need and (free_mib(gpu) or 0) >= need:
            return ""
        self._ask_at[gpu] = now + _ASK_S
        if not need:
            return f"no epoch of {names} has shown yet how much memory it takes"
        return f"{need:.0f} MiB must be free"


def free_mib(gpu: str) -> int | None:
    """Ask nvidia-smi how much memory of a GPU is free.

    Args:
        gpu: Its number or UUID.

    Returns:
        MiB; None where it does not say.
    """
    answer = " ".join(_ask_nvidia_smi("-i", gpu, "--query-gpu=memory.free"))
    return int(answer) if answer.isdecimal() else None


def visible_gpus() -> list[str]:
    """The GPUs that programs see here, as ``CUDA_VISIBLE_DEVICES`` names them.

    Returns:
        Numbers or UUIDs; without the variable what nvidia-smi lists.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        return [name for name in names if name and name not in ("-1", "NoDevFiles")]
    return _ask_nvidia_smi("--query-gpu=index")


def _ask_nvidia_smi(*options: str) -> list[str]:
    line = ["nvidia-smi", *options, "--format=csv,noheader,nounits"]
    status, out, _ = capture(line, seconds=60)
    return out.split() if status == 0 else []


def check_gpus(ngpu: int, do: str = "give --ngpu 0 for the CPU, or fewer") -> None:
    """Refuse to work on more GPUs than this machine shows.

    Args:
        ngpu: So many are asked for.
        do: What else could be done.

    Raises:
        TopDownError: E_GPU (78).
    """
    shown = len(visible_gpus()) if ngpu else 0
    if ngpu > shown:
        what = f"{ngpu} GPUs are asked for, this machine shows {shown}"
        raise TopDownError("E_GPU", what, do)


def _environment(names: Sequence[str]) -> dict[str, str]:
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # nvidia-smi's
    return {"CUDA_VISIBLE_DEVICES": ",".join(names), **order}


def _file(name: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"espnet_topdown_gpus.{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / name.replace("/", "_")


def _holders(names: Sequence[str]) -> str:
    owners = [*filter(None, map(lock_holder, map(_file, names)))] or [{}]
    return "held by " + " and ".join(map(holder_name, owners))
