"""The options of a recipe's script, for its utils/parse_options.sh.

``python -m espnet_topdown.cli._recipe SCRIPT HELP STAGES LAST N FILE.. M NAME=DEFAULT..
ARGUMENT..`` prints names and values of the options given, a NUL after each. The default
gives the type: true or false, an integer, a decimal number, anything else a word.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_topdown.errors import REMOVED_OPTIONS, USAGE, TopDownError, command

_HELP = 99  # exit status: what was printed is the help text
_TYPES = (  # of the default, of a value, in words, an example
    ("true|false", "true|false", "true or false", "true"),
    ("[0-9]+", "[0-9]{1,12}", "an integer", ""),
    (r"[0-9]+[.][0-9]+", r"[0-9]+([.][0-9]+)?", "a number", ""),
)
_UNSAFE, _QUOTED = "$`;\n\r", "\"'\\|&<>()*?!"  # a launcher's shell would act on them
_WITH_QUOTED = re.compile("oov|blank|sos_eos|.*nlsyms")
_ONE_NAME = re.compile(".*_tag|.*_set|lang|token_type")
_BAD_IN_PATHS = {
    ",": "ESPnet cannot use paths with ','",
    "JOB": "launchers replace 'JOB' in paths",
}
_A_PATH = re.compile(".*_exp|.*dir|.*_config|.*_txt")


class _Options:
    """What a script takes.

    Args:
        script: its name, for messages.
        defaults: by name.
        stages: "1=data 11=train"; a stage is given by its number or its name.
        last: the last stage that one can start with.
    """

    def __init__(
        self, script: str, defaults: Mapping[str, str], stages: str, last: str
    ) -> None:
        self.see = f"see {script} --help"
        self.defaults = defaults
        pairs = [word.partition("=") for word in stages.split()]
        self.stages = {name: int(number) for number, _, name in pairs}
        self.last = int(last or 0)

    def parse(self, args: Sequence[str]) -> dict[str, str]:
        """Return the options given, ``help`` if that is one; the last repetition wins.

        Raises:
            TopDownError: E_USAGE, E_UNSAFE_NAME or E_PATH (64).
        """
        given: dict[str, str] = {}
        words = list(args)
        while words:
            word = words.pop(0)
            shown, equals, value = word.partition("=")
            name = re.sub("^--?", "", shown).replace("-", "_")
            if word in ("-h", "--help"):
                return {**given, "help": word}
            if not word:
                what = f"empty argument {len(args) - len(words)}"
                raise _usage(what, "drop it, or name the option before it")
            if not word.startswith("-"):
                name = word.replace("-", "_")
                what = f"unexpected argument '{word}'{self._hint(name)}"
                raise _usage(what, self.see)
            if name in REMOVED_OPTIONS:
                what = f"--{name} was removed, see {REMOVED_OPTIONS[name]}"
                raise _usage(what, "leave it out")
            if not self._is_option(word):
                raise _usage(f"unknown option {shown}{self._hint(name)}", self.see)
            if not equals:
                if not words or self._is_option(words[0]):
                    what = f"option --{name} needs a value"
                    raise _usage(what, f"write {shown} VALUE")
                value = words.pop(0)
            given[name] = self._value(name, value)
        return given

    def _is_option(self, word: str) -> bool:
        name = word.partition("=")[0][2:].replace("-", "_")
        return word.startswith("--") and name in self.defaults

    def _hint(self, name: str) -> str:
        names = ["help", *self.defaults]
        close = [n for n in names if name and n.startswith(name)]
        close += difflib.get_close_matches(name, names, 1, 0.6)
        return f" (did you mean --{close[0]}?)" if close else ""

    def _value(self, name: str, value: str) -> str:
        """Return a value as the script gets it."""
        if name in ("stage", "stop_stage"):
            return self._stage(name, value)
        if name == "skip_stages":
            return " ".join(self._stage(name, word) for word in value.split())
        default = self.defaults[name]
        for of_default, allowed, what, example in _TYPES:
            if re.fullmatch(of_default, default) and not re.fullmatch(allowed, value):
                do = f"write --{name} {example or default}"
                raise _usage(f"--{name} must be {what}, got '{value}'", do)
        if re.fullmatch("[0-9]+", default):
            return str(int(value))
        _check_safe(name, value)
        return value

    def _stage(self, name: str, value: str) -> str:
        number = self.stages.get(value, 0)
        if re.fullmatch("[0-9]{1,9}", value):
            number = int(value)
        if number < 1 or (name == "stage" and number > self.last):
            what = f"an integer 1..{self.last} or a stage name, got '{value}'"
            names = [word for word, n in self.stages.items() if n <= self.last]
            raise _usage(f"--{name} must be {what}", f"take one of: {' '.join(names)}")
        return str(number)


def _check_safe(name: str, value: str) -> None:
    """Refuse what a launcher's shell or ESPnet would take apart."""
    for char in _UNSAFE + ("" if _WITH_QUOTED.fullmatch(name) else _QUOTED):
        if char in value:
            shown = f"'{char}'" if char.isprintable() else "newline"
            what = f"character {shown} not allowed in --{name}"
            do = "use letters, digits, '_', '-', '.' and '/'"
            raise TopDownError("E_UNSAFE_NAME", what, do, USAGE)
    if _ONE_NAME.fullmatch(name) and re.search(r"^-|[\s/,]|JOB", value):
        what, do = f"--{name} is not a single name: '{value}'", "use letters and digits"
        raise TopDownError("E_UNSAFE_NAME", what, f"{do}, '_', '-' and '.'", USAGE)
    for bad, why in _BAD_IN_PATHS.items():
        if _A_PATH.fullmatch(name) and bad in value:
            raise TopDownError("E_PATH", f"{why}: {value}", "rename or link it", USAGE)


def _usage(what: str, do: str) -> TopDownError:
    return TopDownError("E_USAGE", what, do, USAGE)


def _describe(files: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Return lines of help, from ``name=default  # what`` and ``## heading`` lines.

    Args:
        files: scripts.
        values: what is shown as the default.
    """
    lines = []
    for text in (line for f in files for line in Path(f).read_text().splitlines()):
        option = re.fullmatch(r"([a-z][a-z0-9_]*)=(?:[^#]*[^ #])? +# (.*)", text)
        if text.startswith("## "):
            lines += ["", text[3:]]
        elif option:
            shown = values.get(option[1]) or '""'
            lines.append(f"  --{option[1]:<26} {option[2]} [{shown}]")
    return lines


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Parse the options of a script."""
    script, about, stages, last, *rest = sys.argv[1:] if cmd is None else cmd
    files, rest = rest[1 : int(rest[0]) + 1], rest[int(rest[0]) + 1 :]
    pairs, args = rest[1 : int(rest[0]) + 1], rest[int(rest[0]) + 1 :]
    defaults = dict(pair.split("=", 1) for pair in pairs)
    given = _Options(script, defaults, stages, last).parse(args)
    if "help" in given:
        print("\n".join([about, *_describe(files, {**defaults, **given})]))
        sys.stdout.flush()
        sys.exit(_HELP)
    sys.stdout.write("".join(f"{name}\0{value}\0" for name, value in given.items()))


if __name__ == "__main__":
    main()
