"""Greedy decoding in batches by the attention decoder, for models without CTC.

The best token follows every token until ``<sos/eos>``, as beam search with a beam of
one finds it (``espnet2.bin.asr_inference --beam_size 1 --ctc_weight 0``).

Shapes: B utterances, T frames, D features, L tokens so far, V tokens known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

from espnet_topdown.scoring.ctc_greedy import Hypothesis, Sound, check_finite, greedy

Step = Callable[[torch.Tensor], torch.Tensor]


def has_attention(model: torch.nn.Module) -> bool:
    """Whether an ``ESPnetASRModel`` has a decoder that works token by token."""
    transducer = getattr(model, "use_transducer_decoder", False)
    return getattr(model, "decoder", None) is not None and not transducer


def greedy_attention(
    model: torch.nn.Module,
    utterances: Iterable[Sound],
    batch_seconds: float = 120.0,
    fs: int = 16000,
    accept_random: bool = False,
) -> Iterator[Hypothesis]:
    """Take the best next token until the end, at most one for each frame.

    Args:
        model: An ``ESPnetASRModel`` that ``has_attention``.
        utterances: See ``ctc_greedy.greedy``, also for the other arguments.
        batch_seconds: See there.
        fs: See there.
        accept_random: See there.

    Raises:
        TopDownError: Those of ``ctc_greedy.greedy``.
    """
    return greedy(model, utterances, _best_tokens, batch_seconds, fs, accept_random)


def _best_tokens(
    model: torch.nn.Module, utts: list[str], encoded: torch.Tensor, frames: list[int]
) -> list[list[int]]:
    step = _stepper(model.decoder, encoded, frames)
    tokens = torch.full((len(utts), 1), model.sos, device=encoded.device)
    left = torch.tensor(frames, device=encoded.device)  # tokens that may still come
    while (left > 0).any():
        logits = step(tokens)  # (B, V)
        for i in left.nonzero()[:, 0].tolist():
            check_finite(utts[i], logits[i])
        best = logits.argmax(-1).masked_fill(left == 0, model.eos)
        left = (left - 1).clamp(min=0).masked_fill(best == model.eos, 0)
        tokens = torch.cat([tokens, best[:, None]], dim=1)
    rows = (row.tolist() for row in tokens[:, 1:])
    return [row[: row.index(model.eos)] if model.eos in row else row for row in rows]


def _stepper(
    decoder: torch.nn.Module, encoded: torch.Tensor, frames: list[int]
) -> Step:
    """What gives the scores (B, V) of the token after tokens (B, L).

    A recurrent decoder and a Transformer's keep what they have computed. Any other one
    goes through all tokens again, in the way in which it is trained.
    """
    if hasattr(decoder, "rnn_forward") and getattr(decoder, "num_encs", 1) == 1:
        return _recurrent(decoder, encoded, frames)
    if type(decoder).__name__ == "TransformerDecoder":
        return _cached(decoder, encoded, frames)
    lengths = torch.tensor(frames, device=encoded.device)

    def step(tokens: torch.Tensor) -> torch.Tensor:
        sizes = lengths.new_full((len(tokens),), tokens.size(1))
        return decoder(encoded, lengths, tokens, sizes)[0][:, -1]

    return step


def _recurrent(
    decoder: torch.nn.Module, encoded: torch.Tensor, frames: list[int]
) -> Step:
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


def _cached(decoder: torch.nn.Module, encoded: torch.Tensor, frames: list[int]) -> Step:
    lengths = torch.tensor(frames, device=encoded.device)
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
