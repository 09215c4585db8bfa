"""python -m espnet_topdown.bin.doctor --recipe prompts

Says what is missing on this machine, for everything or for one recipe, and the one
command that mends each. Exit status 0 if nothing needed is missing, else 66.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from espnet_topdown.cli import doctor
from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import MISSING, command


def get_parser() -> Parser:
    """Options of this command."""
    parser = Parser(description="Is this machine ready?")
    parser.add_argument(
        "--recipe",
        choices=[*doctor.RECIPES, "all"],
        default="all",
        help="one recipe: then what only that recipe needs counts, too",
    )
    parser.add_argument("--json", action="store_true", help="output for programs")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Print the report."""
    args = get_parser().parse_args(cmd)
    recipes = doctor.RECIPES if args.recipe == "all" else (args.recipe,)
    checks = doctor.examine(recipes)
    print((doctor.to_json if args.json else doctor.render)(checks, recipes))
    sys.exit(0 if doctor.is_ready(checks, recipes) else MISSING)


if __name__ == "__main__":
    main()
