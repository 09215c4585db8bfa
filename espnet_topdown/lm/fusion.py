"""A trained AWD-LSTM for ESPnet's beam search (shallow fusion).

The recogniser's list of tokens has another order than the language model's, and
``<blank>``; ESPnet wants one list. So the rows of the embedding and of the output bias
are put into the recogniser's order. Tokens that the language model does not know get a
probability of 0 there; all others keep theirs.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_topdown.data.words import END
from espnet_topdown.errors import CREATE, DATA, TopDownError
from espnet_topdown.files import write_yaml
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.weights import save_weights

if TYPE_CHECKING:
    from espnet_topdown.models.weights import Weights

log = logging.getLogger(__name__)
EOS, BLANK = "<sos/eos>", "<blank>"
NEVER = -1e4  # an output bias; e to it is 0 in every precision
FILE = "valid.loss.best.pth"


def places(asr: Sequence[str], lm: Sequence[str]) -> list[int]:
    """For each token of the recogniser, its place in the language model; -1: none.

    >>> places(["<blank>", "b", "a", "<sos/eos>"], ["a", "b", "<eos>"])
    [-1, 1, 0, 2]

    Raises:
        TopDownError: E_TOKENS (65) where nothing fits.
    """
    index = {token: i for i, token in enumerate(lm)}
    found = [index.get(END if token == EOS else token, -1) for token in asr]
    unknown = [t for t, i in zip(asr, found) if i < 0 and t != BLANK]
    known = [t for t, i in zip(asr, found) if i >= 0 and t != EOS]
    if EOS not in asr or not known:
        what = f"of the recogniser's {len(asr)} tokens the language model knows none"
        if known:
            what = f"'{EOS}' is not among the recogniser's tokens"
        do = "train the language model on text cut into the recogniser's tokens"
        raise TopDownError("E_TOKENS", what, do, DATA)
    if unknown:
        log.warning(
            "%d of the recogniser's %d tokens are unknown to the language model and "
            "will never be in a hypothesis, e.g. %s",
            len(unknown),
            len(asr),
            " ".join(unknown[:5]),
        )
    return found


def rearranged(weights: Weights, rows: Sequence[int]) -> Weights:
    """The weights with these rows of the embedding, the output layer and its bias."""
    import torch

    pick = torch.tensor([max(i, 0) for i in rows])
    none = torch.tensor([i < 0 for i in rows])
    found = dict(weights)
    for name in ("lm.embed.weight", "lm.out.weight", "lm.out.bias"):
        value = weights[name][pick]
        value[none] = NEVER if name.endswith("bias") else 0.0
        found[name] = value
    return found


def for_asr(
    exp: Path, asr_exp: Path, output_dir: Path, model_file: str | int = "best"
) -> Path:
    """Write a folder that ``asr_inference`` takes: config.yaml and the weights.

    Args:
        exp: The language model's experiment.
        asr_exp: The recogniser's experiment; only its configuration is read.
        output_dir: Gets ``config.yaml`` and ``valid.loss.best.pth``.
        model_file: best, an epoch, or a file of ``exp``.

    Raises:
        TopDownError: E_TOKENS (65); E_CKPT_KEYS (65) for another kind of model.
    """
    source = Experiment(exp)
    config: dict[str, Any] = dict(source.config)
    if config.get("lm") != "awd_lstm":
        what = f"{exp} is no AWD-LSTM but lm: {config.get('lm')}"
        do = "give ESPnet's own language models to asr_inference as they are"
        raise TopDownError("E_CKPT_KEYS", what, do, DATA)
    tokens = Experiment(asr_exp).token_list
    rows = places(tokens, source.token_list)
    if output_dir.resolve() == Path(exp).resolve():
        what, do = f"{output_dir} is the language model's folder", "choose another"
        raise TopDownError("E_CREATE", what, do, CREATE)
    output_dir.mkdir(parents=True, exist_ok=True)
    save_weights(rearranged(source.weights(model_file), rows), output_dir / FILE)
    write_yaml(output_dir / "config.yaml", {**config, "token_list": list(tokens)})
    return output_dir


def asr_inference_parser() -> argparse.ArgumentParser:
    """ESPnet's parser of ``asr_inference``."""
    from espnet2.bin.asr_inference import get_parser

    return get_parser()


def asr_inference(cmd: Sequence[str] | None = None) -> None:
    """ESPnet's ``asr_inference``, which can read our language models."""
    from espnet2.bin import asr_inference as stock

    from espnet_topdown.trainer.lm_choices import register

    register()
    stock.main(cmd)
