"""Processes that do not outlive us, signals that wait for a safe point, one loop."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FrameType
from typing import Any, Protocol, TypeVar

from espnet_topdown.cmd.python import python_path

GRACE_SECONDS = 5.0  # between TERM and KILL
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_libc = ctypes.CDLL(None)


class Runnable(Protocol):
    """What ``run_all`` runs."""

    process: subprocess.Popen | None

    def start(self) -> None:
        """Begin."""

    def ended(self) -> bool:
        """Return whether it is over, however it went."""


R = TypeVar("R", bound=Runnable)


class StopRequests:
    """Holds back INT, TERM and HUP until the block asks for them.

    Raising at once could lose a process between its start and our note of it.
    Signals that were ignored (``nohup``) stay ignored.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._interruptible = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    @property
    def hung_up(self) -> bool:
        """Whether the terminal went away, which is no wish to end the jobs."""
        return self._received == signal.SIGHUP

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` (INT) or ``SystemExit(128 + n)``, if asked to."""
        if self._received == signal.SIGINT:
            raise KeyboardInterrupt
        if self._received is not None:
            raise SystemExit(128 + self._received)

    def call(self, function: Callable[..., Any], *args: object) -> Any:
        """Return what a function returns; a signal interrupts it as usual."""
        self.check()
        self._interruptible = True
        try:
            return function(*args)
        finally:
            self._interruptible = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        if self._interruptible:
            self._interruptible = False
            self.check()


def die_with_parent(number: int) -> None:
    """Let Linux send us a signal when the thread that has started us ends."""
    _libc.prctl(1, int(number))  # PR_SET_PDEATHSIG


def start(
    args: Sequence[str | bytes],
    death_signal: int,
    environment: Mapping[str, str] | None = None,
    **popen: object,
) -> subprocess.Popen:
    """Start ``args`` as the leader of its own session and process group.

    Args:
        args: the argument list; no shell reads it.
        death_signal: what Linux sends it when the calling thread ends, even by KILL.
        environment: what is added to ours.
        popen: more options of ``subprocess.Popen``.

    Returns:
        The process.
    """
    parent = os.getpid()
    environ = {**os.environ, **(environment or {})}
    if "PYTHONPATH" in environ:
        environ["PYTHONPATH"] = python_path(environ["PYTHONPATH"])

    def in_child() -> None:
        die_with_parent(death_signal)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        args,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=in_child,  # the parent has one thread here
        env=environ,
        **popen,
    )


def run_all(
    items: Iterable[R],
    most: int,
    may_start: Callable[[R], bool] = lambda item: True,
    on_end: Callable[[R], Iterable[R] | None] = lambda item: None,
    on_poll: Callable[[], object] = lambda: None,
    grace: float = GRACE_SECONDS,
    hup: bool = False,
) -> None:
    """Run things side by side; when this returns or raises none of them runs.

    Args:
        items: they are started in this order.
        most: so many at a time.
        may_start: whether there is room for one; asked again until there is.
        on_end: called with each that has ended; what it returns is started next.
        on_poll: called often.
        grace: seconds between the signal that ends them and KILL.
        hup: HUP reaches them as it is and not as TERM.

    Raises:
        KeyboardInterrupt: after INT; SystemExit after TERM and HUP.
    """
    waiting, running = list(items)[::-1], list[R]()
    pause = 0.01
    with StopRequests() as requests:
        try:
            while waiting or running:
                while waiting and len(running) < most and may_start(waiting[-1]):
                    running.append(waiting.pop())
                    running[-1].start()
                    pause = 0.01
                time.sleep(pause)
                pause = min(pause * 1.2, 0.2)
                for item in [item for item in running if item.ended()]:
                    running.remove(item)
                    waiting += [*(requests.call(on_end, item) or ())][::-1]
                requests.call(on_poll)
        finally:
            hung_up = hup and requests.hung_up
            first = signal.SIGHUP if hung_up else signal.SIGTERM
            stop([i.process for i in running if i.process is not None], grace, first)
            for item in running:
                item.ended()


def stop(
    processes: Sequence[subprocess.Popen],
    grace: float = GRACE_SECONDS,
    first: int = signal.SIGTERM,
) -> None:
    """End the processes and all that they started: TERM, ``grace`` seconds, KILL."""
    try:
        for process in processes:
            _signal(process, first)
        _wait(processes, grace)
    finally:
        for process in processes:
            _signal(process, signal.SIGKILL)
        _wait(processes, 1.0)


def _wait(processes: Sequence[subprocess.Popen], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any([_alive(p) for p in processes]) and time.monotonic() < deadline:
        time.sleep(0.02)


def _alive(process: subprocess.Popen) -> bool:
    process.poll()  # a dead leader must not count as a member of its group
    return _signal(process, 0)


def _signal(process: subprocess.Popen, number: int) -> bool:
    """Return whether the group of a process had a member to send the signal to."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def capture(
    line: Sequence[str],
    seconds: float = 120.0,
    environ: Mapping[str, str] | None = None,
) -> tuple[int, str, str]:
    """Return status, output and errors of a short command; 127 if it cannot run.

    A signal to us does not reach it: it is in a session of its own.

    Args:
        line: the command.
        seconds: after which it is ended; 124 then.
        environ: its whole environment, if not ours.
    """
    try:
        done = subprocess.run(
            list(line),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            start_new_session=True,
            env=None if environ is None else dict(environ),
        )
    except subprocess.TimeoutExpired:
        return 124, "", f"{line[0]} did not answer in {seconds:.0f} s"
    except OSError as e:
        return 127, "", f"cannot run {line[0]}: {e.strerror}"
    return done.returncode, done.stdout, done.stderr
