"""Decode and score"""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_topdown.cli.look import FIX_EVAL_DROPOUT
from espnet_topdown.cli.parser import flag, option, place, verb

NLSYMS = option("--nlsyms", type=Path, help="Symbols not scored, one a line")


@verb(
    place("DIR", "--exp", help="An ESPnet experiment, or the folder of a search"),
    option("--data", type=Path, nargs="+", default=[], help="Data directories: sets"),
    option("--wav_scp", type=Path, help="Audio to decode, instead of --data"),
    option("--text", type=Path, help="Its references; with them, score"),
    option("--utt2spk", type=Path, help="Speakers; default: beside --text"),
    option("--output_dir", type=Path, help="Default: in DIR, by the name of the set"),
    option(
        "--model_file",
        "--base_model",
        default="best",
        help="Of an experiment: best, an epoch number, a file name in it, or a path",
    ),
    option(
        "--models",
        default="best",
        choices=("best", "all"),
        help="Of a search: best (joint training, the best one, controls) or all",
    ),
    option(
        "--batch_seconds",
        type=float,
        default=120.0,
        help="Seconds of speech, padding included, that are decoded at once",
    ),
    option("--ngpu", type=int, default=0, choices=(0, 1), help="1: on the GPU"),
    flag("--accept_random", "Decode a model that is random at test time, with a seed"),
    FIX_EVAL_DROPOUT,
)
def decode(args: argparse.Namespace) -> None:
    """Recognise sets by greedy CTC decoding in batches; with references, score them.

    With the folder of a search it decodes with joint training and the best model, and
    writes the report again.

    Example:
        espnet-topdown decode exp/asr_train_raw_en_char_topdown --data dump/raw/test
    """
    from espnet_topdown.cli import installation

    installation.check()
    from espnet_topdown.cli.decoding import decode_sets

    for line in decode_sets(**vars(args)):
        print(line, flush=True)


@verb(
    option("--ref", type=Path, required=True, help="Text that was said"),
    option("--hyp", type=Path, required=True, help="Text recognised"),
    option("--unit", default="wer", choices=("cer", "wer"), help="cer or wer"),
    NLSYMS,
    option("--utt2spk", type=Path, help="Speakers; default: beside --ref"),
    option(
        "--output_dir", type=Path, help="Gets counts.tsv, ref.trn, hyp.trn, result.txt"
    ),
    option(
        "--bootstrap_against",
        type=Path,
        help="Hypotheses of another system: is the difference chance?",
    ),
    option("--seed", type=int, default=0, help="Of the bootstrap"),
)
def score(args: argparse.Namespace) -> None:
    """Count errors as sclite counts them, and print the rates.

    Example:
        espnet-topdown score --ref data/test/text --hyp decode/text --unit cer
    """
    from espnet_topdown.scoring.score import score_files

    print(score_files(**vars(args)))


@verb(
    option("--ref", type=Path, required=True, help="Text that was said"),
    option("--decode_dir", type=Path, required=True, help="Holds text"),
    option("--decoder", default="beam", help="Its name in the report"),
    option("--model_file", type=Path, required=True, help="Weights used"),
    NLSYMS,
)
def score_set(args: argparse.Namespace) -> None:
    """Write score.json, the error counts of a set that another decoder decoded.

    Example:
        espnet-topdown score_set --ref text --decode_dir d --model_file m.pth
    """
    from espnet_topdown.scoring.score import score_set as write_score

    write_score(**vars(args))


@verb(
    place("EXP", "--exp", help="The language model's experiment"),
    option("--text", type=Path, required=True, help="A sentence a line"),
    option("--output_dir", type=Path, required=True, help="Gets score.json"),
    option(
        "--model_file",
        "--base_model",
        default="best",
        help="best, an epoch, or a file in EXP",
    ),
    option("--width", type=int, default=1, help="Columns that the text is read in"),
    option("--ngpu", type=int, default=0, help="1: on the GPU"),
)
def perplexity(args: argparse.Namespace) -> None:
    """Perplexity of a text under a language model, the hidden state carried along.

    Example:
        espnet-topdown perplexity exp/lm --text data/test.txt --output_dir decode
    """
    from espnet_topdown.trainer.fast.threads import do_not_spin

    do_not_spin()
    from espnet_topdown.scoring.perplexity import score_experiment

    print(score_experiment(**vars(args)))


@verb(
    place("EXP", "--exp", help="An ESPnet experiment"),
    option("--n", type=int, default=10, help="How many epochs, by its own criterion"),
)
def average(args: argparse.Namespace) -> None:
    """Write the mean of an experiment's best epochs and print the file's name.

    Example:
        espnet-topdown average exp/asr_train_raw_en_bpe2000 --n 10
    """
    from espnet_topdown.models.averaging import average_best

    print(average_best(args.exp, args.n).name)
