"""python -m espnet_topdown.bin.token_list --text dump/raw/org/train/text --output_dir D

Stage 5 for subwords: trains a sentencepiece model and writes tokens.txt beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli import Parser, command


def get_parser() -> Parser:
    """Options of this command."""
    parser = Parser(description="Train a subword model and write its token list.")
    parser.add_argument(
        "--text", type=Path, nargs="+", required=True, help="lists 'utt words...'"
    )
    parser.add_argument("--output_dir", type=Path, required=True, help="to be made")
    parser.add_argument("--nbpe", type=int, default=30, help="tokens in all")
    parser.add_argument("--bpemode", default="unigram", choices=["unigram", "bpe"])
    parser.add_argument(
        "--bpe_char_cover", type=float, default=1.0, help="share of characters kept"
    )
    parser.add_argument(
        "--bpe_input_sentence_size", type=int, default=100_000_000, help="lines used"
    )
    parser.add_argument(
        "--bpe_nlsyms", default="", help="symbols kept whole, comma between"
    )
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.data.tokens import train_bpe

    train_bpe(
        args.text,
        args.output_dir,
        args.nbpe,
        args.bpemode,
        args.bpe_char_cover,
        args.bpe_input_sentence_size,
        [symbol for symbol in args.bpe_nlsyms.split(",") if symbol],
    )


if __name__ == "__main__":
    main()
