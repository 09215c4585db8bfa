"""python -m espnet_topdown.bin.filter_data --data_dir dump/raw/org/dev --output_dir D

Stage 4: leaves out utterances that are too short, too long or have no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command


def get_parser() -> Parser:
    """Options of this command."""
    parser = Parser(description="Keep utterances of usable length that have text.")
    parser.add_argument("--data_dir", type=Path, required=True, help="from stage 3")
    parser.add_argument("--output_dir", type=Path, required=True, help="to be made")
    parser.add_argument("--fs", default="16k", help="sample rate, e.g. 8k or 8000")
    parser.add_argument(
        "--min_wav_duration", type=float, default=0.1, help="seconds; longer is kept"
    )
    parser.add_argument(
        "--max_wav_duration", type=float, default=20.0, help="seconds; shorter is kept"
    )
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.data.format import filter_dir

    filter_dir(**vars(args))


if __name__ == "__main__":
    main()
