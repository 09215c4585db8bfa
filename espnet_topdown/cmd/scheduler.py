"""What a scheduler has to be able to do for us: Slurm and Grid Engine each do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from espnet_topdown.cmd.conf import Conf
from espnet_topdown.cmd.submission import Submission


@dataclass(frozen=True)
class State:
    """What the scheduler says of one task.

    Attributes:
        word: its own name for the state.
        active: it runs or may still run.
        stuck: why it may never start, "" if it may.
    """

    word: str
    active: bool
    stuck: str = ""


class Unreachable(Exception):
    """The scheduler does not answer now."""


class Scheduler(Protocol):
    """What differs between schedulers."""

    name: str
    default_conf: str
    builtin: str

    def submit_line(
        self, conf: Conf, submission: Submission, token: str
    ) -> list[str]: ...

    def job_of(self, output: str) -> str: ...

    def states(self, job: str, token: str) -> dict[str, State]: ...

    def find(self, token: str) -> str: ...

    def cancel(self, job: str) -> None: ...

    def post_mortem(self, job: str) -> str: ...
