"""How a job's options become a scheduler's: the files conf/slurm.conf, conf/queue.conf.

The format is Kaldi's. ``command`` starts the line that submits; ``option mem=*`` says
what ``--mem 4G`` becomes, ``$0`` standing for the value; a line with the exact value is
taken before the one with ``*``; ``default gpu=0`` is an option that nobody gave.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from espnet_topdown.errors import CONFIG, MISSING, TopDownError, nearest


@dataclass
class Conf:
    """What a conf file says.

    Attributes:
        command: the words that submit, the program first.
        options: ``(name, value or "*")`` -> words.
        defaults: options that hold when they are not given.
    """

    name: str
    command: list[str] = field(default_factory=list)
    options: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)

    def knows(self, name: str) -> bool:
        """Whether a line says what to do with the option."""
        return any(option == name for option, _ in self.options)

    def line(self, given: Mapping[str, str]) -> list[str]:
        """The submitting command with the options given.

        Raises:
            TopDownError: E_CLUSTER_OPTION (78), an option that no line translates.
        """
        words = list(self.command)
        for name, value in {**self.defaults, **given}.items():
            found = self.options.get((name, value), self.options.get((name, "*")))
            if found is None:
                known = sorted({option for option, _ in self.options})
                what = f"{self.name} has no line for --{name} {value}"
                do = f"add 'option {name}=* ...' to it ({nearest(name, known)})"
                raise TopDownError("E_CLUSTER_OPTION", what, do, CONFIG)
            words += [word.replace("$0", value) for word in found]
        return words


def read_conf(path: str, builtin: str) -> Conf:
    """Read a conf file; ``builtin`` is the text used where ``path`` is empty.

    Raises:
        TopDownError: E_CLUSTER_CONF with file and line; E_MISSING (66).
    """
    text = builtin
    if path:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            what = f"cannot read {path}: {getattr(e, 'strerror', None) or e}"
            do = "give the launcher's --config, or copy conf/ from a recipe"
            raise TopDownError("E_MISSING", what, do, MISSING) from e
    conf = Conf(path or "the launcher's own configuration")
    for number, line in enumerate(text.splitlines(), 1):
        _take(conf, line.split("#")[0].strip(), number)
    if not conf.command:
        _bad(conf, len(text.splitlines()), "has no 'command' line")
    return conf


def _take(conf: Conf, line: str, number: int) -> None:
    kind, _, rest = line.partition(" ")
    rest = rest.strip()
    if not kind:
        return
    try:
        words = shlex.split(rest)
    except ValueError:
        _bad(conf, number, "has a quote that is not closed")
    if kind == "command" and words:
        conf.command = words
    elif kind == "default" and re.fullmatch(r"\w+=\S+", rest):
        name, _, value = rest.partition("=")
        conf.defaults[name] = value
    elif kind == "option" and words and re.fullmatch(r"\w+=\S+", words[0]):
        name, _, value = words[0].partition("=")
        conf.options[name, value] = words[1:]
    else:
        known = ("command", "option", "default")
        about = nearest(kind, known) if kind not in known else "as 'option mem=* -m $0'"
        _bad(conf, number, f"is not understood: '{line}' ({about})")


def _bad(conf: Conf, number: int, why: str) -> NoReturn:
    what = f"{conf.name} line {number} {why}"
    do = "lines are: command WORDS, option NAME=VALUE WORDS, default NAME=VALUE"
    raise TopDownError("E_CLUSTER_CONF", what, do, CONFIG)
