"""python -m espnet_topdown.bin.prompts --lang es --output_dir data

Fetches Asterisk's telephone prompts (real recordings, Creative Commons) and writes
data/{train,dev,test}/{wav.scp,text,utt2spk,spk2utt}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false


def get_parser() -> Parser:
    """Options of this command."""
    parser = Parser(description="Prepare the telephone prompts of one language.")
    parser.add_argument("--lang", default="es", help="en, es, fr, it or ru")
    parser.add_argument(
        "--downloads", type=Path, default="downloads", help="folder for the archives"
    )
    parser.add_argument(
        "--output_dir", type=Path, default="data", help="where the sets are written"
    )
    parser.add_argument(
        "--source",
        choices=["auto", "local", "apt", "http"],
        default="auto",
        help="archives in --downloads, Debian packages, upstream's site; auto: in turn",
    )
    parser.add_argument("--url", help="folder of the upstream archives")
    parser.add_argument(
        "--fold_accents",
        type=true_or_false,
        default=False,
        help="true: write vowels without accents (the Spanish transcripts mix both)",
    )
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.data.prompts import prepare

    prepare(**vars(args))


if __name__ == "__main__":
    main()
