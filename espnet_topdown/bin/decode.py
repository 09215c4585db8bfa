"""python -m espnet_topdown.bin.decode --exp exp/asr --wav_scp wav.scp --output_dir d

Recognise a set by greedy CTC decoding in batches; with --text, score it too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.bin.retrain import add_fix
from espnet_topdown.cli import installation
from espnet_topdown.cli.parser import Parser
from espnet_topdown.errors import command
from espnet_topdown.files import true_or_false


def get_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = Parser(description=__doc__, prog="decode")
    parser.add_argument("--exp", type=Path, required=True, help="ESPnet experiment")
    parser.add_argument(
        "--model_file",
        default="best",
        help="best, an epoch number, a file name in --exp, or a path",
    )
    parser.add_argument("--wav_scp", type=Path, required=True, help="Audio to decode")
    parser.add_argument("--text", type=Path, help="References; with them, score")
    parser.add_argument("--utt2spk", type=Path, help="Speakers; default: beside --text")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument(
        "--batch_seconds",
        type=float,
        default=120.0,
        help="Seconds of speech, padding included, that are decoded at once",
    )
    parser.add_argument("--ngpu", type=int, default=0, choices=(0, 1))
    parser.add_argument(
        "--accept_random",
        type=true_or_false,
        default=False,
        help="Decode a model that is random at test time, from a fixed seed",
    )
    add_fix(parser.add_argument)
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Decode."""
    args = get_parser().parse_args(cmd)
    installation.check()
    from espnet_topdown.models.tasks import shown
    from espnet_topdown.scoring.decode import decode_experiment

    if score := decode_experiment(**vars(args)):
        units = [shown(unit, score[unit]) for unit in ("cer", "wer")]
        print(f"{args.text}: {', '.join(units)}")


if __name__ == "__main__":
    main()
