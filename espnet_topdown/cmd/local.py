"""python -m espnet_topdown.cmd.local [--option value].. [JOB=1:N] LOG command..

Runs a command on this machine, output to LOG; with JOB=1:N it runs N of them, with JOB
replaced by the number in LOG and in the command. It blocks; the exit status is 0 only
if every task succeeded. Without JOB=1:N it is the command's own status (1 where that is
100 or more than 125, which have meanings of their own).

  --max_jobs_run N   tasks at a time (default: processors / num_threads)
  --num_threads N    threads that one task uses (default: 1)
  --gpu N            GPUs for each task, where there are any; it waits for free ones
  --follow 1         show the tasks' output here too, each line with the log's name
  --name, --mem, --time, --config, ... as given to Kaldi's launchers: accepted, unused

The words of the command are passed on as they are. No shell reads them: pipes, globs
and variables need an explicit ``bash -c '...'``. What a task has started ends with it.
An existing LOG is kept as LOG.1, that as LOG.2, up to LOG.9.
TOPDOWN_SLOTS=N in the environment: no more than N tasks at a time, also of the other
launchers of this checkout that have it set. A task that waits for a place or a GPU says
so every minute, here and in LOG, with the holder's process, folder and time.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from espnet_topdown.cmd import process
from espnet_topdown.cmd.places import Places
from espnet_topdown.cmd.task import Task
from espnet_topdown.errors import USAGE, TopDownError, command

_RANGE = re.compile(r"([A-Za-z_]\w*)=([0-9]+)(?::([0-9]+))?")
_COUNTS = ("max_jobs_run", "num_threads", "gpu", "follow")
_ZERO = ("gpu", "follow")
_TAIL_LINES = 10
_TAILS = 3  # failed tasks of an array whose logs are shown


@dataclasses.dataclass(frozen=True)
class Request:
    """One launcher call.

    Attributes:
        options: those that count here, by Kaldi's names.
        given: all options, as they were given.
        numbers: of the tasks; None for a single task without a number.
        name: the word that stands for the number, usually ``JOB``.
    """

    log: str
    command: list[str]
    options: dict[str, int]
    numbers: list[int] | None = None
    name: str = ""
    given: dict[str, str] = dataclasses.field(default_factory=dict)

    def tasks(self) -> list[Task]:
        """The tasks, each with its own number filled in."""
        threads = self.options.get("num_threads", 1)
        if self.numbers is None:
            return [Task(self.log, self.command, threads)]
        return [
            Task(
                fill_in(self.log, self.name, n),
                [fill_in(word, self.name, n) for word in self.command],
                threads,
            )
            for n in self.numbers
        ]


def parse(args: Sequence[str]) -> Request:
    """Read a launcher command line, Kaldi's grammar."""
    options: dict[str, int] = {}
    given: dict[str, str] = {}
    numbers: list[int] | None = None
    name = ""
    words = list(args)
    while words:
        found = _RANGE.fullmatch(words[0])
        if found:
            first, last = int(found[2]), int(found[3] or found[2])
            if not 0 < first <= last:
                _usage(f"{words[0]} is not a range of numbers from 1 on")
            words.pop(0)
            name, numbers = found[1], list(range(first, last + 1))
        elif words[0].startswith("-"):
            words = _option(words, options, given)
        else:
            break
    if len(words) < 2:
        _usage("a log file and a command are needed")
    log, line = words[0], words[1:]
    if numbers and len(numbers) > 1 and fill_in(log, name, 1) == log:
        _usage(f"all tasks would write to {log}; put {name} into its name")
    if not line[0] or (len(line) == 1 and re.search(r"[\s|;&<>$`]", line[0])):
        if shutil.which(line[0]) is None:
            _usage(f"'{line[0]}' is not a program", "give one word each, or bash -c")
    return Request(log, line, options, numbers, name, given)


def _option(
    words: list[str], options: dict[str, int], given: dict[str, str]
) -> list[str]:
    """Take one option off the front."""
    name, equals, value = words[0].lstrip("-").partition("=")
    if words[0] == "-V":
        return words[1:]
    if words[0] == "-pe":  # Grid Engine's, takes two words
        given["num_threads"] = (words + ["", "", "1"])[2]
        return words[3:]
    if not equals:
        if len(words) < 2:
            _usage(f"option {words[0]} needs a value")
        value = words[1]
    name = {"tc": "max_jobs_run"}.get(name, name.replace("-", "_"))
    given[name] = value
    if name in _COUNTS:
        if not re.fullmatch("[0-9]+", value) or (name not in _ZERO and int(value) == 0):
            _usage(f"--{name} must be a whole number, got '{value}'")
        options[name] = int(value)
    return words[1 if equals else 2 :]


def fill_in(word: str, name: str, number: int) -> str:
    """Put a task's number into a word, but not into the names of shell variables.

    >>> fill_in("x.JOB.scp", "JOB", 2), fill_in("echo $SLURM_JOB_ID", "JOB", 2)
    ('x.2.scp', 'echo $SLURM_JOB_ID')
    """
    tokens = rf"\$\{{?\w+|SLURM_JOB\w*|{name}"
    return re.sub(tokens, lambda m: str(number) if m[0] == name else m[0], word)


def run(request: Request) -> int:
    """Run all tasks of a request; returns the launcher's exit status."""
    tasks = request.tasks()
    threads = request.options.get("num_threads", 1)
    at_once = request.options.get("max_jobs_run") or max(1, processors() // threads)
    waiting = tasks[::-1]
    running: list[Task] = []
    pause = 0.01
    places = Places(request.options.get("gpu", 0))
    with process.StopRequests() as stop_requests:
        try:
            while waiting or running:
                stop_requests.check()
                while waiting and len(running) < at_once:
                    missing = places.take(waiting[-1])
                    if missing:
                        if waiting[-1].waits(missing):
                            _say(f"{waiting[-1].log} waits for {missing}")
                        break
                    running.append(waiting.pop())
                    running[-1].start()
                    pause = 0.01
                time.sleep(pause)
                pause = min(pause * 1.2, 0.2)
                ended = [t for t in running if t.ended()]
                if request.options.get("follow"):
                    _show(running)
                for task in ended:
                    running.remove(task)
                    places.give_back(task)
        finally:
            process.stop([t.process for t in running if t.process is not None])
            for task in running:
                task.ended()
    return _report(request, tasks)


def _show(tasks: Sequence[Task]) -> None:
    """Show what the tasks have written, each line with the name of its log."""
    for task in tasks:
        name = os.path.splitext(os.path.basename(task.log))[0]
        for line in task.new_lines():
            print(f"[{name}] {line}")
    sys.stdout.flush()


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _report(request: Request, tasks: Sequence[Task]) -> int:
    failed = [task for task in tasks if task.status != 0]
    if not failed:
        return 0
    total = len(tasks)
    head = "job failed" if total == 1 else f"{len(failed)} of {total} tasks failed"
    _say(f"{head}, log is in {request.log}")
    for task in failed[:_TAILS]:
        _say(f"end of {task.log}:")
        for line in task.tail(_TAIL_LINES):
            print(f"  {line}", file=sys.stderr)
    status = failed[0].status or 1
    return status if total == 1 and status < 126 and status != 100 else 1


def _say(what: str) -> None:
    print(f"local: {what}", file=sys.stderr, flush=True)


def _usage(what: str, do: str = "see python -m espnet_topdown.cmd.local") -> NoReturn:
    raise TopDownError("E_USAGE", f"local: {what}", do, USAGE)


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run one launcher call."""
    args = list(sys.argv[1:] if cmd is None else cmd)
    if not args or args[0] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if args else USAGE)
    sys.exit(run(parse(args)))


if __name__ == "__main__":
    main()
