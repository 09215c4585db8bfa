"""espnet-topdown seeds --search_dirs exp/a_topdown exp/b_topdown --output_dir exp/s"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> Parser:
    """The options."""
    parser = Parser(
        prog="espnet-topdown seeds",
        description="Compare searches that differ in the seed of their joint training: "
        "means, spreads, intervals. Writes RESULTS.md and report.html.",
    )
    parser.add_argument(
        "--search_dirs",
        type=Path,
        nargs="+",
        required=True,
        help="folders that 'espnet-topdown search' wrote, one a seed",
    )
    parser.add_argument("--output_dir", type=Path, required=True, help="where to write")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Write the report and print it."""
    from espnet_topdown.report.seeds_page import write_seeds

    args = get_parser().parse_args(cmd)
    print(write_seeds(args.search_dirs, args.output_dir))


if __name__ == "__main__":
    main()
