"""Stage 5: subword token lists, and what every token list must hold."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.data._characters import normalize_spaces
from espnet_topdown.data.kaldi_dir import read_lines, read_pairs, write_lines
from espnet_topdown.errors import DATA, TopDownError
from espnet_topdown.files import check_output

BLANK, UNK, SOS_EOS = "<blank>", "<unk>", "<sos/eos>"


def read_token_list(path: Path) -> list[str]:
    """The tokens of a file, one a line, as ESPnet reads them.

    Args:
        path: ``tokens.txt``.

    Returns:
        The tokens in their order.

    Raises:
        TopDownError: E_TOKENS (65) for an empty line, which ESPnet cannot read, and
            those of ``read_lines``.
    """
    lines = read_lines(path, as_espnet=True)
    if "" in lines:
        what = f"{path} line {lines.index('') + 1} is empty"
        raise TopDownError("E_TOKENS", what, "delete the line", DATA)
    return [line[0] + line[1:].rstrip() for line in lines]


def frames_needed(units: Sequence[object]) -> int:
    """How many frames of the encoder's output CTC needs to align a reference.

    Args:
        units: Tokens or their numbers.

    Returns:
        One frame for each unit, and one more between two equal ones in a row.

    >>> frames_needed("hello")
    6
    """
    return len(units) + sum(a == b for a, b in zip(units, units[1:]))


def train_bpe(
    texts: Sequence[Path],
    output_dir: Path,
    nlsyms: str = "",
    special: Sequence[str] = (BLANK, UNK, SOS_EOS),
    **options: Any,
) -> list[str]:
    """Train a sentencepiece model on ``text`` files.

    Writes ``train.txt``, ``bpe.model``, ``bpe.vocab`` and ``tokens.txt`` with the
    contents that ESPnet's recipes give them.

    Args:
        texts: Lists ``utt words...``.
        output_dir: To be made, or one that was made so before.
        nlsyms: Symbols that stay whole, a file or separated by commas.
        special: Blank, unknown, sentence boundary.
        options: Of sentencepiece, by its names: ``vocab_size`` (tokens in all), ...

    Returns:
        The tokens.

    Raises:
        TopDownError: E_BPE (65), E_CREATE (73) for a folder of somebody else's, and
            those of ``read_pairs``.
    """
    import sentencepiece

    out = Path(output_dir)
    made = () if (out / "bpe.model").exists() else ("tokens.txt",)
    check_output(out, ("wav.scp", "text", "config.yaml", *made))
    lists = [normalize_spaces(read_pairs(path), path) for path in texts]
    words = [text for pairs in lists for text in pairs.values() if text]
    symbols = read_lines(Path(nlsyms)) if Path(nlsyms).is_file() else nlsyms.split(",")
    options["user_defined_symbols"] = [symbol for symbol in symbols if symbol]
    write_lines(out / "train.txt", words)
    files = {"input": str(out / "train.txt"), "model_prefix": str(out / "bpe")}
    try:
        sentencepiece.SentencePieceTrainer.train(**files, **options, minloglevel=1)
    except (RuntimeError, OSError) as e:
        (out / "train.txt").unlink()
        reason = str(e).strip().rsplit("] ", 1)[-1][-200:]
        what = f"{options['vocab_size']} tokens from {len(words)} lines: {reason}"
        do = "give another --vocab_size (in a recipe: --nbpe)"
        raise TopDownError("E_BPE", what, do, DATA) from None
    pieces = [line.split("\t")[0] for line in read_lines(out / "bpe.vocab")]
    tokens = [*special[:2], *pieces[3:], special[2]]
    write_lines(out / "tokens.txt", tokens)
    logging.info("%s: %d tokens", out / "tokens.txt", len(tokens))
    return tokens
