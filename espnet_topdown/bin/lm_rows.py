"""espnet-topdown lm_rows --base_exp EXP --output_dir EXP_rows --dev DEV --test TEST

Rows of Table 4 (language model): retrainings, controls and a table of perplexities.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.trainer.fast.threads import do_not_spin


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(prog="espnet-topdown lm_rows", description=__doc__)
    add = parser.add_argument
    add("--base_exp", type=Path, required=True, help="The trained baseline, row L")
    add("--output_dir", type=Path, required=True, help="Gets a folder for each row")
    add("--rows", default="table4", help="Rows, with commas: L.2, table4, controls")
    add("--conf", type=Path, default="conf", help="Folder of rows.yaml")
    add("--dev", type=Path, required=True, help="Validation text")
    add("--test", type=Path, required=True, help="Test text")
    add("--dev_width", type=int, default=10, help="Columns that dev is read in")
    add("--test_width", type=int, default=1, help="Columns that test is read in")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Make the rows; the same command continues."""
    args = get_parser().parse_args(cmd)
    do_not_spin()
    from espnet_topdown.search.rows import Setting, make_rows, read_paper

    texts = {
        "dev": (args.dev, args.dev_width),
        "test": (args.test, args.test_width),
    }
    names = [n for n in args.rows.split(",") if n]
    paper = read_paper("wikitext2", args.conf)
    print(make_rows(paper, names, Setting(args.base_exp, args.output_dir, texts)))


if __name__ == "__main__":
    main()
