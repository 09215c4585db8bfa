"""python -m espnet_topdown.bin.format_wav --data_dir data/dev --output_dir dump/dev

Stage 3: audio files of one rate and format. In a recipe, ``--job JOB`` makes one
shard under the launcher, then ``--merge true`` joins them; without either, all is
done here. Give the same ``--nj`` each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false


def get_parser() -> Parser:
    """Options of this command."""
    parser = Parser(description="Write the audio of a data directory in one format.")
    parser.add_argument("--data_dir", type=Path, required=True, help="from stage 1, 2")
    parser.add_argument("--output_dir", type=Path, required=True, help="to be made")
    parser.add_argument("--fs", default="16k", help="sample rate, e.g. 8k or 8000")
    parser.add_argument("--audio_format", default="flac", choices=["flac", "wav"])
    parser.add_argument("--channel", type=int, help="which one, from 1, if stereo")
    parser.add_argument("--nj", type=int, default=1, help="number of shards")
    parser.add_argument("--job", type=int, help="make only this shard, from 1")
    parser.add_argument(
        "--merge", type=true_or_false, default=False, help="true: only join the shards"
    )
    parser.add_argument(
        "--allow_pipes",
        type=true_or_false,
        default=False,
        help="true: run the commands in wav.scp",
    )
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    from espnet_topdown.data.format import run_format

    run_format(**vars(args))


if __name__ == "__main__":
    main()
