"""Greedy decoding in batches: by CTC, or by the attention decoder of other models.

CTC takes the best token of every frame. An attention decoder lets the best token
follow every token until ``<sos/eos>``, as beam search with a beam of one finds it
(``espnet2.bin.asr_inference --beam_size 1 --ctc_weight 0``).

Shapes: B utterances, T frames, D features, L tokens so far, V tokens known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from espnet_topdown.errors import INTERNAL, TopDownError
from espnet_topdown.scoring._encode import Sound, encoded_batches

Step = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Hypothesis:
    """What was recognised.

    Attributes:
        utt: Utterance id.
        token_ids: Without blanks.
        n_frames: How many frames the encoder gave.
    """

    utt: str
    token_ids: list[int]
    n_frames: int


def greedy_decoder(model: Any) -> str:
    """Return ``ctc_greedy``, or ``attention_greedy`` for a model without CTC.

    Args:
        model: An ``ESPnetASRModel``.

    Raises:
        TopDownError: E_NO_CTC (78) when it has neither CTC nor a decoder that works
            token by token.
    """
    if getattr(model, "ctc", None) is not None:
        return "ctc_greedy"
    transducer = getattr(model, "use_transducer_decoder", False)
    if getattr(model, "decoder", None) is not None and not transducer:
        return "attention_greedy"
    what = "the model has neither a CTC layer nor an attention decoder"
    raise TopDownError("E_NO_CTC", what, "train it with a ctc_weight above 0")


def greedy(
    model: Any, utterances: Iterable[Sound], **options: Any
) -> Iterator[Hypothesis]:
    """Recognise utterances.

    Args:
        model: An ``ESPnetASRModel``; it is put in eval mode.
        utterances: Pairs of id and samples, shape (n_samples,). They may come back in
            another order.
        **options: ``batch_seconds`` is the length of a batch, padding included (120):
            it changes the speed and the memory needed, not the result; ``fs`` is the
            sample rate in Hz; ``accept_random`` decodes a model that gives another
            result every time, from a fixed seed and with a warning.

    Yields:
        One hypothesis an utterance.

    Raises:
        TopDownError: E_NO_CTC or E_EVAL_RANDOM (78), E_WAV_SHORT (65),
            E_OUTPUT_NONFINITE (70).
    """
    by_ctc = greedy_decoder(model) == "ctc_greedy"
    search = _best_path if by_ctc else _best_tokens
    for utts, encoded, frames in encoded_batches(model, utterances, **options):
        with torch.inference_mode():
            tokens = search(model, utts, encoded, frames)
        yield from map(Hypothesis, utts, tokens, frames)


def _check_finite(utt: str, values: torch.Tensor) -> None:
    if not torch.isfinite(values).all():
        what = f"utt {utt}: the model's output is NaN or infinite"
        do = "check the weights and the audio; train with a smaller step"
        raise TopDownError("E_OUTPUT_NONFINITE", what, do, INTERNAL)


def _best_path(
    model: Any, utts: list[str], encoded: torch.Tensor, frames: list[int]
) -> list[list[int]]:
    logits = model.ctc.ctc_lo(encoded)  # (B, T, V)
    for utt, row, n in zip(utts, logits, frames):
        _check_finite(utt, row[:n])
    best = logits.argmax(-1).cpu().numpy()  # (B, T)
    silent = [model.blank_id, model.sos, model.eos]
    return [_collapse(ids[:n], silent) for ids, n in zip(best, frames)]


def _collapse(ids: np.ndarray, silent: Iterable[int]) -> list[int]:
    """Return the tokens of a best path (T,): no repetitions, no silent ones.

    >>> _collapse(np.array([3, 3, 0, 3, 4, 4]), [0])
    [3, 3, 4]
    """
    first = np.ones(len(ids), dtype=bool)
    first[1:] = ids[1:] != ids[:-1]
    return ids[first & ~np.isin(ids, list(silent))].tolist()


def _best_tokens(
    model: Any, utts: list[str], encoded: torch.Tensor, frames: list[int]
) -> list[list[int]]:
    """Return the best next tokens until the end, at most one for each frame."""
    step = _stepper(model.decoder, encoded, frames)
    tokens = torch.full((len(utts), 1), model.sos, device=encoded.device)
    left = torch.tensor(frames, device=encoded.device)  # tokens that may still come
    while (left > 0).any():
        logits = step(tokens)  # (B, V)
        for i in left.nonzero()[:, 0].tolist():
            _check_finite(utts[i], logits[i])
        best = logits.argmax(-1).masked_fill(left == 0, model.eos)
        left = (left - 1).clamp(min=0).masked_fill(best == model.eos, 0)
        tokens = torch.cat([tokens, best[:, None]], dim=1)
    rows = (row.tolist() for row in tokens[:, 1:])
    return [row[: row.index(model.eos)] if model.eos in row else row for row in rows]


def _stepper(decoder: Any, encoded: torch.Tensor, frames: list[int]) -> Step:
    """Return what gives the scores (B, V) of the token after tokens (B, L).

    A recurrent decoder and a Transformer's keep what they have computed. Any other one
    goes through all tokens again, in the way in which it is trained.
    """
    if hasattr(decoder, "rnn_forward") and getattr(decoder, "num_encs", 1) == 1:
        return _recurrent(decoder, encoded, frames)
    lengths = torch.tensor(frames, device=encoded.device)
    if type(decoder).__name__ == "TransformerDecoder":
        return _cached(decoder, encoded, lengths)

    def step(tokens: torch.Tensor) -> torch.Tensor:
        sizes = lengths.new_full((len(tokens),), tokens.size(1))
        return decoder(encoded, lengths, tokens, sizes)[0][:, -1]

    return step


def _recurrent(decoder: Any, encoded: torch.Tensor, frames: list[int]) -> Step:
    attention = decoder.att_list[0]
    attention.reset()
    z = [decoder.zero_state(encoded) for _ in range(decoder.dlayers)]
    c = [decoder.zero_state(encoded) for _ in range(decoder.dlayers)]
    weights = None

    def step(tokens: torch.Tensor) -> torch.Tensor:
        nonlocal z, c, weights
        context, weights = attention(encoded, frames, z[0], weights)
        inputs = torch.cat([decoder.embed(tokens[:, -1]), context], dim=1)
        z, c = decoder.rnn_forward(inputs, list(z), list(c), z, c)
        residual = decoder.context_residual
        return decoder.output(torch.cat([z[-1], context], -1) if residual else z[-1])

    return step


def _cached(decoder: Any, encoded: torch.Tensor, lengths: torch.Tensor) -> Step:
    positions = torch.arange(encoded.size(1), device=encoded.device)
    seen = (positions < lengths[:, None])[:, None]  # (B, 1, T)
    cache = None

    def step(tokens: torch.Tensor) -> torch.Tensor:
        nonlocal cache
        size = tokens.size(1)
        before = torch.ones(size, size, dtype=torch.bool, device=tokens.device).tril()
        scores, cache = decoder.forward_one_step(
            tokens, before[None], encoded, seen, cache=cache
        )
        return scores

    return step
