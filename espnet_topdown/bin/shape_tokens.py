"""python -m espnet_topdown.bin.shape_tokens --stats_dir S --token_list tokens.txt

Stage 10: writes {train,valid}/text_shape.<token_type>, which ends every line of
text_shape in the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli import Parser, command


def get_parser() -> Parser:
    """Options of this command."""
    parser = Parser(description="Append the vocabulary size to text shapes.")
    parser.add_argument("--stats_dir", type=Path, required=True, help="from stage 10")
    parser.add_argument("--token_list", type=Path, required=True, help="tokens.txt")
    parser.add_argument("--token_type", default="char", help="end of the file's name")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.data.tokens import write_text_shapes

    write_text_shapes(**vars(args))


if __name__ == "__main__":
    main()
