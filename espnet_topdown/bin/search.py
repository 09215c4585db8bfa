"""espnet-topdown search --base_exp EXP --output_dir EXP_topdown --search greedy

Top-down training from an ESPnet experiment. The same command continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.bin.retrain import REINIT, add_base, add_fix
from espnet_topdown.cli import installation
from espnet_topdown.cli.parser import Parser, numbers, whole
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false
from espnet_topdown.search.strategies import CONTROLS


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet-topdown search", description=__doc__)
    add = parser.add_argument_group("what is searched").add_argument
    add_base(add)
    add("--output_dir", type=Path, required=True, help="The search's folder")
    add(
        "--search",
        default="greedy",
        help="greedy (Algorithm 1), full (all compositions), beam, epoch (classifiers "
        "of --epochs) or layers_x_epochs",
    )
    add("--epochs", type=numbers, default=(), help="Of joint training, as 20,40,60")
    add("--width", type=int, default=2, help="Of the beam: models that go on")
    add("--budget", type=int, default=0, help="Retrainings at most; 0: no limit")
    add("--steps", type=numbers, default=(), help="Freeze only so many layers: 1,4,8")
    add("--max_frozen", type=int, help="Freeze at most N layers; default: all but one")
    add(
        "--criterion",
        default="auto",
        help="Validation error: cer, wer, ter (tokens), or ppl of a language model; "
        "auto: the first of these that the model has",
    )
    add("--stack", default="auto", help="A shipped layer stack, or a .yaml file")
    add("--retrain_seed", default="own", help="own (base's + 1000 k) or same")
    add("--controls", default="", help=f"none, or with commas: {', '.join(CONTROLS)}")
    add("--max_epoch", type=int, help="Of each retraining; default: as the base")
    add = parser.add_argument_group("not in the paper").add_argument
    add_fix(add)
    add("--reinit", default="full", help=REINIT)
    add = parser.add_argument_group("how it is run").add_argument
    add("--max_jobs_total", type=int, default=32, help="More trainings need --yes true")
    add("--yes", type=true_or_false, default=False, help="Go beyond --max_jobs_total")
    add("--max_jobs", type=int, default=1, help="Trainings at the same time")
    add("--ngpu", type=whole, help="GPUs of each; default: as the base experiment")
    add("--cmd", default="", help="Launcher and its options, e.g. 'slurm.pl --mem 4G'")
    add("--cmd_backend", default="local", help="local, slurm or sge, if no --cmd")
    add("--trainer", default="auto", help="Training module; auto: the stack's")
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
    installation.check()
    from espnet_topdown.search.driver import run_search
    from espnet_topdown.search.request import SearchRequest

    options = vars(args)
    options["strategy"] = options.pop("search")
    given = options["controls"] if options["controls"] != "none" else ""
    options["controls"] = tuple(c for c in given.split(",") if c)
    result = run_search(SearchRequest(**options))
    print(f"best: {args.output_dir / result['best']} ({result['reason']})")


if __name__ == "__main__":
    main()
