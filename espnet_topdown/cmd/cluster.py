"""Submit, wait, report: what the launchers of all schedulers have in common.

An exit-status file for each task is the only proof of success. The scheduler is asked
rarely, and only to learn what no file can tell: that a job was cancelled, lost or will
never start. A scheduler that does not answer is waited for.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Mapping

from espnet_topdown.cmd import process
from espnet_topdown.cmd.conf import Conf, read_conf
from espnet_topdown.cmd.local import Request
from espnet_topdown.cmd.scheduler import Scheduler, State, Unreachable
from espnet_topdown.cmd.submission import Submission
from espnet_topdown.errors import CLUSTER, TopDownError, warn

GRACE_SECONDS = float(os.environ.get("TOPDOWN_CLUSTER_GRACE") or 10)
ASK_SECONDS = float(os.environ.get("TOPDOWN_CLUSTER_ASK") or 30)  # at most, between two
AWAY_SECONDS = float(os.environ.get("TOPDOWN_CLUSTER_AWAY") or 600)  # to submit
# What sbatch and qsub say when nobody answers; anything else is a refusal.
_AWAY = re.compile(
    "unable to (contact|send)|can't connect|connection refused|connect failure|"
    "timed out|did not answer|got (send|select|read) error|commlib error",
    re.IGNORECASE,
)
_FIRST_ASK = 5.0
_TAIL_LINES = 10
_TAILS = 3
_REMEDY = {
    "OUT_OF_MEMORY": "ask for more --mem, or lower batch_bins",
    "TIMEOUT": "ask for more --time",
    "DEADLINE": "ask for less --time",
}


def run(request: Request, scheduler: Scheduler) -> int:
    """Run one launcher call on a cluster; returns the launcher's exit status.

    Raises:
        TopDownError: E_CLUSTER_* ; KeyboardInterrupt after INT, SystemExit after TERM
            (both cancel the job) and HUP (leaves it; the same call attaches again).
    """
    _hang_up_with_parent()
    path = request.given.get("config", "")
    if not path and os.path.isfile(scheduler.default_conf):
        path = scheduler.default_conf
    conf = read_conf(path, scheduler.builtin)
    submission = Submission(request)
    with process.StopRequests() as stop, submission.locked(GRACE_SECONDS):
        wait = Wait(submission, scheduler, stop)
        job = attach(submission, scheduler)
        if not job:
            stop.check()
            job = submit(conf, submission, scheduler, stop)
        wait.follow(*job)
    return report(wait)


def submit(
    conf: Conf,
    submission: Submission,
    scheduler: Scheduler,
    stop: process.StopRequests,
) -> tuple[str, str]:
    """Hand the job over; returns its id and token.

    A scheduler that is away is waited for; the token shows whether it had taken the
    job before its answer was lost.
    """
    token = f"topdown-{secrets.token_hex(8)}"
    line = scheduler.submit_line(conf, submission, token)
    submission.prepare()
    submission.note(token)
    deadline = time.monotonic() + AWAY_SECONDS
    warned, job = False, ""
    while not job:
        status, out, err = process.capture(line)
        if status == 0:
            job = scheduler.job_of(out)
            break
        said = " ".join((err or out).split()) or f"status {status}"
        if not _AWAY.search(said) or time.monotonic() > deadline:
            submission.forget()
            what = f"{line[0]} refused {submission.request.log}: {said}"
            do = f"correct the options, or their lines in {conf.name}"
            raise TopDownError("E_CLUSTER_SUBMIT", what, do, CLUSTER)
        if not warned:
            what = f"{scheduler.name}: not submitted yet, waiting: {said}"
            warn("W_CLUSTER_UNREACHABLE", what)
            warned = True
        job = _taken(scheduler, token, stop, deadline)
    submission.note(token, job)
    return job, token


def _taken(
    scheduler: Scheduler, token: str, stop: process.StopRequests, deadline: float
) -> str:
    """The job with this token, once the scheduler answers; "" if it has none."""
    while time.monotonic() < deadline:
        stop.check()
        time.sleep(1.0)
        try:
            return scheduler.find(token)
        except Unreachable:
            continue
    return ""


def attach(submission: Submission, scheduler: Scheduler) -> tuple[str, str] | None:
    """The job of an earlier, interrupted call, unless it is over and has failed.

    Raises:
        TopDownError: E_CLUSTER_UNREACHABLE (76), where it cannot be known whether
            there is one: submitting again could run it twice.
    """
    noted = submission.noted()
    if noted is None:
        return None
    token, job = noted
    if submission.ended():
        return (job, token) if not any(submission.statuses().values()) else None
    try:
        job = job or scheduler.find(token)
        alive = job and any(s.active for s in scheduler.states(job, token).values())
    except Unreachable as e:
        what = f"{submission.request.log} may be running; {scheduler.name} says: {e}"
        do = "run the same command again when the scheduler answers"
        raise TopDownError("E_CLUSTER_UNREACHABLE", what, do, CLUSTER) from e
    if not alive:  # it may have ended well since we looked
        well = submission.ended() and not any(submission.statuses().values())
        return (job, token) if well else None
    submission.note(token, job)
    print(f"{scheduler.name}: attached to job {job} again", file=sys.stderr)
    return job, token


class Wait:
    """Waits for one job's tasks, by their files and by asking rarely."""

    def __init__(
        self, submission: Submission, scheduler: Scheduler, stop: process.StopRequests
    ) -> None:
        self.submission = submission
        self.scheduler = scheduler
        self.stop = stop
        self.job = ""
        self.status: dict[str, int] = {}
        self.lost: dict[str, str] = {}  # task -> what the scheduler last said of it
        self._warned: set[str] = set()
        self._gone_since = 0.0

    def follow(self, job: str, token: str) -> None:
        """Return when every task has ended, one way or another."""
        self.job = job
        every = min(_FIRST_ASK, ASK_SECONDS)
        begun = asked = time.monotonic()
        try:
            while not self._ended():
                self.stop.check()
                # a hundredth of the time it took so far, once it takes seconds
                time.sleep(min(max(0.1, (time.monotonic() - begun) / 100), 2.0))
                due = GRACE_SECONDS if self._gone_since else every
                if time.monotonic() - asked >= due:
                    every = min(every * 1.3, ASK_SECONDS)
                    self._ask(token)
                    asked = time.monotonic()
        except SystemExit as e:
            if e.code == 128 + signal.SIGHUP:
                print(
                    f"{self.scheduler.name}: job {job} runs on; the same command "
                    "attaches to it again",
                    file=sys.stderr,
                )
                raise
            self._cancel()
            raise
        except KeyboardInterrupt:
            self._cancel()
            raise
        self.submission.forget()

    def _ended(self) -> bool:
        self.status = self.submission.statuses()
        return len({*self.status, *self.lost}) == len(self.submission.tasks)

    def _cancel(self) -> None:
        self.scheduler.cancel(self.job)
        self.submission.forget()

    def _ask(self, token: str) -> None:
        """Learn of tasks that can write no file any more."""
        try:
            states = self.scheduler.states(self.job, token)
        except Unreachable as e:
            self._gone_since = 0.0
            self._warn("W_CLUSTER_UNREACHABLE", f"no answer, waiting: {e}")
            return
        self._warned.discard("W_CLUSTER_UNREACHABLE")
        for state in states.values():
            if state.stuck:
                about = f"job {self.job} ({self.submission.request.log})"
                what = f"{about} may never start: {state.word}, {state.stuck}"
                self._warn("W_CLUSTER_STUCK", what)
        missing = self._missing(states)
        if not missing:
            self._gone_since = 0.0
        elif not self._gone_since:
            self._gone_since = time.monotonic()  # its file may be on its way
        elif time.monotonic() - self._gone_since >= GRACE_SECONDS:
            self.lost.update(missing)

    def _missing(self, states: Mapping[str, State]) -> dict[str, str]:
        """Tasks without a file that the scheduler runs no more."""
        done = self.submission.statuses()
        missing = {}
        for number in self.submission.tasks:
            state = states.get(number)
            if number not in done and not (state and state.active):
                missing[number] = state.word if state else ""
        return missing

    def _warn(self, code: str, what: str) -> None:
        if code not in self._warned:
            self._warned.add(code)
            warn(code, f"{self.scheduler.name}: {what}")


def report(wait: Wait) -> int:
    """Say what failed; returns the launcher's exit status."""
    tasks, name = wait.submission.tasks, wait.scheduler.name
    failed = [n for n in tasks if wait.status.get(n, 1) != 0]
    if not failed:
        return 0
    total, log = len(tasks), wait.submission.request.log
    head = "job failed" if total == 1 else f"{len(failed)} of {total} tasks failed"
    print(f"{name}: {head} (job {wait.job}), log is in {log}", file=sys.stderr)
    for number in failed[:_TAILS]:
        _tell(wait, number)
    status = wait.status.get(failed[0], 1)
    return status if total == 1 and status < 126 and status != 100 else 1


def _tell(wait: Wait, number: str) -> None:
    task = wait.submission.tasks[number]
    if number not in wait.status:
        word = wait.lost.get(number) or wait.scheduler.post_mortem(wait.job)
        how = f"the scheduler says {word}" if word else "the scheduler lost it"
        what = f"{wait.scheduler.name} job {wait.job}: no exit status; {how}"
        do = f"{_REMEDY.get(word, 'see the log')}; the same command continues"
        print(TopDownError("E_CLUSTER_JOB", what, do), file=sys.stderr)
        for line in wait.submission.job_output():
            print(f"  {line}", file=sys.stderr)
    try:
        lines = task.tail(_TAIL_LINES)
    except FileNotFoundError:
        return
    print(f"{wait.scheduler.name}: end of {task.log}:", file=sys.stderr)
    for line in lines:
        print(f"  {line}", file=sys.stderr)


def _hang_up_with_parent() -> None:
    """Let the death of the search hang up on us (HUP) instead of ending us (TERM).

    Jobs on a cluster outlive a search that was killed; started again it finds them.
    Under nohup HUP is ignored. A launcher that a search started heeds it all the same:
    it has a session of its own, which no terminal hangs up on.
    """
    if os.getsid(0) == os.getpid():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, int(signal.SIGHUP))  # PR_SET_PDEATHSIG
