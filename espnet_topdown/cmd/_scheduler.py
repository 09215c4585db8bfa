"""What a scheduler has to be able to do for us: Slurm and Grid Engine each do it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espnet_topdown.cmd import _process
from espnet_topdown.cmd._submission import Submission
from espnet_topdown.errors import CLUSTER, TopDownError

TOKEN = "topdown-"  # how our tokens begin
WRONG, AWAY, FULL, UNKNOWN = "wrong", "away", "full", "unknown"
# The limit that Slurm names above its general words; one of the numbers of jobs is over
# soon, another is of this job alone.
_LIMIT = r"\b(QOS|Assoc)(Max|Min)(?!Jobs|Submit)\w+"
# What schedulers say, in the order in which it is looked for: the job is too big; there
# is no room for one more now; nobody answers now; the request is wrong and stays so.
_SAYS = (
    (WRONG, _LIMIT),
    (
        FULL,
        r"accounting.?(/QOS)? policy|submit limit|(max|grp)\w*(submit|jobs)|job limit"
        r"|temporarily|only \d+ (active )?jobs are|max_(u_)?jobs|too many jobs"
        r"|queue (is )?full|submissions disabled|partition not available",
    ),
    (
        AWAY,
        r"(unable to|can't|(can|could) ?not) (contact|send|establish|connect|get conn)"
        r"|connect\w* (fail|re|time|cl)|database|I/O error"
        r"|timed? ?out|did not answer|no response|not respond|unexpected message|busy"
        r"|got (send|select|read) error|commlib error|message (receive|send)|zero bytes"
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
    "--time": "time|wall",
    "--mem": "mem",
    "--gpu": r"gres|generic resource|resource \W?gpu",
    "--num_threads": "cpu|processors|slots|parallel environment",
}
# The environment of a job in which we run is not that of the job that we submit.
_OF_A_JOB = re.compile(
    r"(SLURM|SLURMD|SBATCH|SALLOC|SRUN|SGE|PMI|PMI2|PMIX|PRTE|OMPI|MPI|MPIEXEC|MPIRUN"
    r"|HYDRA|MV2|PALS|ALPS|FLUX|PBS|LSB|TORCHELASTIC)_\w+|PMI_\w*|LS_JOBPID"
    r"|JOB_(ID|NAME|SCRIPT)|NSLOTS|NHOSTS|NQUEUES|QUEUE|PE|PE_HOSTFILE|RESTARTED"
    r"|ENVIRONMENT|REQNAME|REQUEST|TASK_ID"
    r"|((LOCAL|GROUP|ROLE)_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)"
)
_JOB_IDS = ("SLURM_JOB_ID", "JOB_ID", "PBS_JOBID", "LSB_JOBID")
_GPUS_OF_A_JOB = re.compile("(CUDA|ROCR|NVIDIA|HIP)_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL")
# These say where the scheduler is and what a user asks of it.
_OF_A_SITE = re.compile(
    r"SLURM_(CONF\w*|CLUSTERS|JWT|TIME_FORMAT|EXIT_\w+|DEBUG_FLAGS)"
    r"|SBATCH_(?!ARRAY_INX|WAIT$|CPU_BIND|MEM_BIND)\w+"
    r"|SGE_(ROOT|CELL|CLUSTER_NAME|QMASTER_PORT|EXECD_PORT|LONG_\w+|SINGLE_LINE|ND)"
)


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
        """Return whether a job with these ("" where unknown) is ours, or may be.

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


@dataclass(frozen=True)
class QueueRow:
    """One task as the scheduler lists it; "" where it does not say.

    Attributes:
        job: the id of its job.
        token: what the job carries in a comment.
        script: that the job runs.
        task: its number; "1" of a job that is no array.
        id: the task's own.
        word: the scheduler's name for its state.
        active: it runs or may still run.
        waits: why it does not run yet, "" if it does or nobody knows.
        stuck: it may never start.
    """

    job: str
    token: str
    script: str
    task: str = "1"
    id: str = ""
    word: str = ""
    active: bool = True
    waits: str = ""
    stuck: bool = False


class Scheduler:
    """What a launcher asks of a scheduler; what differs between them is left open.

    A job's id is the scheduler's own, in Slurm with ``;cluster`` behind it where one of
    several clusters was chosen.

    Args:
        line: the call that submits, as the conf file has it.
    """

    name: str
    default_conf: str
    builtin: str  # the text of a conf file
    programs: tuple[str, ...]  # that it is asked with, the one that lists jobs first
    task: str  # the variable with a task's number
    id: str  # a line with the id of a job that was submitted
    unknown: str  # what is said of a job that is not there

    def __init__(self, line: Sequence[str] = ()) -> None:
        self._line = list(line)

    def submit_line(self, submission: Submission, token: str) -> list[str]:
        """The call that submits; what we add stands behind the conf file's words."""
        raise NotImplementedError

    def rows(self, job: str = "") -> list[QueueRow]:
        """The tasks of a job, or those of all jobs.

        Raises:
            Unreachable: it does not answer.
        """
        raise NotImplementedError

    def cancel_line(self, job: str) -> list[str]:
        """The call that cancels."""
        raise NotImplementedError

    def post_mortem(self, job: str) -> str:
        """What accounting, if there is any, says of a job that has gone."""
        raise NotImplementedError

    def job_of(self, output: str) -> str:
        """Return the id in what a submission printed, behind a site's messages.

        Raises:
            TopDownError: E_CLUSTER_SUBMIT (76).
        """
        ids = re.findall(self.id, output, re.MULTILINE)
        if not ids:
            what = f"{self.name} printed no job id: {output.strip()!r}"
            do = f"see '{self.programs[0]}'"
            raise TopDownError("E_CLUSTER_SUBMIT", what, do, CLUSTER)
        return str(ids[-1])

    def tasks(self, job: str, signs: Signs) -> dict[str, QueueRow]:
        """Return those that are still known; none if the id is another's by now."""
        rows = self.rows(job)
        return {row.task: row for row in rows if signs.fit(row.token, row.script)}

    def find(self, signs: Signs) -> str:
        """Return the id of the job with these signs, "" if there is none.

        Where a site has rewritten the token, one that runs the script and lives.
        """
        rows = self.rows()
        ours = [row.job for row in rows if signs.token in row.token]
        ours += [r.job for r in rows if r.script == signs.script and r.active]
        return ours[0] if ours else ""

    def cancel(self, job: str) -> str:
        """Cancel a job.

        Returns:
            "" or, after a few attempts, what is said instead.
        """
        message = ""
        for pause in (0.0, 1.0, 2.0, 4.0):
            time.sleep(pause)
            status, out, err = _process.capture(self.cancel_line(job))
            message = " ".join((err or out).split()) or f"status {status}"
            if status == 0 or re.search(self.unknown, message, re.IGNORECASE):
                return ""
            if kind_of(message) == WRONG:
                break
        return message

    def ask(self, line: Sequence[str]) -> str:
        """Return what a program prints; nothing if it does not know the job.

        Raises:
            Unreachable: it does not answer.
        """
        status, out, err = _process.capture(line)
        if status != 0:
            if re.search(self.unknown, out + err, re.IGNORECASE):
                return ""
            raise Unreachable(" ".join(err.split()) or f"{line[0]} status {status}")
        return out


def kind_of(message: str) -> str:
    """Return what a refusal means: WRONG, AWAY, FULL or UNKNOWN.

    >>> kind_of("sbatch: error: invalid partition specified: gpu")
    'wrong'
    >>> kind_of("Batch job submission failed: Socket timed out on send/recv operation")
    'away'
    """
    for kind, words in _SAYS:
        if re.search(words, message, re.IGNORECASE):
            return kind
    return UNKNOWN


def option_of(message: str) -> str:
    """Return the option of ours that a refusal is about, "" if that cannot be told."""
    limit = re.search(_LIMIT, message)
    for option, words in _OPTIONS.items():
        if re.search(words, limit[0] if limit else message, re.IGNORECASE):
            return option
    return ""


def without_job(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what a job that we run in has put there."""
    inside = [environ[name] for name in _JOB_IDS if environ.get(name)]
    numbers = {number for job in inside for number in re.findall(r"^\d+", job)}

    def is_of_the_job(name: str, value: str) -> bool:
        if _OF_A_JOB.fullmatch(name):
            return not _OF_A_SITE.fullmatch(name)
        if name in ("TMPDIR", "TMP", "TEMP"):  # it ends with the job, if it is its own
            return not numbers.isdisjoint(re.findall(r"\d+", value))
        return bool(inside and _GPUS_OF_A_JOB.fullmatch(name))

    return {k: v for k, v in environ.items() if not is_of_the_job(k, v)}
