"""python -m espnet_topdown.bin.validate_data --fs 8k --train dump/train --dev dump/dev

Checks sets before anything is trained on them: lists, audio, transcripts, tokens,
and that the sets do not overlap. Prints one line a set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false


def get_parser() -> Parser:
    """Options of this command."""
    parser = Parser(description="Check the data of a recipe.")
    parser.add_argument("--train", type=Path, help="data directory")
    parser.add_argument("--dev", type=Path, help="data directory")
    parser.add_argument("--test", type=Path, nargs="*", default=[], help="any number")
    parser.add_argument("--fs", default="16k", help="sample rate, e.g. 8k or 8000")
    parser.add_argument("--stats_dir", type=Path, help="with the shapes of stage 10")
    parser.add_argument("--token_list", type=Path, help="tokens.txt")
    for name, meaning in (
        ("token_type", "char, word, bpe, phn, or another of ESPnet's [char]"),
        ("bpemodel", "of bpe tokens"),
        ("cleaner", "ESPnet's text cleaner"),
        ("g2p", "ESPnet's grapheme to phoneme, of phn tokens"),
        ("non_linguistic_symbols", "file of symbols that are one token each"),
    ):
        parser.add_argument(f"--{name}", help=f"as in training: {meaning}")
    parser.add_argument(
        "--full", type=true_or_false, help="read every sample; default: below 2 hours"
    )
    parser.add_argument("--hop_length", type=int, default=128, help="samples a frame")
    parser.add_argument(
        "--subsampling", type=int, default=0, help="of the encoder; 0: no CTC check"
    )
    parser.add_argument(
        "--min_samples", type=int, default=1, help="that the encoder needs"
    )
    for name, meaning in (
        ("allow_pipes", "wav.scp may hold commands; they are not run here"),
        ("allow_overlap", "sets may share utterances or recordings"),
        ("check_speakers", "sets must not share speakers"),
    ):
        parser.add_argument(
            f"--{name}", type=true_or_false, default=False, help=f"true: {meaning}"
        )
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = vars(get_parser().parse_args(cmd))
    from espnet_topdown.data.tokens import read_token_list
    from espnet_topdown.data.validate import validate_sets
    from espnet_topdown.models.text import OPTIONS, TextReader

    tokens = options.pop("token_list")
    text = {name: options.pop(name) for name in OPTIONS}
    text["token_list"] = read_token_list(tokens) if tokens else None
    reader = TextReader.of(text, "validate_data")
    validate_sets(cut=reader.tokens, token_list=reader.token_list, **options)


if __name__ == "__main__":
    main()
