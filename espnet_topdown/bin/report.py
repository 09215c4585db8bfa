"""espnet-topdown report --search_dir exp/asr_x_topdown: tables, figures, a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> Parser:
    """The options."""
    parser = Parser(
        prog="espnet-topdown report",
        description="Write RESULTS.md, report.html and figures/ of a search, "
        "finished or not, and print the tables.",
    )
    parser.add_argument(
        "--search_dir",
        type=Path,
        required=True,
        help="folder that 'espnet-topdown search' wrote",
    )
    parser.add_argument(
        "--output_dir",
        type=Path,
        default=None,
        help="where to write; None is the search folder itself",
    )
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Write the report and print it."""
    from espnet_topdown.report.write import write_report

    args = get_parser().parse_args(cmd)
    print(write_report(args.search_dir, args.output_dir))


if __name__ == "__main__":
    main()
