"""Completion of commands, options, layer names and folders in a shell, by argcomplete.

In ~/.bashrc or ~/.zshrc: ``eval "$(register-python-argcomplete espnet-topdown)"``. At
each TAB the shell starts the command, which answers instead of running.
"""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from espnet_topdown.cli.parser import VERBS, Option
from espnet_topdown.errors import TopDownError

Completer = Callable[..., Iterable[str]]
_EXP, _SEARCH = "config.yaml", "search.yaml"  # what shows an experiment, a search


def print_completions() -> None:
    """Tell the shell what fits, and end the process."""
    import argcomplete

    parser = argparse.ArgumentParser(prog="espnet-topdown", allow_abbrev=False)
    verbs = parser.add_subparsers()
    typed = os.environ.get("COMP_LINE", "").split()
    for name, verb in VERBS.items():
        one = verbs.add_parser(name, help=verb.summary, allow_abbrev=False)
        for option in verb.options if name in typed else ():
            _add(one, option)
    argcomplete.autocomplete(parser, always_complete_options="long")


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    kept = ("nargs", "choices", "const")
    settings = {k: v for k, v in option.settings.items() if k in kept}
    fits = _completer(option)
    named = parser.add_argument(*option.names, **settings)
    actions = [named]
    if option.positional:
        word = f"{named.dest} by its place"
        actions.append(parser.add_argument(word, nargs="?"))
    for action in actions if fits else ():
        action.completer = fits  # type: ignore[attr-defined]


def _completer(option: Option) -> Completer | None:
    """Return what completes an option's value; None leaves it to argcomplete."""
    name = option.names[0].lstrip("-")
    if name in ("base_exp", "exp", "frozen_from"):
        return _folders(_EXP, _SEARCH) if option.positional == "DIR" else _folders(_EXP)
    if name in ("search_dir", "search_dirs"):
        return _folders(_SEARCH)
    if name == "freeze":
        return _listed(_layers)
    if name in ("controls", "strategy", "stack", "criterion", "reinit"):
        return _listed(lambda _: _words(name))
    return None


def _words(name: str) -> Iterable[str]:
    from espnet_topdown.models.layers import shipped
    from espnet_topdown.models.tasks import read_tasks
    from espnet_topdown.search.strategies import CONTROLS, STRATEGIES

    words: dict[str, Iterable[str]] = {
        "criterion": {c for task in read_tasks().values() for c in task.criteria},
        "controls": CONTROLS,
        "strategy": STRATEGIES,
        "stack": ["auto", "generic", *shipped()],
        "reinit": ["full", "random", "keep", "shrink:", "rewind:"],
    }
    return words[name]


def _layers(given: argparse.Namespace) -> Iterable[str]:
    from espnet_topdown.jobs.plan import bind
    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.models.layers import stack_for

    values = vars(given)
    base_exp = next(v for k, v in values.items() if k.startswith("base_exp") and v)
    experiment = Experiment(Path(base_exp))
    stack = stack_for(experiment.config, values.get("stack"), experiment.header)
    return bind(experiment, stack).stack.names


def _listed(names: Callable[[argparse.Namespace], Iterable[str]]) -> Completer:
    """Return a completer of names with commas between."""

    def complete(prefix: str, parsed_args: Any, **_: Any) -> list[str]:
        before, comma, start = prefix.rpartition(",")
        try:
            found = names(parsed_args)
        except (TopDownError, StopIteration):  # no experiment yet, or none
            return []
        fits = [n for n in found if n.startswith(start) and n not in before.split(",")]
        return [before + comma + name for name in fits]

    return complete


def _folders(*markers: str) -> Completer:
    """Return a completer of folders that hold a file, and of those on the way."""

    def complete(prefix: str, **_: Any) -> list[str]:
        start = prefix.rpartition("/")[2]
        before = prefix[: len(prefix) - len(start)]
        found = []
        for folder in sorted(Path(before or ".").glob(f"{glob.escape(start)}*")):
            is_it = any((folder / marker).is_file() for marker in markers)
            if folder.is_dir() and start.startswith(".") >= folder.name.startswith("."):
                found.append(before + folder.name + ("" if is_it else "/"))
        return found

    return complete
