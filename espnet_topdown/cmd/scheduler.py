"""What a scheduler has to be able to do for us: Slurm and Grid Engine each do it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from espnet_topdown.cmd.submission import Submission

TOKEN = "topdown-"  # how our tokens begin
WRONG, AWAY, FULL, UNKNOWN = "wrong", "away", "full", "unknown"
# What schedulers say, in the order in which it is looked for: there is no room for one
# more job now; nobody answers now; the request is wrong and stays so.
_SAYS = (
    (
        FULL,
        r"accounting.?(/QOS)? policy|submit limit|max\w*submit|job limit|temporarily"
        r"|only \d+ (active )?jobs are|max_(u_)?jobs|too many jobs|queue is full",
    ),
    (
        AWAY,
        r"unable to (contact|send|establish)|can't connect|connect\w* (fail|re|time|cl)"
        r"|timed? ?out|did not answer|no response|not respond|unexpected message|busy"
        r"|got (send|select|read) error|commlib error|message receive|zero bytes"
        r"|transport endpoint|broken pipe|network is|standby mode|failed receiving"
        r"|authentication|credential|munge|(re)?starting",
    ),
    (
        WRONG,
        r"invalid|unknown|unrecogni[sz]ed|not (permitted|allowed|available|a valid)"
        r"|denied|illegal|can ?not be satisfied|too (large|long|many)|no such|not exist"
        r"|more processors|job violates|missing argument|no submit host|unable to open",
    ),
)
_OPTIONS = {  # what a message is about -> which of our options says it
    "--time": "time",
    "--mem": "mem",
    "--gpu": r"gres|generic resource|resource \W?gpu",
    "--num_threads": "cpu|processors|slots|parallel environment",
}
# The environment of a job in which we run is not that of the job that we submit.
_OF_A_JOB = re.compile(
    r"(SLURM|SLURMD|SBATCH|SALLOC|SRUN|SGE|PMI|PMI2|PMIX|PRTE|OMPI|MPI|MPIEXEC|HYDRA|PBS"
    r"|LSB)_\w+|PMI_\w*|JOB_(ID|NAME|SCRIPT)|NSLOTS|NHOSTS|NQUEUES|QUEUE|PE|PE_HOSTFILE"
    r"|RESTARTED|ENVIRONMENT|REQNAME|REQUEST|TASK_ID"
    r"|RANK|LOCAL_RANK|GROUP_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|MASTER_(ADDR|PORT)"
)
_GPUS_OF_A_JOB = re.compile("(CUDA|ROCR|NVIDIA|HIP)_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL")
# These say where the scheduler is and what a user asks of it.
_OF_A_SITE = re.compile(
    r"SLURM_(CONF\w*|CLUSTERS|JWT|TIME_FORMAT|EXIT_\w+|DEBUG_FLAGS)"
    r"|SBATCH_(?!ARRAY_INX|WAIT$|CPU_BIND|MEM_BIND)\w+"
    r"|SGE_(ROOT|CELL|CLUSTER_NAME|QMASTER_PORT|EXECD_PORT|LONG_\w+|SINGLE_LINE|ND)"
)


@dataclass(frozen=True)
class State:
    """What the scheduler says of one task.

    Attributes:
        word: its own name for the state.
        active: it runs or may still run.
        waits: why it does not run yet, "" if it does or nobody knows.
        stuck: it may never start.
    """

    word: str
    active: bool
    waits: str = ""
    stuck: bool = False


@dataclass(frozen=True)
class Signs:
    """By what a job is known as ours; a site may rewrite one or the other.

    Attributes:
        token: travels in a comment.
        script: that the job runs; no other call has it.
    """

    token: str
    script: str

    def fit(self, token: str, script: str) -> bool:
        """Whether a job with these ("" where unknown) is ours, or may be.

        >>> signs = Signs("topdown-1", "/q/job.sh")
        >>> signs.fit("project 42", "/q/job.sh"), signs.fit("project 42", "")
        (True, True)
        >>> signs.fit("topdown-2", ""), signs.fit("project 42", "/other.sh")
        (False, False)
        """
        if self.token in token or script == self.script:
            return True
        return not script and TOKEN not in token


class Unreachable(Exception):
    """The scheduler does not answer now."""


class Scheduler(Protocol):
    """What differs between schedulers.

    A job's id is the scheduler's own, in Slurm with ``;cluster`` behind it where one of
    several clusters was chosen.
    """

    name: str
    default_conf: str
    builtin: str
    programs: tuple[str, ...]  # that it is asked with
    task: str  # the variable with a task's number

    def __init__(self, line: list[str]) -> None: ...

    def submit_line(self, submission: Submission, token: str) -> list[str]: ...

    def job_of(self, output: str) -> str: ...

    def states(self, job: str, signs: Signs) -> dict[str, State]: ...

    def find(self, signs: Signs) -> str: ...

    def cancel_line(self, job: str) -> list[str]: ...

    def has_ended(self, said: str) -> bool: ...

    def post_mortem(self, job: str) -> str: ...


def kind_of(said: str) -> str:
    """What a refusal means: WRONG, AWAY, FULL or UNKNOWN.

    >>> kind_of("sbatch: error: invalid partition specified: gpu")
    'wrong'
    >>> kind_of("Batch job submission failed: Socket timed out on send/recv operation")
    'away'
    """
    for kind, words in _SAYS:
        if re.search(words, said, re.IGNORECASE):
            return kind
    return UNKNOWN


def option_of(said: str) -> str:
    """The option of ours that a refusal is about, "" if that cannot be told."""
    for option, words in _OPTIONS.items():
        if re.search(words, said, re.IGNORECASE):
            return option
    return ""


def without_job(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what the job that we run in, if any, has put there."""
    inside = {"SLURM_JOB_ID", "JOB_ID"} & set(environ)
    return {
        name: value
        for name, value in environ.items()
        if _OF_A_SITE.fullmatch(name)
        or not (
            _OF_A_JOB.fullmatch(name) or (inside and _GPUS_OF_A_JOB.fullmatch(name))
        )
    }
