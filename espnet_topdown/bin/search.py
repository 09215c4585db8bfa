"""espnet-topdown search --base_exp EXP --output_dir EXP_topdown --search greedy

Top-down training from an ESPnet experiment. The same command continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli import Parser, command, true_or_false


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet-topdown search", description=__doc__)
    add = parser.add_argument_group("what is searched").add_argument
    add("--base_exp", type=Path, required=True, help="A trained ESPnet experiment")
    add("--output_dir", type=Path, required=True, help="The search's folder")
    add("--search", default="greedy", help="greedy (Algorithm 1) or full")
    add("--max_frozen", type=int, help="Freeze at most N layers; default: all but one")
    add("--criterion", default="cer", help="Validation error: cer, wer or ter (tokens)")
    add("--stack", default="auto", help="A shipped layer stack, or a .yaml file")
    add("--retrain_seed", default="own", help="own (base's + 1000 k) or same")
    add("--controls", default="", help="Controls, with commas: joint, warm")
    add("--max_epoch", type=int, help="Of each retraining; default: as the base")
    add = parser.add_argument_group("how it is run").add_argument
    add("--max_jobs", type=int, default=1, help="Trainings at the same time")
    add("--cmd", default="", help="Launcher and its options, e.g. 'slurm.pl --mem 4G'")
    add("--cmd_backend", default="local", help="local, slurm or sge, if no --cmd")
    add("--trainer", default="espnet_topdown.bin.asr_train", help="Training module")
    for name, what in (
        ("unfinished", "a base model that was not trained to its end"),
        ("pipes", "commands in wav.scp"),
        ("overlap", "utterances in both the training and the validation set"),
    ):
        add(f"--allow_{name}", type=true_or_false, default=False, help=f"Allow {what}")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run or continue the search."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.driver import run_search
    from espnet_topdown.request import SearchRequest

    options = vars(args)
    options["strategy"] = options.pop("search")
    options["controls"] = tuple(c for c in options["controls"].split(",") if c)
    result = run_search(SearchRequest(**options))
    print(f"best: {args.output_dir / result['best']} ({result['reason']})")


if __name__ == "__main__":
    main()
