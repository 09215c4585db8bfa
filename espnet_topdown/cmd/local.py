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
from collections.abc import Callable, Sequence
from typing import NoReturn

from espnet_topdown.cmd._process import run_all
from espnet_topdown.cmd._task import Task, report, say
from espnet_topdown.cmd.places import Places
from espnet_topdown.errors import USAGE, TopDownError, command

_RANGE = re.compile(r"([A-Za-z_]\w*)=([0-9]+)(?::([0-9]+))?")
_COUNTS = ("max_jobs_run", "num_threads", "gpu", "follow")
_ZERO = ("gpu", "follow")


@dataclasses.dataclass(frozen=True)
class Request:
    """One launcher call.

    Attributes:
        options: by Kaldi's names, as they were given.
        numbers: of the tasks; None for a single task without a number.
        name: the word that stands for the number, usually ``JOB``.
    """

    log: str
    command: list[str]
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    numbers: list[int] | None = None
    name: str = ""

    def count(self, option: str, default: int = 0) -> int:
        """Return an option that is a number."""
        return int(self.options.get(option, default))

    def tasks(self) -> list[Task]:
        """Return the tasks, each with its own number filled in."""
        threads = self.count("num_threads", 1)
        if self.numbers is None:
            return [Task(self.log, self.command, threads)]
        words = [self.log, *self.command]
        filled = ([_fill_in(w, self.name, n) for w in words] for n in self.numbers)
        return [Task(log, command, threads) for log, *command in filled]


def parse(args: Sequence[str]) -> Request:
    """Return what a launcher's command line says, in Kaldi's grammar.

    Raises:
        TopDownError: E_USAGE (64).
    """
    given: dict[str, str] = {}
    numbers: list[int] | None = None
    name = ""
    words = list(args)
    while words:
        if span := _RANGE.fullmatch(words[0]):
            first, last = int(span[2]), int(span[3] or span[2])
            if not 0 < first <= last:
                _usage(f"{words[0]} is not a range of numbers from 1 on")
            name, numbers, words = span[1], list(range(first, last + 1)), words[1:]
        elif words[0].startswith("-"):
            words = _option(words, given)
        else:
            break
    if len(words) < 2:
        _usage("a log file and a command are needed")
    log, line = words[0], words[1:]
    if numbers and len(numbers) > 1 and _fill_in(log, name, 1) == log:
        _usage(f"all tasks would write to {log}; put {name} into its name")
    if not line[0] or (len(line) == 1 and re.search(r"[\s|;&<>$`]", line[0])):
        if shutil.which(line[0]) is None:
            _usage(f"'{line[0]}' is not a program", "give one word each, or bash -c")
    return Request(log, line, given, numbers, name)


def _option(words: list[str], given: dict[str, str]) -> list[str]:
    """Return the words without the option at their front, which is taken in."""
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
    return words[1 if equals else 2 :]


def _fill_in(word: str, name: str, number: int) -> str:
    """Return a word with a task's number, but not in the names of shell variables.

    >>> _fill_in("x.JOB.scp", "JOB", 2), _fill_in("echo $SLURM_JOB_ID", "JOB", 2)
    ('x.2.scp', 'echo $SLURM_JOB_ID')
    """
    tokens = rf"\$\{{?\w+|SLURM_JOB\w*|{name}"
    return re.sub(tokens, lambda m: str(number) if m[0] == name else m[0], word)


def _run(request: Request) -> int:
    """Run all tasks of a request.

    Returns:
        The launcher's exit status.

    Raises:
        TopDownError: E_GPU, E_SLOTS (78); E_LOCKED (75), E_CREATE (73) of a log.
    """
    tasks = request.tasks()
    at_once = max(1, processors() // request.count("num_threads", 1))
    at_once = request.count("max_jobs_run", at_once)
    places = Places(request.count("gpu"))

    def may_start(task: Task) -> bool:
        missing = places.reserve(task)
        if missing and task.waits(missing):
            say("local", f"{task.log} waits for {missing}")
        return not missing

    def show() -> None:
        """What the tasks have written, each line with the name of its log."""
        for task in tasks if request.count("follow") else ():
            name = os.path.splitext(os.path.basename(task.log))[0]
            for line in task.new_lines() if task.process is not None else ():
                print(f"[{name}] {line}", flush=True)

    run_all(tasks, at_once, may_start, places.release, show)
    return report("local", request.log, tasks)


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def _usage(what: str, do: str = "see python -m espnet_topdown.cmd.local") -> NoReturn:
    raise TopDownError("E_USAGE", what, do, USAGE)


def launcher_main(
    about: str, run: Callable[[Request], int], cmd: Sequence[str] | None
) -> NoReturn:
    """Be a launcher: read its command line, run it, exit with its status."""
    args = list(sys.argv[1:] if cmd is None else cmd)
    if not args or args[0] in ("-h", "--help"):
        print(about)
        sys.exit(0 if args else USAGE)
    sys.exit(run(parse(args)))


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run one launcher call."""
    launcher_main(str(__doc__), _run, cmd)


if __name__ == "__main__":
    main()
