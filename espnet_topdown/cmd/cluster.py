"""Submit, wait, report: what the launchers of all schedulers have in common.

An exit-status file for each task is the only proof of success. The scheduler is asked
rarely, and only to learn what no file can tell: that a job was cancelled, lost or will
never start. A scheduler that does not answer is waited for.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Mapping

from espnet_topdown.cmd import process
from espnet_topdown.cmd.conf import read_conf
from espnet_topdown.cmd.local import Request
from espnet_topdown.cmd.scheduler import (
    AWAY,
    FULL,
    TOKEN,
    WRONG,
    Scheduler,
    Signs,
    State,
    Unreachable,
    kind_of,
    option_of,
    without_job,
)
from espnet_topdown.cmd.submission import Submission
from espnet_topdown.cmd.task import SAY_SECONDS
from espnet_topdown.errors import CLUSTER, RETRY, TopDownError, warn

GRACE_SECONDS = float(os.environ.get("TOPDOWN_CLUSTER_GRACE") or 10)
ASK_SECONDS = float(os.environ.get("TOPDOWN_CLUSTER_ASK") or 30)  # at most, between two
AWAY_SECONDS = float(os.environ.get("TOPDOWN_CLUSTER_AWAY") or 600)  # to submit
_UNKNOWN_SECONDS = min(20.0, AWAY_SECONDS)  # for what is neither wrong nor known
_LONGEST_PAUSE = 300.0
_SAY_AT_LEAST = 3600.0  # of a job in the queue
_FIRST_ASK = 5.0
_TAIL_LINES = 10
_TAILS = 3
_REMEDY = {
    "OUT_OF_MEMORY": "ask for more --mem, or lower batch_bins",
    "TIMEOUT": "ask for more --time",
    "DEADLINE": "ask for less --time",
}


def scheduler_for(given: Mapping[str, str], kind: type[Scheduler]) -> Scheduler:
    """A scheduler for jobs with these options, as the conf file translates them.

    Raises:
        TopDownError: E_CLUSTER_CONF, E_CLUSTER_OPTION (78), E_MISSING (66);
            E_CLUSTER_CMD (76) where its programs are not.
    """
    path = given.get("config", "")
    if not path and os.path.isfile(kind.default_conf):
        path = kind.default_conf
    conf = read_conf(path, kind.builtin)
    ours = ("config", "max_jobs_run")
    line = conf.line({k: v for k, v in given.items() if k not in ours})
    for program in (line[0], *kind.programs):
        if shutil.which(program) is None:
            what = f"there is no '{program}' here, so no {kind.name} to submit to"
            do = "go to a machine that submits jobs, or use cmd_backend=local"
            raise TopDownError("E_CLUSTER_CMD", what, do, CLUSTER)
    return kind([str(shutil.which(line[0])), *line[1:]])


def run(request: Request, kind: type[Scheduler]) -> int:
    """Run one launcher call on a cluster; returns the launcher's exit status.

    Raises:
        TopDownError: E_CLUSTER_* ; KeyboardInterrupt after INT, SystemExit after TERM
            (both cancel the job) and HUP (leaves it; the same call attaches again).
    """
    _hang_up_with_parent()
    scheduler = scheduler_for(request.given, kind)
    submission = Submission(request)
    with process.StopRequests() as stop, submission.lock(GRACE_SECONDS):
        wait = Wait(submission, scheduler, stop)
        job = attach(submission, scheduler)
        if not job:
            stop.check()
            job = submit(submission, scheduler, stop)
        wait.follow(*job)
    return report(wait)


def submit(
    submission: Submission, scheduler: Scheduler, stop: process.StopRequests
) -> tuple[str, str]:
    """Hand the job over; returns its id and token.

    A scheduler that is away or has no room now is waited for, with growing pauses; the
    token shows whether it had taken the job before its answer was lost.
    """
    token = TOKEN + secrets.token_hex(8)
    submission.prepare(scheduler.task)
    submission.note(scheduler.name, token)
    line = scheduler.submit_line(submission, token)
    begun, pause = time.monotonic(), 1.0
    while True:
        status, out, err = process.capture(line, environ=without_job(os.environ))
        if status == 0:
            job = scheduler.job_of(out)
            break
        said = " ".join((err or out).split()) or f"status {status}"
        _give_up(submission, line[0], said, time.monotonic() - begun)
        waits = f"not submitted yet: {said}"
        why = "W_CLUSTER_UNREACHABLE" if kind_of(said) == AWAY else "W_CLUSTER_REFUSED"
        warn(why, f"{scheduler.name}: {waits}; again in {pause:.0f} s")
        submission.note(scheduler.name, token, waits=waits)
        job = _taken(scheduler, Signs(token, str(submission.script)), stop, pause)
        if job:
            break
        pause = min(2 * pause, _LONGEST_PAUSE)
    submission.note(scheduler.name, token, job)
    return job, token


def _give_up(submission: Submission, program: str, said: str, seconds: float) -> None:
    """E_CLUSTER_SUBMIT (76), if the request is wrong or was tried for long enough."""
    kind = kind_of(said)
    patience = {WRONG: 0.0, AWAY: AWAY_SECONDS, FULL: float("inf")}
    if seconds < patience.get(kind, _UNKNOWN_SECONDS):
        return
    submission.forget()
    option = option_of(said) or "the launcher's options"
    conf = submission.request.given.get("config") or "the conf file"
    do = f"correct {option}, or the lines of {conf}"
    if kind == AWAY:
        do = "run the same command again when the scheduler answers"
    what = f"{os.path.basename(program)} refused {submission.request.log}: {said}"
    raise TopDownError("E_CLUSTER_SUBMIT", what, do, CLUSTER)


def _taken(
    scheduler: Scheduler, signs: Signs, stop: process.StopRequests, pause: float
) -> str:
    """The job with these signs, looked for after the pause; "" if there is none."""
    again = time.monotonic() + pause
    while time.monotonic() < again:
        stop.check()
        time.sleep(min(0.2, pause))
    try:
        return scheduler.find(signs)
    except Unreachable:
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
    signs = Signs(token, str(submission.script))
    if submission.ended():
        return (job, token) if not any(submission.statuses().values()) else None
    try:
        job = job or scheduler.find(signs)
        alive = job and any(s.active for s in scheduler.states(job, signs).values())
    except Unreachable as e:
        what = f"{submission.request.log} may be running; {scheduler.name} says: {e}"
        do = "run the same command again when the scheduler answers"
        raise TopDownError("E_CLUSTER_UNREACHABLE", what, do, CLUSTER) from e
    running = any(map(submission.is_running, submission.tasks))
    if running and not job:
        what = f"a job of an earlier call is writing {submission.request.log}"
        do = "wait until it has ended, or cancel it"
        raise TopDownError("E_LOCKED", what, do, RETRY)
    if not alive and not running:
        # it may have ended well since we looked
        well = submission.ended() and not any(submission.statuses().values())
        return (job, token) if well else None
    submission.note(scheduler.name, token, job)
    print(f"{scheduler.name}: attached to job {job} again", file=sys.stderr)
    return job, token


def cancel(scheduler: Scheduler, job: str) -> str:
    """Cancel a job; "" or, after a few attempts, what the scheduler says instead."""
    said = ""
    for pause in (0.0, 1.0, 2.0, 4.0):
        time.sleep(pause)
        status, out, err = process.capture(scheduler.cancel_line(job))
        said = " ".join((err or out).split()) or f"status {status}"
        if status == 0 or scheduler.has_ended(said):
            return ""
        if kind_of(said) == WRONG:
            break
    return said


class Wait:
    """Waits for one job's tasks, by their files and by asking rarely."""

    def __init__(
        self, submission: Submission, scheduler: Scheduler, stop: process.StopRequests
    ) -> None:
        self.submission = submission
        self.scheduler = scheduler
        self.stop = stop
        self.job = self.token = ""
        self.status: dict[str, int] = {}
        self.lost: dict[str, str] = {}  # task -> what the scheduler last said of it
        self._said: dict[str, tuple[str, float, float]] = {}  # text, time, pause
        self._gone_since = 0.0
        self._waits = ""  # as noted

    def follow(self, job: str, token: str) -> None:
        """Return when every task has ended, one way or another."""
        self.job, self.token = job, token
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
                    self._ask()
                    asked = time.monotonic()
        except SystemExit as e:
            if e.code == 128 + signal.SIGHUP:
                self._tell(f"job {job} runs on; the same command attaches to it again")
            else:
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
        said = cancel(self.scheduler, self.job)
        if said:
            what = f"{self.scheduler.name}: job {self.job} is not cancelled: {said}"
            warn("W_CLUSTER_CANCEL", f"{what}; the same command attaches to it again")
        else:
            self.submission.forget()

    def _ask(self) -> None:
        """Learn of tasks that can write no file any more."""
        signs = Signs(self.token, str(self.submission.script))
        try:
            states = self.scheduler.states(self.job, signs)
        except Unreachable as e:
            self._gone_since = 0.0
            self._warn("W_CLUSTER_UNREACHABLE", f"no answer, waiting: {e}")
            return
        self._said.pop("W_CLUSTER_UNREACHABLE", None)
        self._tell_queue(states)
        missing = self._missing(states)
        if not missing:
            self._gone_since = 0.0
        elif not self._gone_since:
            self._gone_since = time.monotonic()  # its file may be on its way
        elif time.monotonic() - self._gone_since >= GRACE_SECONDS:
            self.lost.update(missing)

    def _tell_queue(self, states: Mapping[str, State]) -> None:
        """Say what the job waits for, if no task runs; warn of what may never start."""
        active = [s for s in states.values() if s.active]
        waits = next((s.waits for s in active if s.waits), "")
        if any(not s.waits for s in active):
            waits = ""
        about = f"job {self.job} ({self.submission.request.log})"
        stuck = next((s.waits for s in active if s.stuck), "")
        if waits != self._waits:
            self._waits = waits
            self.submission.note(self.scheduler.name, self.token, self.job, waits)
        if stuck:
            self._warn("W_CLUSTER_STUCK", f"{about} may never start: {stuck}")
        elif waits and self._due("queue", waits):
            self._tell(f"{about} waits in the queue: {waits}")

    def _missing(self, states: Mapping[str, State]) -> dict[str, str]:
        """Tasks without a file that the scheduler runs no more.

        One that it does not know, but whose node lives, runs on.
        """
        done = self.submission.statuses()
        missing = {}
        for number, task in self.submission.tasks.items():
            state = states.get(number)
            if number in done or (state and state.active):
                continue
            if state is None and self.submission.is_running(number):
                what = f"job {self.job} is unknown, but {task.log} is being written"
                self._warn("W_CLUSTER_UNKNOWN_JOB", f"{what}; waiting for its end")
                continue
            missing[number] = state.word if state else ""
        return missing

    def _due(self, topic: str, text: str) -> bool:
        """Whether to say a text: when it is new, then with growing pauses."""
        now = time.monotonic()
        old, said_at, pause = self._said.get(topic, ("", 0.0, 0.0))
        if text == old and now - said_at < pause:
            return False
        pause = min(2 * pause, _SAY_AT_LEAST) if text == old else SAY_SECONDS
        self._said[topic] = (text, now, pause)
        return True

    def _warn(self, code: str, what: str) -> None:
        if self._due(code, what):
            warn(code, f"{self.scheduler.name}: {what}")

    def _tell(self, what: str) -> None:
        print(f"{self.scheduler.name}: {what}", file=sys.stderr, flush=True)


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
        _tell_failure(wait, number)
    status = wait.status.get(failed[0], 1)
    return status if total == 1 and status < 126 and status != 100 else 1


def _tell_failure(wait: Wait, number: str) -> None:
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
