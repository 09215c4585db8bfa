"""espnet-topdown COMMAND [OPTION]...

Top-down training for ESPnet. `espnet-topdown COMMAND --help` explains a command.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from espnet_topdown import __version__
from espnet_topdown.errors import USAGE, TopDownError, command, nearest

COMMANDS = {
    "layers": "the layers of an experiment, from the top",
    "plan": "what a retraining would freeze, re-initialise and train",
    "search": "top-down training from an experiment (Algorithm 1, or all)",
    "status": "one screen: every model of a search, epoch, time left, where it runs",
    "cancel": "end a search and its jobs; the same command continues",
    "du": "how much room each model of a search takes",
    "clean": "delete the models of a finished search that are not its best (asks)",
    "retrain": "one retraining by hand",
    "decode": "batched greedy CTC decoding of a set",
    "score": "CER and WER with the counts of sclite",
    "report": "RESULTS.md, report.html and figures of a search",
    "seeds": "the same over searches of several seeds: means, spreads",
    "perplexity": "perplexity of a text under a language model",
    "lm_rows": "rows of the language model table",
    "fsck": "is a search folder what was written?",
    "doctor": "what is missing on this machine, with one command for each",
}


def usage() -> str:
    """The help text."""
    lines = [f"  {name:<10}{about}" for name, about in COMMANDS.items()]
    return f"usage: {__doc__}\n" + "\n".join(lines)


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Dispatch to a command."""
    name, *rest = (sys.argv[1:] if cmd is None else list(cmd)) or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
    elif name == "--version":
        print(__version__)
    elif name in COMMANDS:
        importlib.import_module(f"espnet_topdown.bin.{name}").main(rest)
    else:
        raise TopDownError(
            "E_USAGE",
            f"unknown command '{name}' ({nearest(name, COMMANDS)})",
            "see 'espnet-topdown --help'",
            USAGE,
        )


if __name__ == "__main__":
    main()
