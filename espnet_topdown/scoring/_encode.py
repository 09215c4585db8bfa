"""The encoder's output of utterances in batches, equal to that of each one alone.

ESPnet gives slightly different numbers to an utterance that is padded to the length
of a longer one: its STFT mirrors the end of the signal, VGG blocks see padding. So
features, normalisation and VGG blocks are computed utterance by utterance; recurrent
layers, which are exact on padded batches and gain most from them, are batched; and
encoders with other convolutions or norms get one utterance at a time.

Shapes: B utterances, T frames, D features.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from espnet_topdown.errors import DATA, TopDownError, warn

Sound = tuple[str, np.ndarray]
Encoded = tuple[list[str], torch.Tensor, list[int]]
_RECURRENT = (torch.nn.RNNBase, torch.nn.Linear)


def encoded_batches(
    model: Any,
    utterances: Iterable[Sound],
    batch_seconds: float = 120.0,
    fs: int = 16000,
    accept_random: bool = False,
) -> Iterator[Encoded]:
    """Encode utterances in batches.

    Args:
        model: An ``ESPnetASRModel``; it is put in eval mode.
        utterances: Pairs of id and samples, shape (n_samples,), see ``batches``. They
            may come back in another order.
        batch_seconds: Length of a batch, padding included. It changes the speed and
            the memory needed, not the result.
        fs: Sample rate in Hz.
        accept_random: Encode with a model that gives another result every time, from
            a fixed seed and with a warning.

    Yields:
        Utterance ids, the encoder's output (B, T, D), the number of frames of each.

    Raises:
        TopDownError: E_EVAL_RANDOM (78) or E_WAV_SHORT (65).
    """
    model.eval()
    most = batch_seconds * fs if pads_exactly(model) else 0.0
    for number, batch in enumerate(batches(utterances, most)):
        if number == 0:
            _check_repeatable(model, batch[-1], accept_random)  # the shortest
        yield [utt for utt, _ in batch], *encode(model, batch)


def batches(utterances: Iterable[Sound], most: float) -> Iterator[list[Sound]]:
    """Batches of at most ``most`` samples with padding, each with the longest first.

    An utterance longer than that is a batch of its own.

    Args:
        utterances: Best in the order of ``read_longest_first``.
        most: Samples of a batch.

    Yields:
        Utterances that are next to each other.

    >>> sounds = [("b", np.zeros(5)), ("a", np.zeros(2)), ("c", np.zeros(3))]
    >>> [[utt for utt, _ in batch] for batch in batches(sounds, 6)]
    [['b'], ['c', 'a']]
    """
    batch: list[Sound] = []
    for sound in utterances:
        longest = max(len(samples) for _, samples in [*batch[:1], sound])
        if batch and (len(batch) + 1) * longest > most:
            yield batch
            batch = []
        batch = sorted([*batch, sound], key=lambda s: (-len(s[1]), s[0]))
    if batch:
        yield batch


def pads_exactly(model: Any) -> bool:
    """Return whether padding leaves the encoder's output as it is.

    True when all parameters belong to recurrent or linear layers, or to VGG blocks,
    which run utterance by utterance here.
    """
    others = (model.preencoder, model.postencoder)
    if model.encoder is None or any(other is not None for other in others):
        return False
    inside = {m for vgg in _vgg_blocks(model) for m in vgg.modules()}
    return all(
        m in inside or isinstance(m, _RECURRENT) or not list(m.parameters(False))
        for m in model.encoder.modules()
    )


def _vgg_blocks(model: Any) -> list[Any]:
    # by name: the class has a different home in each ESPnet release
    return [m for m in model.modules() if type(m).__name__ == "VGG2L"]


@torch.inference_mode()
def encode(model: Any, batch: list[Sound]) -> tuple[torch.Tensor, list[int]]:
    """Encode one batch.

    Args:
        model: An ``ESPnetASRModel`` in eval mode.
        batch: Ids and samples, the longest first.

    Returns:
        The encoder's output (B, T, D) and the number of frames of each utterance.

    Raises:
        TopDownError: E_WAV_SHORT (65).
    """
    feats = [_features(model, utt, samples) for utt, samples in batch]
    lengths = torch.tensor([len(f) for f in feats], device=feats[0].device)
    with _given_features(model), _one_by_one(_vgg_blocks(model)):
        try:
            out, n_frames = model.encode(pad_sequence(feats, batch_first=True), lengths)
        except Exception as e:
            if type(e).__name__ != "TooShortUttError":
                raise
            raise _too_short(*batch[-1]) from None
    return out[0] if isinstance(out, tuple) else out, [int(n) for n in n_frames]


def _features(model: Any, utt: str, samples: np.ndarray) -> torch.Tensor:
    """Return the normalised features (T, D) of one utterance."""
    device = next(model.parameters()).device
    speech = torch.as_tensor(samples, dtype=torch.float32, device=device)[None]
    length = torch.tensor([speech.size(1)], device=device)
    try:
        feats, length = model._extract_feats(speech, length)
    except (RuntimeError, ValueError):
        if len(samples) > 4000:
            raise
        raise _too_short(utt, samples) from None
    if model.normalize is not None:
        feats, length = model.normalize(feats, length)
    return feats[0, : int(length[0])]


def _too_short(utt: str, samples: np.ndarray) -> TopDownError:
    what = f"utt {utt}: {len(samples)} samples are too few for the encoder"
    return TopDownError("E_WAV_SHORT", what, "leave the utterance out", DATA)


@contextlib.contextmanager
def _given_features(model: Any) -> Iterator[None]:
    """Let ``model.encode`` take features that are extracted and normalised."""
    kept = model.frontend, model.normalize
    model.frontend = model.normalize = None
    try:
        yield
    finally:
        model.frontend, model.normalize = kept


@contextlib.contextmanager
def _one_by_one(blocks: list[Any]) -> Iterator[None]:
    """Let these blocks treat every utterance of a batch as if it were alone."""
    for block in blocks:
        block.forward = functools.partial(_run_one_by_one, block)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _run_one_by_one(block, xs, lengths, **kwargs):  # type: ignore[no-untyped-def]
    run = functools.partial(type(block).forward, block, **kwargs)
    outs = [run(x[None, : int(n)], n[None]) for x, n in zip(xs, lengths)]
    frames = [int(out[1][0]) for out in outs]
    return pad_sequence([out[0][0] for out in outs], batch_first=True), frames, None


def _check_repeatable(model: Any, sound: Sound, accept: bool) -> None:
    """Refuse a model that does not give the same numbers twice."""
    first, second = (encode(model, [sound])[0] for _ in range(2))
    # a GPU may add up in another order; dropout moves the numbers by percents
    tolerance = 0.0 if first.device.type == "cpu" else 1e-4 * float(first.abs().max())
    if torch.allclose(first, second, rtol=0.0, atol=tolerance):
        return
    what = (
        "the model gives other numbers every time it is evaluated (ESPnet's projected "
        "RNN encoders apply dropout at test time too)"
    )
    if not accept:
        do = "add --fix_eval_dropout true: td_rnn takes over the trained weights"
        raise TopDownError("E_EVAL_RANDOM", what, do)
    warn("W_EVAL_RANDOM", what + "; decoding from a fixed seed")
    torch.manual_seed(0)
