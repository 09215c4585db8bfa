"""python -m espnet_topdown.bin.perturb_speed --data_dir data/train --factors 0.9 1.1

Stage 2: writes data/train_sp0.9, data/train_sp1.1 and data/train_sp, which also
holds data/train. ``--job JOB`` makes one shard of the audio under the launcher, then
``--merge true`` writes the lists; without either, all is done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false


def get_parser() -> Parser:
    """Options of this command."""
    parser = Parser(description="Add faster and slower copies to a training set.")
    parser.add_argument("--data_dir", type=Path, required=True, help="from stage 1")
    parser.add_argument(
        "--output_dir", type=Path, help="all copies together [<data_dir>_sp]"
    )
    parser.add_argument(
        "--factors", nargs="+", default=["0.9", "1.0", "1.1"], help="speeds"
    )
    parser.add_argument("--channel", type=int, help="which one, from 1, if stereo")
    parser.add_argument("--nj", type=int, default=1, help="number of shards")
    parser.add_argument("--job", type=int, help="make only this shard, from 1")
    parser.add_argument(
        "--merge", type=true_or_false, default=False, help="true: only write the lists"
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
    from espnet_topdown.data.perturb import run_perturb

    run_perturb(**vars(args))


if __name__ == "__main__":
    main()
