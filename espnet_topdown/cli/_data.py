"""Data: stages 2 to 10 of a recipe"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espnet_topdown.cli.parser import SHARDS, flag, option, path, positional, verb

OUT = positional("OUT_DIR", "--output_dir", "To be made")
FS = option("--fs", "Sample rate, e.g. 8k or 8000", "16k")
AUDIO = (
    option("--channel", "Which one, from 1, if stereo", type=int),
    flag("--allow_pipes", "Run the commands in wav.scp"),
    *SHARDS,
    flag("--merge", "Only join the shards: write the lists"),
)
INPUT = path("--input", "Lists 'utt words...'", nargs="+", required=True)
SPEEDS = ("0.9", "1.0", "1.1")


@verb(
    positional("DATA_DIR", "--data_dir", "From stage 1"),
    path("--output_dir", "All copies together; default: DATA_DIR_sp"),
    option("--factors", f"Speeds; default: {' '.join(SPEEDS)}", SPEEDS, nargs="+"),
    *AUDIO,
)
def perturb_speed(**options: Any) -> None:
    """Add faster and slower copies to a training set (stage 2).

    Writes DATA_DIR_sp0.9, DATA_DIR_sp1.1 and DATA_DIR_sp, which also holds DATA_DIR.
    ``--job JOB`` makes one shard of the audio under the launcher, then ``--merge``
    writes the lists; without either, all is done here.

    Example:
        espnet-topdown perturb_speed data/train --factors 0.9 1.1
    """
    from espnet_topdown.data.perturb import run_perturb

    run_perturb(**options)


@verb(
    positional("DATA_DIR", "--data_dir", "From stage 1 or 2"),
    OUT,
    FS,
    option("--audio_format", "flac or wav", "flac", choices=("flac", "wav")),
    *AUDIO,
)
def format_wav(**options: Any) -> None:
    """Write the audio of a data directory in one rate and format (stage 3).

    In a recipe, ``--job JOB`` makes one shard under the launcher, then ``--merge``
    joins them; without either, all is done here. Give the same ``--nj`` each time.

    Example:
        espnet-topdown format_wav data/dev dump/raw/org/dev
    """
    from espnet_topdown.data.format import run_format

    run_format(**options)


@verb(
    positional("DATA_DIR", "--data_dir", "From stage 3"),
    OUT,
    FS,
    option("--min_wav_duration", "Longer is kept (s)", 0.1),
    option("--max_wav_duration", "Shorter is kept (s)", 20.0),
)
def filter_data(**options: Any) -> None:
    """Keep the utterances of usable length that have text (stage 4).

    Example:
        espnet-topdown filter_data dump/raw/org/dev dump/raw/dev
    """
    from espnet_topdown.data.format import filter_dir

    filter_dir(**options)


@verb(INPUT, path("--output", "One list, to be made", required=True))
def filter_text(input: list[Path], output: Path) -> None:
    """Join lists of texts, with plain spaces, without empty ones (stage 4).

    Example:
        espnet-topdown filter_text --input dump/raw/train/text --output lm_train.txt
    """
    from espnet_topdown.data.format import filter_texts

    filter_texts(input, output)


@verb(
    INPUT,
    path("--output_dir", "To be made", required=True),
    option("--token_type", "Only bpe", "bpe", choices=("bpe",)),
    option("--vocab_size", "Tokens in all", 30),
    option("--bpemode", "Kind", "unigram", choices=("unigram", "bpe")),
    option("--character_coverage", "Characters kept", 1.0),
    option("--input_sentence_size", "Lines used", 100_000_000),
    option("--nlsyms", "Symbols kept whole: a file, or a,b,c", ""),
    option("--blank", "CTC blank", "<blank>"),
    option("--oov", "Unknown token", "<unk>"),
    option("--sos_eos", "Sentence boundary", "<sos/eos>"),
)
def token_list(**options: Any) -> None:
    """Train a subword model and write its token list (stage 5).

    Example:
        espnet-topdown token_list --input data/train/text --output_dir data/bpe
    """
    from espnet_topdown.data.tokens import train_bpe

    options.pop("token_type")
    options["model_type"] = options.pop("bpemode")
    special = tuple(options.pop(name) for name in ("blank", "oov", "sos_eos"))
    train_bpe(options.pop("input"), **options, special=special)


@verb(
    path("--train", "Data directory"),
    path("--dev", "Data directory"),
    path("--test", "Any number of them", nargs="*", default=[]),
    path("--texts", "Of a language model: lists of sentences", nargs="*", default=[]),
    FS,
    path("--stats_dir", "With the shapes of stage 10"),
    path("--token_list", "tokens.txt"),
    option("--token_type", "As in training: char, word, bpe, phn, or ESPnet's others"),
    option("--bpemodel", "As in training: of bpe tokens"),
    option("--cleaner", "As in training: ESPnet's text cleaner"),
    option("--g2p", "As in training: ESPnet's grapheme to phoneme, of phn tokens"),
    option("--non_linguistic_symbols", "As in training: symbols that are one token"),
    flag("--full", "Read every sample; default: below 2 hours", None),
    option("--hop_length", "Samples a frame", 128),
    option("--subsampling", "Encoder's; 0: no CTC check", 0),
    option("--min_samples", "That the encoder needs", 1),
    flag("--allow_pipes", "Let wav.scp hold commands; they are not run here"),
    flag("--allow_overlap", "Let sets share utterances or recordings"),
    flag("--check_speakers", "Sets must not share speakers"),
)
def validate_data(**options: Any) -> None:
    """Check sets before anything is trained on them (stage 10).

    Lists, audio, transcripts, tokens, and that the sets do not overlap. Prints one line
    a set.

    Example:
        espnet-topdown validate_data --fs 8k --train dump/train --dev dump/dev
    """
    from espnet_topdown.data.audio import parse_rate
    from espnet_topdown.data.tokens import read_token_list
    from espnet_topdown.data.validate import Front, validate_sets
    from espnet_topdown.models.text import OPTIONS, TextReader

    tokens = options.pop("token_list")
    text = {name: options.pop(name) for name in OPTIONS}
    text["token_list"] = read_token_list(tokens) if tokens else None
    reader = TextReader.of(text, "validate_data")
    options["fs"] = parse_rate(options["fs"])
    names = "hop_length", "subsampling", "min_samples"
    options["front"] = Front(*(options.pop(name) for name in names))
    validate_sets(cut=reader.tokens, token_list=reader.token_list, **options)
