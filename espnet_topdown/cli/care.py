"""Report, and care for what is there"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from espnet_topdown.cli.look import SEARCH_DIR
from espnet_topdown.cli.parser import flag, option, place, verb
from espnet_topdown.errors import MISSING


@verb(
    SEARCH_DIR,
    option("--output_dir", type=Path, help="Where to write; default: DIR itself"),
)
def report(args: argparse.Namespace) -> None:
    """Write RESULTS.md, report.html and figures/ of a search, and print the tables.

    Example:
        espnet-topdown report exp/asr_train_raw_en_char_topdown
    """
    from espnet_topdown.report.write import write_report

    print(write_report(args.search_dir, args.output_dir))


@verb(
    place("DIR...", "--search_dirs", nargs="+", help="Folders of searches, one a seed"),
    option("--output_dir", type=Path, required=True, help="Where to write"),
)
def seeds(args: argparse.Namespace) -> None:
    """Compare searches that differ in the seed of their joint training.

    Means, spreads, intervals. Writes RESULTS.md and report.html.

    Example:
        espnet-topdown seeds exp/a_topdown exp/b_topdown --output_dir exp/seeds
    """
    from espnet_topdown.report.write import write_seeds

    print(write_seeds(args.search_dirs, args.output_dir))


@verb(
    SEARCH_DIR,
    option("--keep", default="best", help="best: the best model and those of its path"),
    flag("--yes", "Delete without asking"),
)
def clean(args: argparse.Namespace) -> None:
    """Delete checkpoints and models of all but the best path of a finished search.

    It shows them and asks first; scores, configurations, logs and the report stay.

    Example:
        espnet-topdown clean exp/asr_train_raw_en_char_topdown --keep best
    """
    from espnet_topdown.cli.clean import removable, remove
    from espnet_topdown.cli.status import megabytes

    files = removable(args.search_dir, args.keep)
    for path in files:
        print(f"{megabytes(path.stat().st_size):>12}  {path}")
    freed = megabytes(sum(p.stat().st_size for p in files))
    if not files:
        print("nothing to delete")
    elif args.yes or _agreed(f"delete these {len(files)} files ({freed})? [y/N] "):
        remove(files)
        print(f"deleted {len(files)} files, {freed}")
    else:
        print("nothing was deleted")


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


@verb(SEARCH_DIR)
def du(args: argparse.Namespace) -> None:
    """How much room each model of a search takes.

    Example:
        espnet-topdown du exp/asr_train_raw_en_char_topdown
    """
    from espnet_topdown.cli.status import disk_use, megabytes

    sizes = disk_use(args.search_dir)
    for name, size in [*sizes, ("all", sum(s for _, s in sizes))]:
        print(f"{megabytes(size):>12}  {name}")


@verb(
    SEARCH_DIR,
    flag("--repair", "Set right what can be: links, stray files, a torn journal"),
    flag("--decode", "Decode every model again and compare its errors (minutes)"),
)
def fsck(args: argparse.Namespace) -> None:
    """Check a search folder: journal, digests, frozen tensors, scores, links.

    Never deletes.

    Example:
        espnet-topdown fsck exp/asr_train_raw_en_char_topdown
    """
    from espnet_topdown.cli.fsck import print_report

    print_report(args.search_dir, args.repair, args.decode)


@verb(
    option(
        "--recipe",
        default="all",
        help="One recipe: then what only that recipe needs counts, too",
    ),
    flag("--json", "Output for programs"),
)
def doctor(args: argparse.Namespace) -> None:
    """What is missing on this machine, and the one command that mends each.

    For everything or for one recipe. Exit status 0 if nothing needed is missing, else
    66.

    Example:
        espnet-topdown doctor --recipe prompts
    """
    from espnet_topdown.cli import doctor as machine

    recipes = machine.recipes_of(args.recipe)
    checks = machine.examine(recipes)
    print((machine.to_json if args.json else machine.render)(checks, recipes))
    sys.exit(0 if machine.is_ready(checks, recipes) else MISSING)
