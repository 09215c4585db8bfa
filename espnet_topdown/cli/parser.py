"""The command line: a verb is a function with its options; one parser, one way to end.

A module of this room declares its verbs::

    @verb(place("EXP", "--exp", help="An experiment"), flag("--yes", "Do not ask"))
    def layers(args: argparse.Namespace) -> None:
        ...

The function's docstring is the help text, with a line that works under ``Example:``.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from espnet_topdown.errors import REMOVED_OPTIONS, USAGE, TopDownError, nearest

PROGRAM = "espnet-topdown"
_TRUTHS = ("true", "false", "yes", "no", "y", "n", "on", "off", "1", "0")


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a verb.

    Attributes:
        names: with their dashes; the first one names the value.
        settings: for ``argparse``.
        place: as what it may be given without its name; empty for other options.
        group: the heading in the help text; empty for the common one.
    """

    names: tuple[str, ...]
    settings: dict[str, Any]
    place: str = ""
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Verb:
    """What ``espnet-topdown NAME`` does."""

    run: Callable[[argparse.Namespace], None]
    options: tuple[Option, ...]

    @property
    def summary(self) -> str:
        """The first line of its help."""
        return (self.run.__doc__ or "").splitlines()[0].rstrip(".")


VERBS: dict[str, Verb] = {}


def verb(*options: Option) -> Callable[[Callable], Callable]:
    """Make a function a verb, under its own name."""

    def register(run: Callable) -> Callable:
        VERBS[run.__name__] = Verb(run, options)
        return run

    return register


def option(*names: str, **settings: Any) -> Option:
    """An option with a value."""
    return Option(names, settings)


def flag(name: str, about: str, default: bool | None = False) -> Option:
    """An option that needs no value, and takes ``true`` or ``false``."""
    settings = dict(type=truth, nargs="?", const=True, default=default)
    return Option((name,), {**settings, "help": about})


def place(shown: str, *names: str, **settings: Any) -> Option:
    """A folder that is given by its place; its long names are the same."""
    return Option(names, {"type": Path, **settings}, place=shown)


def group(title: str, *options: Option) -> tuple[Option, ...]:
    """The options under a heading of their own."""
    return tuple(dataclasses.replace(o, group=title) for o in options)


def parser_of(name: str) -> Parser:
    """The parser of a verb."""
    found = VERBS[name]
    text, _, example = inspect.cleandoc(found.run.__doc__ or "").partition("Example:")
    places = [o.place if o.settings.get("required", True) else f"[{o.place}]"
              for o in found.options if o.place]  # fmt: skip
    parser = Parser(
        prog=f"{PROGRAM} {name}",
        usage=" ".join([PROGRAM, name, *places, "[OPTION]..."]),
        description=text.strip(),
        epilog=f"example:\n  {inspect.cleandoc(example)}" if example else None,
    )
    parser.add_options(found.options)
    return parser


class Parser(argparse.ArgumentParser):
    """ESPnet's option style (``--snake_case``), with errors that name the remedy.

    Options are never abbreviated; ``-`` and ``_`` inside an option name are the same,
    as in a Kaldi recipe.
    """

    def __init__(self, **settings: Any) -> None:
        self.places: list[tuple[argparse.Action, Option]] = []
        super().__init__(formatter_class=_Help, allow_abbrev=False, **settings)

    def add_options(self, options: tuple[Option, ...]) -> None:
        """Add the options of a verb under their headings."""
        groups: dict[str, argparse._ActionsContainer] = {"": self}
        for item in options:
            if item.group not in groups:
                groups[item.group] = self.add_argument_group(item.group)
            settings = dict(item.settings)
            if item.place:
                settings.update(required=False, metavar=item.place)
            action = groups[item.group].add_argument(*item.names, **settings)
            if item.place:
                self.places.append((action, item))

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        args = list(sys.argv[1:] if args is None else args)
        end = args.index("--") if "--" in args else len(args)
        args[:end] = map(_underscored, args[:end])
        for n, word in enumerate(args[:end]):
            action = self._option_string_actions.get(word)
            if action is not None and action.const is True and action.type is not None:
                if "".join(args[n + 1 : n + 2]).lower() not in _TRUTHS:
                    args[n] += "=true"  # or it would take what stands in a place
        namespace, extra = super().parse_known_args(args, namespace)
        return namespace, self._fill_places(namespace, extra) if self.places else extra

    def _fill_places(self, found: argparse.Namespace, extra: list[str]) -> list[str]:
        """Give the words without a name to the places that are not filled yet."""
        words = [w for w in extra if w != "--"]
        if any(w.startswith("-") for w in words) and "--" not in extra:
            return extra
        open_ = [p for p in self.places if getattr(found, p[0].dest) is None]
        for action, item in open_ if len(words) <= len(open_) else self.places:
            if words and action.nargs == "+":
                values, words = [self._get_value(action, w) for w in words], []
                setattr(found, action.dest, values)
            elif words:
                value = self._get_value(action, words.pop(0))
                given = getattr(found, action.dest)
                if given is not None and given != value:
                    self.error(f"{item.place} is given twice: {value} and {given}")
                setattr(found, action.dest, value)
        for action, item in self.places:
            if getattr(found, action.dest) is None and item.settings.get(
                "required", True
            ):
                self.error(f"{item.place} is missing")
        return words

    def error(self, message: str) -> NoReturn:
        do = f"see '{self.prog} --help'"
        prefix = "unrecognized arguments: "
        if message.startswith(prefix):
            first = next(iter(message[len(prefix) :].split()), "")
            name = first.partition("=")[0].lstrip("-")
            if name in REMOVED_OPTIONS:
                message = f"--{name} was removed, see {REMOVED_OPTIONS[name]}"
                do = "leave it out"
            elif first.startswith("--"):
                known = [o for o in self._option_string_actions if o.startswith("--")]
                message = f"unknown option {first} ({nearest(first, known)})"
            else:
                message = f"unexpected argument '{first}'"
        raise TopDownError("E_USAGE", f"{self.prog}: {message}", do, USAGE)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Text as it is written; a default only where there is one."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names, shown = ", ".join(action.option_strings), action.metavar
        if not names or action.const is True or action.nargs == 0:
            return names or action.dest
        if shown is None and action.choices:
            shown = "|".join(map(str, action.choices))
        word = {int: "N", whole: "N", float: "X", Path: "PATH", None: "WORD"}
        return f"{names} {shown or word.get(action.type, 'LIST')}"

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        plain = isinstance(default, (int, float, str, Path)) and default != ""
        if action.option_strings and plain and default is not False:
            if default != argparse.SUPPRESS and "%(default)" not in text:
                text += " (default: %(default)s)"
        return text


def _underscored(arg: str) -> str:
    if not arg.startswith("--"):
        return arg
    name, eq, value = arg.partition("=")
    return "--" + name[2:].replace("-", "_") + eq + value


def truth(text: str) -> bool:
    """``true`` or ``false``."""
    from espnet_topdown.files import true_or_false  # with it comes a parser of YAML

    return true_or_false(text)


def whole(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be 0 or more, got '{text}'")
    return int(text)


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers with commas.

    >>> numbers("20,40")
    (20, 40)
    """
    try:
        return tuple(sorted({int(n) for n in text.split(",") if n}))
    except ValueError as e:
        what = f"must be whole numbers with commas, got '{text}'"
        raise argparse.ArgumentTypeError(what) from e
