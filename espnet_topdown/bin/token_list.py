"""python -m espnet_topdown.bin.token_list --input data/train/text --output_dir data/bpe

Stage 5 for subwords: trains a sentencepiece model and writes tokens.txt beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> Parser:
    """Options of this command."""
    parser = Parser(description="Train a subword model and write its token list.")
    parser.add_argument("--token_type", default="bpe", choices=["bpe"])
    parser.add_argument(
        "--input", type=Path, nargs="+", required=True, help="lists 'utt words...'"
    )
    parser.add_argument("--output_dir", type=Path, required=True, help="to be made")
    parser.add_argument("--vocab_size", type=int, default=30, help="tokens in all")
    parser.add_argument("--bpemode", default="unigram", choices=["unigram", "bpe"])
    parser.add_argument(
        "--character_coverage", type=float, default=1.0, help="share of characters kept"
    )
    parser.add_argument(
        "--input_sentence_size", type=int, default=100_000_000, help="lines used"
    )
    parser.add_argument(
        "--nlsyms", default="", help="symbols kept whole: a file, or a,b,c"
    )
    parser.add_argument("--blank", default="<blank>", help="CTC blank")
    parser.add_argument("--oov", default="<unk>", help="unknown token")
    parser.add_argument("--sos_eos", default="<sos/eos>", help="sentence boundary")
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.data.tokens import train_bpe

    train_bpe(
        args.input,
        args.output_dir,
        args.vocab_size,
        args.bpemode,
        args.character_coverage,
        args.input_sentence_size,
        args.nlsyms,
        (args.blank, args.oov, args.sos_eos),
    )


if __name__ == "__main__":
    main()
