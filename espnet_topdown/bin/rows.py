"""python -m espnet_topdown.bin.rows --step plan --paper wsj --row A.B

Rows of the paper: what to train for them, and a table of ours beside the paper's.
In a recipe, ``run.sh --row NAME`` does all of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false


def get_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = Parser(description=__doc__, prog="rows")
    add = parser.add_argument
    add("--step", choices=("plan", "model", "table"), required=True)
    add("--paper", required=True, help="A corpus of rows.yaml in --conf")
    add("--row", default="all", help="Rows or groups of rows, with spaces")
    add("--conf", type=Path, default="conf", help="Folder of the configurations")
    add("--set_dirs", type=Path, nargs="*", default=[], help="Test sets to check")
    add("--allow_partial", type=true_or_false, default=False, help="Smaller sets")
    add(
        "--exp", type=Path, help="Of --step model: print the file --row is decoded with"
    )
    add("--rows_dir", type=Path, default="exp/rows", help="Where rows are decoded")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Print a plan, a model file or the table."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.search.rows import check_sets, plan_rows, read_paper

    paper = read_paper(args.paper, args.conf)
    if args.step == "plan":
        plan = plan_rows(paper, args.row.split(), args.conf)
        check_sets(paper, args.set_dirs, args.allow_partial)
        print("\n".join(plan))
    elif args.step == "model":
        from espnet_topdown.models.averaging import model_of

        (row,) = paper.chosen([args.row])
        print(model_of(args.exp, row.average).name)
    else:
        from espnet_topdown.report.paper_rows import write_rows

        print(write_rows(paper, args.rows_dir, args.allow_partial))


if __name__ == "__main__":
    main()
