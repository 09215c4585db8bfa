"""The integer error counts of a decoded set, for decoders that do not count."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.files import write_json
from espnet_topdown.scoring.record import record
from espnet_topdown.scoring.units import UNITS, check_same_utterances, read_nlsyms


def score_set(
    ref: Path,
    decode_dir: Path,
    decoder: str,
    model_file: Path,
    nlsyms: Path | None = None,
) -> dict[str, Any]:
    """Write ``score.json`` beside ``text``, as greedy decoding does.

    Args:
        ref: ``text`` with what was said.
        decode_dir: Holds ``text`` with what was recognised; its name is the set's.
        decoder: What made it, for the report.
        model_file: Weights that it was made with.
        nlsyms: Symbols that are not scored, one a line.

    Raises:
        TopDownError: E_UTT_SETS when an utterance is missing or too many.
    """
    hyp = Path(decode_dir) / "text"
    said, text = read_pairs(ref), read_pairs(hyp)
    check_same_utterances(said, text, (str(ref), str(hyp)))
    symbols = read_nlsyms(nlsyms)
    units = {u: functools.partial(cut, nlsyms=symbols) for u, cut in UNITS.items()}
    score = {
        "schema": 1,
        "set": Path(decode_dir).name,
        "decoder": decoder,
        "model_file": Path(model_file).name,
        "epoch": None,
        **record(said, text, units),
        "seconds": None,
        "infeasible": 0,
    }
    write_json(Path(decode_dir) / "score.json", score)
    return score
