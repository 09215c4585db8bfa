"""Decode and score"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espnet_topdown.cli import installation
from espnet_topdown.cli._look import FIX_EVAL_DROPOUT
from espnet_topdown.cli.parser import flag, option, path, positional, verb

NLSYMS = path("--nlsyms", "Symbols not scored, one a line")
REF = path("--ref", "Text that was said", required=True)
MODELS = "Of a search: best (joint training, the best one, controls) or all"
BATCH_SECONDS = "Seconds of speech, padding included, that are decoded at once"
MODEL_FILE = "Of an experiment: best, an epoch number, a file name in it, or a path"


@verb(
    positional("DIR", "--exp", "An ESPnet experiment, or the folder of a search"),
    path("--data", "Data directories: sets", nargs="+", default=[]),
    path("--wav_scp", "Audio to decode, instead of --data"),
    path("--text", "Its references; with them, score"),
    path("--utt2spk", "Speakers; default: beside --text"),
    path("--output_dir", "Default: in DIR, by the name of the set"),
    option("--model_file --base_model", MODEL_FILE, "best"),
    option("--models", MODELS, "best", choices=("best", "all")),
    option("--batch_seconds", BATCH_SECONDS, 120.0),
    option("--ngpu", "1: on the GPU", 0, choices=(0, 1)),
    flag("--accept_random", "Decode a model that is random at test time, with a seed"),
    FIX_EVAL_DROPOUT,
)
def decode(**options: Any) -> None:
    """Recognise sets by greedy CTC decoding in batches; with references, score them.

    With the folder of a search it decodes with joint training and the best model, and
    writes the report again.

    Example:
        espnet-topdown decode exp/asr_train_raw_en_char_topdown --data dump/raw/test
    """
    installation.check()
    from espnet_topdown.cli._decoding import decode_sets

    for line in decode_sets(**options):
        print(line, flush=True)


@verb(
    REF,
    path("--hyp", "Text recognised", required=True),
    option("--unit", "cer or wer", "wer", choices=("cer", "wer")),
    NLSYMS,
    path("--utt2spk", "Speakers; default: beside --ref"),
    path("--output_dir", "Gets counts.tsv, ref.trn, hyp.trn, result.txt"),
    path("--bootstrap_against", "Text of another system: is the difference chance?"),
    option("--seed", "Of the bootstrap", 0),
)
def score(**options: Any) -> None:
    """Count errors as sclite counts them, and print the rates.

    Example:
        espnet-topdown score --ref data/test/text --hyp decode/text --unit cer
    """
    from espnet_topdown.scoring.score import score_files

    print(score_files(**options))


@verb(
    REF,
    path("--decode_dir", "Holds text", required=True),
    option("--decoder", "Its name in the report", "beam"),
    path("--model_file", "Weights used", required=True),
    NLSYMS,
)
def score_set(**options: Any) -> None:
    """Write score.json, the error counts of a set that another decoder decoded.

    Example:
        espnet-topdown score_set --ref text --decode_dir d --model_file m.pth
    """
    from espnet_topdown.scoring import score

    score.score_set(**options)


@verb(
    positional("EXP", "--exp", "The language model's experiment"),
    path("--text", "A sentence a line", required=True),
    path("--output_dir", "Gets score.json", required=True),
    option("--model_file --base_model", "best, an epoch, or a file in EXP", "best"),
    option("--width", "Columns that the text is read in", 1),
    option("--ngpu", "1: on the GPU", 0, choices=(0, 1)),
)
def perplexity(**options: Any) -> None:
    """Perplexity of a text under a language model, the hidden state carried along.

    Example:
        espnet-topdown perplexity exp/lm --text data/test.txt --output_dir decode
    """
    from espnet_topdown.trainer.fast.process import limit_spinning

    limit_spinning()
    from espnet_topdown.cmd.places import check_gpus
    from espnet_topdown.scoring.perplexity import score_experiment

    check_gpus(options["ngpu"])
    print(score_experiment(**options))


@verb(
    positional("EXP", "--exp", "An ESPnet experiment"),
    option("--n", "How many epochs, by its own criterion", 10),
)
def average(exp: Path, n: int) -> None:
    """Write the mean of an experiment's best epochs and print the file's name.

    Example:
        espnet-topdown average exp/asr_train_raw_en_bpe2000 --n 10
    """
    from espnet_topdown.models.experiment import Experiment

    print(Experiment(exp).average(n).name)
