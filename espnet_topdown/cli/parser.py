"""The command line: a verb is a function with its options; one parser, one way to end.

A module of this room declares its verbs::

    @verb(positional("EXP", "--exp", "An experiment"), flag("--yes", "Do not ask"))
    def layers(**options: Any) -> None:
        ...

The function gets its options by name. Its docstring is the help text, with a line that
works under ``Example:``.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from espnet_topdown.errors import REMOVED_OPTIONS, USAGE, TopDownError, command, nearest

PROGRAM = "espnet-topdown"
_TRUTHS = ("true", "false", "yes", "no", "y", "n", "on", "off", "1", "0")


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a verb.

    Attributes:
        names: With their dashes; the first one names the value.
        settings: For ``argparse``.
        positional: As what it may be given without its name; empty for other options.
        group: The heading in the help text; empty for the common one.
    """

    names: tuple[str, ...]
    settings: dict[str, Any]
    positional: str = ""
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Verb:
    """What ``espnet-topdown NAME`` does."""

    run: Callable[..., None]
    options: tuple[Option, ...]

    @property
    def summary(self) -> str:
        """The first line of its help."""
        return (self.run.__doc__ or "").splitlines()[0].rstrip(".")


VERBS: dict[str, Verb] = {}


def verb(*options: Option) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a verb, under its own name.

    Returns:
        A decorator that leaves the function as it is.
    """

    def register(run: Callable[..., None]) -> Callable[..., None]:
        VERBS[run.__name__] = Verb(run, options)
        return run

    return register


def option(names: str, about: str, default: Any = None, **settings: Any) -> Option:
    """Return an option with a value, a number if its default is one.

    Args:
        names: Its names with blanks between; the first one names the value.
        about: Its help text.
        default: Its value where it is not given.
        **settings: More for ``argparse``.
    """
    settings = {"default": default, "help": about, **settings}
    if isinstance(default, (int, float)):
        settings.setdefault("type", type(default))
    return Option(tuple(names.split()), settings)


def path(names: str, about: str, **settings: Any) -> Option:
    """Return an option whose value is a file or a folder; one to write to is tried."""
    kind = _to_write if "--output_dir" in names else Path
    return option(names, about, type=kind, **settings)


def flag(name: str, about: str, default: bool | None = False) -> Option:
    """Return an option that needs no value, and takes ``true`` or ``false``.

    Args:
        name: With its dashes.
        about: Its help text.
        default: None where it matters whether it was given.
    """
    return option(name, about, default, type=_truth, nargs="?", const=True)


def positional(shown: str, names: str, about: str, **settings: Any) -> Option:
    """Return the option of a folder that needs no name before it.

    Args:
        shown: What the usage calls it, such as ``EXP``.
        names: Its names with blanks between, for those who give it by name.
        about: Its help text.
        **settings: More for ``argparse``.
    """
    return dataclasses.replace(path(names, about, **settings), positional=shown)


def group(title: str, *options: Option) -> tuple[Option, ...]:
    """Return the options under a heading of their own."""
    return tuple(dataclasses.replace(o, group=title) for o in options)


def parser_of(name: str) -> Parser:
    """Return the parser of a verb."""
    wanted = VERBS[name]
    text, _, example = inspect.cleandoc(wanted.run.__doc__ or "").partition("Example:")
    positionals = [o.positional for o in wanted.options if o.positional]
    parser = Parser(
        prog=f"{PROGRAM} {name}",
        usage=" ".join([PROGRAM, name, *positionals, "[OPTION]..."]),
        description=text.strip(),
        epilog=f"example:\n  {inspect.cleandoc(example)}",
    )
    parser.add_options(wanted.options)
    return parser


def script(
    run: Callable[..., object], about: str, *options: Option
) -> Callable[..., None]:
    """Return the ``main(cmd=None)`` of a recipe's own script in ``local/``.

    Args:
        run: Gets the options by name.
        about: The first line of the help text.
        *options: Of the script, beside ``--output_dir``.
    """

    @command
    def main(cmd: Sequence[str] | None = None) -> None:
        prog = f"python3 local/{Path(sys.argv[0]).name}"
        parser = Parser(prog=prog, usage=f"{prog} [OPTION]...", description=about)
        sets = path("--output_dir", "Where the sets are written", default=Path("data"))
        parser.add_options((*options, sets))
        run(**vars(parser.parse_args(cmd)))

    return main


class Parser(argparse.ArgumentParser):
    """ESPnet's option style (``--snake_case``), with errors that name the remedy.

    Options are never abbreviated; ``-`` and ``_`` inside an option name are the same,
    as in a Kaldi recipe.
    """

    def __init__(self, **settings: Any) -> None:
        self.positionals: list[argparse.Action] = []
        super().__init__(formatter_class=_Help, allow_abbrev=False, **settings)

    def add_options(self, options: tuple[Option, ...]) -> None:
        """Add the options of a verb under their headings."""
        groups: dict[str, argparse._ActionsContainer] = {"": self}
        for item in options:
            if item.group not in groups:
                groups[item.group] = self.add_argument_group(item.group)
            action = groups[item.group].add_argument(*item.names, **item.settings)
            if item.positional:
                action.metavar = item.positional
                self.positionals.append(action)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Return values and what is left of a command line, see ``argparse``."""
        args = list(sys.argv[1:] if args is None else args)
        end = args.index("--") if "--" in args else len(args)
        args[:end] = map(_underscored, args[:end])
        for n, word in enumerate(args[:end]):
            action = self._option_string_actions.get(word)
            if action is not None and action.const is True and action.type is not None:
                if "".join(args[n + 1 : n + 2]).lower() not in _TRUTHS:
                    args[n] += "=true"  # or it would take what stands in a place
        namespace, extra = super().parse_known_args(args, namespace)
        if self.positionals:
            extra = self._fill_positionals(namespace, extra)
        return namespace, extra

    def _fill_positionals(
        self, values: argparse.Namespace, extra: list[str]
    ) -> list[str]:
        # words without a name go to the places that are not filled yet
        words = [w for w in extra if w != "--"]
        unknown = [n for n, w in enumerate(words) if w.startswith("-")]
        if unknown and "--" not in extra:
            return words[unknown[0] :]
        empty = [a for a in self.positionals if getattr(values, a.dest) is None]
        for action in empty if len(words) <= len(empty) else self.positionals:
            if words and action.nargs == "+":
                given, words = [self._get_value(action, w) for w in words], []
            elif words:
                given = self._get_value(action, words.pop(0))
                if getattr(values, action.dest) not in (None, given):
                    twice = f"{given} and {getattr(values, action.dest)}"
                    self.error(f"{action.metavar} is given twice: {twice}")
            else:
                break
            setattr(values, action.dest, given)
        for action in self.positionals:
            if getattr(values, action.dest) is None:
                self.error(f"{action.metavar} is missing")
        return words

    def error(self, message: str) -> NoReturn:
        """Refuse a command line: E_USAGE (64)."""
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
        word = {int: "N", non_negative_int: "N", float: "X", None: "WORD"}
        word |= {Path: "PATH", _to_write: "PATH"}
        return f"{names} {shown or word.get(action.type, 'LIST')}"

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        plain = isinstance(default, (int, float, str, Path)) and default is not False
        if action.option_strings and plain and default not in ("", argparse.SUPPRESS):
            text += " (default: %(default)s)"
        return text


def _underscored(arg: str) -> str:
    name, eq, value = arg.partition("=")
    if not name.startswith("--") or " " in name:  # options in one word are a value
        return arg
    return "--" + name[2:].replace("-", "_") + eq + value


def _truth(text: str) -> bool:
    from espnet_topdown.files import str2bool  # with it comes a parser of YAML

    return str2bool(text)


def _to_write(text: str) -> Path:
    from espnet_topdown.files import check_writable

    check_writable(Path(text))
    return Path(text)


def non_negative_int(text: str) -> int:
    """Return a whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be 0 or more, got '{text}'")
    return int(text)


def int_list(text: str) -> tuple[int, ...]:
    """Return the whole numbers of a text with commas between.

    >>> int_list("20,40")
    (20, 40)
    """
    try:
        return tuple(sorted({int(n) for n in text.split(",") if n}))
    except ValueError as e:
        what = f"must be whole numbers with commas, got '{text}'"
        raise argparse.ArgumentTypeError(what) from e


# What several commands have.
NGPU = option(
    "--ngpu", "GPUs of each; default: as the base experiment", type=non_negative_int
)
INFEASIBLE = flag(
    "--allow_infeasible", "Train on, though CTC cannot align some utterances"
)
SHARDS = (
    option("--nj", "Number of shards", 1),
    option("--job", "Make only this shard, from 1", type=int),
)
STEP = option(  # of a corpus on discs; a script of its recipe
    "--step",
    "Find files, make FLAC files in shards, write the sets",
    "all",
    choices=("lists", "convert", "sets", "all"),
)


def source(*places: str) -> Option:
    """Return the option of a recipe's script that says where its archives come from.

    Args:
        *places: Of local, apt (Debian's packages) and http.
    """
    about = f"Where archives come from; auto: {', '.join(places)} in turn"
    return option("--source", about, "auto", choices=("auto", *places))
