"""How a job's options become a scheduler's: the files conf/slurm.conf, conf/queue.conf.

The format is Kaldi's. ``command`` starts the line that submits; ``option mem=*`` says
what ``--mem 4G`` becomes, ``$0`` standing for the value; a line with the exact value is
taken before the one with ``*``; ``default gpu=0`` is an option that nobody gave.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from espnet_topdown.errors import MISSING, TopDownError, nearest

_LINES = ("command", "option", "default")


class Conf:
    """What a conf file says.

    Args:
        path: the file; "" for none.
        builtin: the text that is used then.

    Raises:
        TopDownError: E_CLUSTER_CONF (78) with file and line; E_MISSING (66).
    """

    def __init__(self, path: str, builtin: str) -> None:
        self.name = path or "the launcher's own configuration"
        self.command: list[str] = []
        self.options: dict[tuple[str, str], list[str]] = {}
        self.defaults: dict[str, str] = {}
        text = builtin
        if path:
            try:
                text = Path(path).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as e:
                what = f"cannot read {path}: {getattr(e, 'strerror', None) or e}"
                do = "give the launcher's --config, or copy conf/ from a recipe"
                raise TopDownError("E_MISSING", what, do, MISSING) from e
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            if why := self._take(line.split("#")[0].strip()):
                raise self._error(number, why)
        if not self.command:
            raise self._error(len(lines), "has no 'command' line")

    def _take(self, line: str) -> str:
        """Return what is wrong with a line; if nothing is, it is taken in."""
        kind, _, rest = line.partition(" ")
        try:
            words = shlex.split(rest)
        except ValueError:
            return "has a quote that is not closed"
        pair = re.fullmatch(r"(\w+)=(\S+)", words[0]) if words else None
        if kind == "command" and words:
            self.command = words
        elif kind == "default" and pair and len(words) == 1:
            self.defaults[pair[1]] = pair[2]
        elif kind == "option" and pair:
            self.options[pair[1], pair[2]] = words[1:]
        elif kind:
            about = "as 'option mem=* -m $0'"
            about = about if kind in _LINES else nearest(kind, _LINES)
            return f"is not understood: '{line}' ({about})"
        return ""

    def _error(self, number: int, why: str) -> TopDownError:
        what = f"{self.name} line {number} {why}"
        do = "lines are: command WORDS, option NAME=VALUE WORDS, default NAME=VALUE"
        return TopDownError("E_CLUSTER_CONF", what, do)

    def line(self, given: Mapping[str, str]) -> list[str]:
        """Return the submitting command with the options given.

        Raises:
            TopDownError: E_CLUSTER_OPTION (78), an option that no line translates.
        """
        words = list(self.command)
        for name, value in {**self.defaults, **given}.items():
            new = self.options.get((name, value), self.options.get((name, "*")))
            if new is None:
                names = sorted({option for option, _ in self.options})
                what = f"{self.name} has no line for --{name} {value}"
                do = f"add 'option {name}=* ...' to it ({nearest(name, names)})"
                raise TopDownError("E_CLUSTER_OPTION", what, do)
            words += [word.replace("$0", value) for word in new]
        return words
