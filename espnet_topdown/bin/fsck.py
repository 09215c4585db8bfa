"""espnet-topdown fsck exp/asr_x_topdown

Check a search folder: journal, digests, frozen tensors, scores, links. Never deletes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false


def get_parser() -> Parser:
    """The options."""
    parser = Parser(prog="espnet-topdown fsck", description=__doc__)
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("folder", nargs="?", type=Path, help="What 'search' wrote")
    which.add_argument("--search_dir", type=Path, help="The same")
    for name, what in (
        ("repair", "Set right what can be: links, stray files, a torn journal"),
        ("decode", "Decode every model again and compare its errors (minutes)"),
    ):
        add(f"--{name}", type=true_or_false, default=False, help=what)
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Check, and say what is wrong."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.cli.fsck import print_report

    print_report(args.folder or args.search_dir, args.repair, args.decode)


if __name__ == "__main__":
    main()
