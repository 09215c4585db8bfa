"""Stages 5 and 10: subword token lists, and shapes that end in the vocabulary size."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.data.kaldi_dir import read_lines, read_pairs, write_lines
from espnet_topdown.errors import DATA, TopDownError

BLANK, UNK, SOS_EOS = "<blank>", "<unk>", "<sos/eos>"


def check_tokens(tokens: Sequence[str], where: str) -> None:
    """E_TOKENS unless ``<blank>`` is first and the list is one that ESPnet can use."""
    problem = ""
    if not tokens:
        problem = "is empty"
    elif tokens[0] != BLANK:
        problem = f"starts with '{tokens[0]}', not {BLANK}"
    elif UNK not in tokens or SOS_EOS not in tokens:
        problem = f"lacks {UNK if UNK not in tokens else SOS_EOS}"
    elif len(set(tokens)) != len(tokens):
        twice = next(t for i, t in enumerate(tokens) if t in tokens[:i])
        problem = f"has '{twice}' twice"
    if problem:
        do = "run stage 5 again"
        raise TopDownError("E_TOKENS", f"{where} {problem}", do, DATA)


def train_bpe(
    texts: Sequence[Path],
    output_dir: Path,
    nbpe: int,
    mode: str = "unigram",
    cover: float = 1.0,
    input_sentence_size: int = 100_000_000,
    symbols: Sequence[str] = (),
) -> list[str]:
    """Train a sentencepiece model on ``text`` files; ``nbpe`` tokens in all.

    Writes ``train.txt``, ``bpe.model``, ``bpe.vocab`` and ``tokens.txt`` with the
    contents that ESPnet's recipes give them.
    """
    import sentencepiece

    out = Path(output_dir)
    words = [text for path in texts for text in read_pairs(path).values() if text]
    write_lines(out / "train.txt", words)
    options = {"user_defined_symbols": ",".join(symbols)} if symbols else {}
    try:
        sentencepiece.SentencePieceTrainer.train(
            input=str(out / "train.txt"),
            model_prefix=str(out / "bpe"),
            vocab_size=nbpe,
            model_type=mode,
            character_coverage=cover,
            input_sentence_size=input_sentence_size,
            minloglevel=1,
            **options,
        )
    except (RuntimeError, OSError) as e:
        what = f"{nbpe} tokens from {len(words)} lines: {str(e).strip()[-160:]}"
        raise TopDownError("E_BPE", what, "choose another --nbpe", DATA) from None
    pieces = [line.split("\t")[0] for line in read_lines(out / "bpe.vocab")]
    tokens = [BLANK, UNK, *pieces[3:], SOS_EOS]
    write_lines(out / "tokens.txt", tokens)
    logging.info("%s: %d tokens", out / "tokens.txt", len(tokens))
    return tokens


def write_text_shapes(stats_dir: Path, token_list: Path, token_type: str) -> int:
    """``utt 33`` of ``text_shape`` becomes ``utt 33,22`` for 22 tokens; returns 22."""
    size = len(read_lines(token_list))
    for name in ("train", "valid"):
        folder = Path(stats_dir) / name
        lines = [
            f"{u} {n},{size}" for u, n in read_pairs(folder / "text_shape").items()
        ]
        write_lines(folder / f"text_shape.{token_type}", lines)
    return size
