"""Data: stages 2 to 10 of a recipe"""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_topdown.cli.parser import Option, flag, option, place, verb

PIPES = flag("--allow_pipes", "Run the commands in wav.scp")
CHANNEL = option("--channel", type=int, help="Which one, from 1, if stereo")
FS = option("--fs", default="16k", help="Sample rate, e.g. 8k or 8000")


def _shards(about: str) -> tuple[Option, ...]:
    return (
        option("--nj", type=int, default=1, help="Number of shards"),
        option("--job", type=int, help="Make only this shard, from 1"),
        flag("--merge", about),
    )


@verb(
    place("DATA_DIR", "--data_dir", help="From stage 1"),
    option("--output_dir", type=Path, help="All copies together; default: DATA_DIR_sp"),
    option("--factors", nargs="+", default=["0.9", "1.0", "1.1"], help="Speeds"),
    CHANNEL,
    PIPES,
    *_shards("Only write the lists"),
)
def perturb_speed(args: argparse.Namespace) -> None:
    """Add faster and slower copies to a training set (stage 2).

    Writes DATA_DIR_sp0.9, DATA_DIR_sp1.1 and DATA_DIR_sp, which also holds DATA_DIR.
    ``--job JOB`` makes one shard of the audio under the launcher, then ``--merge``
    writes the lists; without either, all is done here.

    Example:
        espnet-topdown perturb_speed data/train --factors 0.9 1.1
    """
    from espnet_topdown.data.perturb import run_perturb

    run_perturb(**vars(args))


@verb(
    place("DATA_DIR", "--data_dir", help="From stage 1 or 2"),
    place("OUT_DIR", "--output_dir", help="To be made"),
    FS,
    option("--audio_format", default="flac", choices=["flac", "wav"], help="flac, wav"),
    CHANNEL,
    PIPES,
    *_shards("Only join the shards"),
)
def format_wav(args: argparse.Namespace) -> None:
    """Write the audio of a data directory in one rate and format (stage 3).

    In a recipe, ``--job JOB`` makes one shard under the launcher, then ``--merge``
    joins them; without either, all is done here. Give the same ``--nj`` each time.

    Example:
        espnet-topdown format_wav data/dev dump/raw/org/dev
    """
    from espnet_topdown.data.format import run_format

    run_format(**vars(args))


@verb(
    place("DATA_DIR", "--data_dir", help="From stage 3"),
    place("OUT_DIR", "--output_dir", help="To be made"),
    FS,
    option("--min_wav_duration", type=float, default=0.1, help="Longer is kept (s)"),
    option("--max_wav_duration", type=float, default=20.0, help="Shorter is kept (s)"),
)
def filter_data(args: argparse.Namespace) -> None:
    """Keep the utterances of usable length that have text (stage 4).

    Example:
        espnet-topdown filter_data dump/raw/org/dev dump/raw/dev
    """
    from espnet_topdown.data.format import filter_dir

    filter_dir(**vars(args))


@verb(
    option("--input", type=Path, nargs="+", required=True, help="Lists 'utt words...'"),
    option("--output", type=Path, required=True, help="One list, to be made"),
)
def filter_text(args: argparse.Namespace) -> None:
    """Join lists of texts, with plain spaces, without empty ones (stage 4).

    Example:
        espnet-topdown filter_text --input dump/raw/train/text --output lm_train.txt
    """
    from espnet_topdown.data.format import filter_texts

    filter_texts(args.input, args.output)


@verb(
    option("--input", type=Path, nargs="+", required=True, help="Lists 'utt words...'"),
    option("--output_dir", type=Path, required=True, help="To be made"),
    option("--token_type", default="bpe", choices=["bpe"], help="Only bpe"),
    option("--vocab_size", type=int, default=30, help="Tokens in all"),
    option("--bpemode", default="unigram", choices=["unigram", "bpe"], help="Kind"),
    option("--character_coverage", type=float, default=1.0, help="Characters kept"),
    option("--input_sentence_size", type=int, default=100_000_000, help="Lines used"),
    option("--nlsyms", default="", help="Symbols kept whole: a file, or a,b,c"),
    option("--blank", default="<blank>", help="CTC blank"),
    option("--oov", default="<unk>", help="Unknown token"),
    option("--sos_eos", default="<sos/eos>", help="Sentence boundary"),
)
def token_list(args: argparse.Namespace) -> None:
    """Train a subword model and write its token list (stage 5).

    Example:
        espnet-topdown token_list --input data/train/text --output_dir data/bpe
    """
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


@verb(
    option("--train", type=Path, help="Data directory"),
    option("--dev", type=Path, help="Data directory"),
    option("--test", type=Path, nargs="*", default=[], help="Any number of them"),
    FS,
    option("--stats_dir", type=Path, help="With the shapes of stage 10"),
    option("--token_list", type=Path, help="tokens.txt"),
    *(
        option(f"--{name}", help=f"As in training: {about}")
        for name, about in (
            ("token_type", "char, word, bpe, phn, or another of ESPnet's (char)"),
            ("bpemodel", "of bpe tokens"),
            ("cleaner", "ESPnet's text cleaner"),
            ("g2p", "ESPnet's grapheme to phoneme, of phn tokens"),
            ("non_linguistic_symbols", "file of symbols that are one token each"),
        )
    ),
    flag("--full", "Read every sample; default: below 2 hours", default=None),
    option("--hop_length", type=int, default=128, help="Samples a frame"),
    option("--subsampling", type=int, default=0, help="Encoder's; 0: no CTC check"),
    option("--min_samples", type=int, default=1, help="That the encoder needs"),
    flag("--allow_pipes", "Let wav.scp hold commands; they are not run here"),
    flag("--allow_overlap", "Let sets share utterances or recordings"),
    flag("--check_speakers", "Sets must not share speakers"),
)
def validate_data(args: argparse.Namespace) -> None:
    """Check sets before anything is trained on them (stage 10).

    Lists, audio, transcripts, tokens, and that the sets do not overlap. Prints one line
    a set.

    Example:
        espnet-topdown validate_data --fs 8k --train dump/train --dev dump/dev
    """
    from espnet_topdown.data.tokens import read_token_list
    from espnet_topdown.data.validate import validate_sets
    from espnet_topdown.models.text import OPTIONS, TextReader

    options = vars(args)
    tokens = options.pop("token_list")
    text = {name: options.pop(name) for name in OPTIONS}
    text["token_list"] = read_token_list(tokens) if tokens else None
    reader = TextReader.of(text, "validate_data")
    validate_sets(cut=reader.tokens, token_list=reader.token_list, **options)
