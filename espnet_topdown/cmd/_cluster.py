"""Submit, wait, report: what the launchers of all schedulers have in common.

An exit-status file for each task is the only proof of success. The scheduler is asked
rarely, and only to learn what no file can tell: that a job was cancelled, lost or will
never start. A scheduler that does not answer is waited for.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence

from espnet_topdown.cmd import _process
from espnet_topdown.cmd._conf import Conf
from espnet_topdown.cmd._scheduler import (
    AWAY,
    FULL,
    TOKEN,
    WRONG,
    QueueRow,
    Scheduler,
    Signs,
    Unreachable,
    kind_of,
    option_of,
    without_job,
)
from espnet_topdown.cmd._submission import Submission, read_open_job
from espnet_topdown.cmd._task import SAY_SECONDS, Task, report, say
from espnet_topdown.cmd.local import Request
from espnet_topdown.errors import CLUSTER, RETRY, TopDownError, warn

GRACE_SECONDS = float(os.environ.get("TOPDOWN_CLUSTER_GRACE") or 10)
ASK_SECONDS = float(os.environ.get("TOPDOWN_CLUSTER_ASK") or 30)  # at most, between two
AWAY_SECONDS = float(os.environ.get("TOPDOWN_CLUSTER_AWAY") or 600)  # to submit
_UNKNOWN_SECONDS = min(20.0, AWAY_SECONDS)  # for what is neither wrong nor known
_PATIENCE = {WRONG: 0.0, AWAY: AWAY_SECONDS, FULL: float("inf")}
_LONGEST_PAUSE = 300.0
_SAY_AT_LEAST = 3600.0  # of a job in the queue
_FIRST_ASK = 5.0
_REMEDY = {
    "OUT_OF_MEMORY": "ask for more --mem, or lower batch_bins",
    "TIMEOUT": "ask for more --time",
    "DEADLINE": "ask for less --time",
}


def scheduler_for(given: Mapping[str, str], kind: type[Scheduler]) -> Scheduler:
    """Return a scheduler for jobs with these options, as the conf file translates them.

    Raises:
        TopDownError: E_CLUSTER_CONF, E_CLUSTER_OPTION (78), E_MISSING (66);
            E_CLUSTER_CMD (76) where its programs are not.
    """
    path = given.get("config", "")
    if not path and os.path.isfile(kind.default_conf):
        path = kind.default_conf
    ours = ("config", "max_jobs_run")
    asked = {k: v for k, v in given.items() if k not in ours}
    line = Conf(path, kind.builtin).line(asked)
    for program in (line[0], *kind.programs):
        if shutil.which(program) is None:
            what = f"there is no '{program}' here, so no {kind.name} to submit to"
            do = "go to a machine that submits jobs, or use cmd_backend=local"
            raise TopDownError("E_CLUSTER_CMD", what, do, CLUSTER)
    return kind([str(shutil.which(line[0])), *line[1:]])


def run(request: Request, kind: type[Scheduler]) -> int:
    """Run one launcher call on a cluster.

    Returns:
        The launcher's exit status.

    Raises:
        TopDownError: E_CLUSTER_* ; KeyboardInterrupt after INT, SystemExit after TERM
            (both cancel the job) and HUP (leaves it; the same call attaches again).
    """
    _hang_up_with_parent()
    scheduler = scheduler_for(request.options, kind)
    submission = Submission(request)
    with _process.StopRequests() as stop, submission.lock(GRACE_SECONDS):
        job = ClusterJob(submission, scheduler, stop)
        if not job.attach():
            stop.check()
            job.submit()
        job.wait()
    tasks = list(submission.tasks.values())
    return report(kind.name, request.log, tasks, job.id, job.what_was_lost())


class ClusterJob:
    """The job of one launcher call, from its submission to its end."""

    def __init__(
        self, submission: Submission, scheduler: Scheduler, stop: _process.StopRequests
    ) -> None:
        self.submission = submission
        self.scheduler = scheduler
        self.stop = stop
        self.id = self.token = ""
        self.lost: dict[str, str] = {}  # task -> what the scheduler last said of it
        self._messages: dict[str, tuple[str, float, float]] = {}  # text, time, pause
        self._gone_since = 0.0
        self._waits = ""  # as noted

    @property
    def signs(self) -> Signs:
        """By what the scheduler's job is known as this one."""
        return Signs(self.token, str(self.submission.script))

    def _note(self, waits: str = "") -> None:
        self.submission.write_job(self.scheduler.name, self.token, self.id, waits)

    def attach(self) -> bool:
        """Take over the job of an earlier call, unless it is over and has failed.

        Returns:
            Whether there is one.

        Raises:
            TopDownError: E_CLUSTER_UNREACHABLE (76), where it cannot be known whether
                there is one: submitting again could run it twice.
        """
        noted, log = read_open_job(self.submission.folder), self.submission.request.log
        if noted is None:
            return False
        self.id, self.token = noted.job, noted.token
        if self.submission.read_statuses():
            try:
                self.id = self.id or self.scheduler.find(self.signs)
                rows = self.scheduler.tasks(self.id, self.signs) if self.id else {}
            except Unreachable as e:
                what = f"{log} may be running; {self.scheduler.name} says: {e}"
                do = "run the same command again when the scheduler answers"
                raise TopDownError("E_CLUSTER_UNREACHABLE", what, do, CLUSTER) from e
            running = any(map(self.submission.is_running, self.submission.tasks))
            if running and not self.id:
                what = f"a job of an earlier call is writing {log}"
                do = "wait until it has ended, or cancel it"
                raise TopDownError("E_LOCKED", what, do, RETRY)
            if running or any(row.active for row in rows.values()):
                self._note()
                say(self.scheduler.name, f"attached to job {self.id} again")
                return True
            self.submission.read_statuses()  # it may have ended well since we looked
        return all(task.status == 0 for task in self.submission.tasks.values())

    def submit(self) -> None:
        """Hand the job over.

        A scheduler that is away or has no room now is waited for, with growing pauses;
        the token shows whether it had taken the job before its answer was lost.

        Raises:
            TopDownError: E_CLUSTER_SUBMIT (76), if the request is wrong or was tried
                for long enough.
        """
        self.id, self.token = "", TOKEN + secrets.token_hex(8)
        self.submission.prepare(self.scheduler.task)
        self._note()
        line = self.scheduler.submit_line(self.submission, self.token)
        begun, pause = time.monotonic(), 1.0
        while not self.id and self.submission.read_statuses():
            status, out, err = _process.capture(line, environ=without_job(os.environ))
            if status == 0:
                self.id = self.scheduler.job_of(out)
                break
            message = " ".join((err or out).split()) or f"status {status}"
            kind = kind_of(message)
            if time.monotonic() - begun >= _PATIENCE.get(kind, _UNKNOWN_SECONDS):
                self.submission.remove_job()
                raise self._refused(kind, os.path.basename(line[0]), message)
            waits = f"not submitted yet: {message}"
            code = "W_CLUSTER_UNREACHABLE" if kind == AWAY else "W_CLUSTER_REFUSED"
            warn(code, f"{self.scheduler.name}: {waits}; again in {pause:.0f} s")
            self._note(waits)
            self._look_for_it(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._note()

    def _refused(self, kind: str, program: str, message: str) -> TopDownError:
        option = option_of(message) or "the launcher's options"
        conf = self.submission.request.options.get("config") or "the conf file"
        do = f"correct {option}, or the lines of {conf}"
        if kind == AWAY:
            do = "run the same command again when the scheduler answers"
        what = f"{program} refused {self.submission.request.log}: {message}"
        return TopDownError("E_CLUSTER_SUBMIT", what, do, CLUSTER)

    def _look_for_it(self, pause: float) -> None:
        """Whether the scheduler has taken the job after all, asked after the pause."""
        again = time.monotonic() + pause
        while time.monotonic() < again:
            self.stop.check()
            time.sleep(min(0.2, pause))
        with contextlib.suppress(Unreachable):
            self.id = self.scheduler.find(self.signs)

    def wait(self) -> None:
        """Return when every task has ended, one way or another."""
        every = min(_FIRST_ASK, ASK_SECONDS)
        begun = asked = time.monotonic()
        try:
            while set(self.submission.read_statuses()) - set(self.lost):
                self.stop.check()
                # a hundredth of the time it took so far, once it takes seconds
                time.sleep(min(max(0.1, (time.monotonic() - begun) / 100), 2.0))
                due = GRACE_SECONDS if self._gone_since else every
                if time.monotonic() - asked >= due:
                    every = min(every * 1.3, ASK_SECONDS)
                    self._ask()
                    asked = time.monotonic()
        except (KeyboardInterrupt, SystemExit):
            if self.stop.hung_up:
                what = f"job {self.id} runs on; the same command attaches to it again"
                say(self.scheduler.name, what)
            elif why := self.scheduler.cancel(self.id):
                what = f"{self.scheduler.name}: job {self.id} is not cancelled: {why}"
                warn("W_CLUSTER_CANCEL", f"{what}; the same command attaches to it")
            else:
                self.submission.remove_job()
            raise
        self.submission.remove_job()

    def _ask(self) -> None:
        """Learn of tasks that can write no file any more."""
        try:
            rows = self.scheduler.tasks(self.id, self.signs)
        except Unreachable as e:
            self._gone_since = 0.0
            self._warn("W_CLUSTER_UNREACHABLE", f"no answer, waiting: {e}")
            return
        self._messages.pop("W_CLUSTER_UNREACHABLE", None)
        self._tell_queue([row for row in rows.values() if row.active])
        missing = self._missing(rows)
        if not missing:
            self._gone_since = 0.0
        elif not self._gone_since:
            self._gone_since = time.monotonic()  # its file may be on its way
        elif time.monotonic() - self._gone_since >= GRACE_SECONDS:
            self.lost.update(missing)

    def _tell_queue(self, active: Sequence[QueueRow]) -> None:
        """Say what the job waits for, if no task runs; warn of what may never start."""
        reasons = [row.waits for row in active]
        waits = reasons[0] if reasons and all(reasons) else ""
        if waits != self._waits:
            self._waits = waits
            self._note(waits)
        about = f"job {self.id} ({self.submission.request.log})"
        stuck = next((row.waits for row in active if row.stuck), "")
        if stuck:
            self._warn("W_CLUSTER_STUCK", f"{about} may never start: {stuck}")
        elif waits and self._due("queue", waits):
            say(self.scheduler.name, f"{about} waits in the queue: {waits}")

    def _missing(self, rows: Mapping[str, QueueRow]) -> dict[str, str]:
        """Return the tasks without a file that the scheduler runs no more.

        One that it does not know, but that lives, runs on.
        """
        missing = {}
        for number in self.submission.read_statuses():
            if number not in rows and self.submission.is_running(number):
                log = self.submission.tasks[number].log
                what = f"job {self.id} is unknown, but {log} is being written"
                self._warn("W_CLUSTER_UNKNOWN_JOB", f"{what}; waiting for its end")
            elif number not in rows or not rows[number].active:
                missing[number] = rows[number].word if number in rows else ""
        return missing

    def _due(self, topic: str, text: str) -> bool:
        """Return whether to say a text: when it is new, then with growing pauses."""
        now = time.monotonic()
        old, last, pause = self._messages.get(topic, ("", 0.0, 0.0))
        if text == old and now - last < pause:
            return False
        pause = min(2 * pause, _SAY_AT_LEAST) if text == old else SAY_SECONDS
        self._messages[topic] = (text, now, pause)
        return True

    def _warn(self, code: str, what: str) -> None:
        if self._due(code, what):
            warn(code, f"{self.scheduler.name}: {what}")

    def what_was_lost(self) -> Iterator[tuple[Task, str]]:
        """Tasks without an exit status, each with an error and the script's words."""
        for number, word in self.lost.items():
            task = self.submission.tasks[number]
            if task.status is None:
                word = word or self.scheduler.post_mortem(self.id)
                how = f"the scheduler says {word}" if word else "the scheduler lost it"
                what = f"{self.scheduler.name} job {self.id}: no exit status; {how}"
                do = f"{_REMEDY.get(word, 'see the log')}; the same command continues"
                lines = [str(TopDownError("E_CLUSTER_JOB", what, do))]
                lines += [f"  {line}" for line in self.submission.job_output()]
                yield task, "\n".join(lines)


def _hang_up_with_parent() -> None:
    """Let the death of the search hang up on us (HUP) instead of ending us (TERM).

    Jobs on a cluster outlive a search that was killed; started again it finds them.
    Under nohup HUP is ignored. A launcher that a search started heeds it all the same:
    it has a session of its own, which no terminal hangs up on.
    """
    if os.getsid(0) == os.getpid():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    _process.die_with_parent(signal.SIGHUP)
