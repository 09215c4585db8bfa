"""Greedy decoding in batches, by CTC, with the result of one utterance at a time.

ESPnet gives slightly different numbers to an utterance that is padded to the length
of a longer one: its STFT mirrors the end of the signal, VGG blocks see padding. So
features, normalisation and VGG blocks are computed utterance by utterance; recurrent
layers, which are exact on padded batches and gain most from them, are batched; and
encoders with other convolutions or norms get one utterance at a time.

Shapes: B utterances, T frames, D features, V tokens.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from espnet_topdown.errors import DATA, INTERNAL, TopDownError, warn

Sound = tuple[str, np.ndarray]
Search = Callable[
    [torch.nn.Module, "list[str]", torch.Tensor, "list[int]"], "list[list[int]]"
]
_WINDOW = 32  # batches' worth of sound that is held in memory to be sorted by length
_RECURRENT = (torch.nn.RNNBase, torch.nn.Linear)


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


def greedy_ctc(
    model: torch.nn.Module,
    utterances: Iterable[Sound],
    batch_seconds: float = 120.0,
    fs: int = 16000,
    accept_random: bool = False,
) -> Iterator[Hypothesis]:
    """Take the best token of every frame, merge repetitions, leave out blanks.

    Args:
        model: An ``ESPnetASRModel`` with a CTC layer; it is put in eval mode.
        utterances: See :func:`greedy`.
        batch_seconds: See :func:`greedy`.
        fs: See :func:`greedy`.
        accept_random: See :func:`greedy`.

    Raises:
        TopDownError: E_NO_CTC, and those of :func:`greedy`.
    """
    if getattr(model, "ctc", None) is None:
        raise TopDownError(
            "E_NO_CTC",
            "the model has neither a CTC layer nor an attention decoder",
            "train it with a ctc_weight above 0",
        )
    return greedy(model, utterances, _best_path, batch_seconds, fs, accept_random)


def greedy(
    model: torch.nn.Module,
    utterances: Iterable[Sound],
    search: Search,
    batch_seconds: float = 120.0,
    fs: int = 16000,
    accept_random: bool = False,
) -> Iterator[Hypothesis]:
    """Encode utterances in batches and find the tokens of each.

    Args:
        model: An ``ESPnetASRModel``; it is put in eval mode.
        utterances: Pairs of id and samples, shape (n_samples,), in any order. They
            come back in another order.
        search: From the model, the utterances' ids, the encoder's output (B, T, D) and
            the number of frames of each to the tokens of each.
        batch_seconds: Length of a batch, padding included. It changes the speed and
            the memory needed, not the result.
        fs: Sample rate in Hz.
        accept_random: Decode a model that gives another result every time, from a
            fixed seed and with a warning.

    Raises:
        TopDownError: E_EVAL_RANDOM, E_WAV_SHORT or E_OUTPUT_NONFINITE.
    """
    model.eval()
    most = batch_seconds * fs if pads_exactly(model) else 0.0
    checked = False
    for batch in batches(utterances, most):
        if not checked:
            _check_repeatable(model, batch[-1], accept_random)  # the shortest
            checked = True
        utts = [utt for utt, _ in batch]
        with torch.inference_mode():
            encoded, frames = encode(model, batch)
            tokens = search(model, utts, encoded, frames)
        yield from map(Hypothesis, utts, tokens, frames)


def batches(utterances: Iterable[Sound], most: float) -> Iterator[list[Sound]]:
    """Batches of at most ``most`` samples with padding, longest utterance first.

    An utterance longer than that is a batch of its own.

    >>> sounds = [("a", np.zeros(2)), ("b", np.zeros(5)), ("c", np.zeros(3))]
    >>> [[utt for utt, _ in batch] for batch in batches(sounds, 6)]
    [['b'], ['c', 'a']]
    """
    for window in _windows(utterances, _WINDOW * most):
        window.sort(key=lambda sound: (-len(sound[1]), sound[0]))
        batch: list[Sound] = []
        for sound in window:
            if batch and (len(batch) + 1) * len(batch[0][1]) > most:
                yield batch
                batch = []
            batch.append(sound)
        yield batch


def _windows(utterances: Iterable[Sound], most: float) -> Iterator[list[Sound]]:
    window: list[Sound] = []
    size = 0
    for sound in utterances:
        window.append(sound)
        size += len(sound[1])
        if size > most:
            yield window
            window, size = [], 0
    if window:
        yield window


def pads_exactly(model: torch.nn.Module) -> bool:
    """Whether padding leaves the encoder's output as it is.

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


def _vgg_blocks(model: torch.nn.Module) -> list[torch.nn.Module]:
    # by name: the class has a different home in each ESPnet release
    return [m for m in model.modules() if type(m).__name__ == "VGG2L"]


def _best_path(
    model: torch.nn.Module, utts: list[str], encoded: torch.Tensor, frames: list[int]
) -> list[list[int]]:
    logits = model.ctc.ctc_lo(encoded)  # (B, T, V)
    for utt, row, n in zip(utts, logits, frames):
        check_finite(utt, row[:n])
    best = logits.argmax(-1).cpu().numpy()  # (B, T)
    silent = [model.blank_id, model.sos, model.eos]
    return [collapse(ids[:n], silent) for ids, n in zip(best, frames)]


def check_finite(utt: str, values: torch.Tensor) -> None:
    """Raise E_OUTPUT_NONFINITE, naming the utterance, for NaN or infinity."""
    if not torch.isfinite(values).all():
        what = f"utt {utt}: the model's output is NaN or infinite"
        do = "check the weights and the audio; train with a smaller step"
        raise TopDownError("E_OUTPUT_NONFINITE", what, do, INTERNAL)


def collapse(ids: np.ndarray, silent: Iterable[int]) -> list[int]:
    """Merge repetitions, then drop blanks (and ``<sos/eos>``, which CTC never learns).

    >>> collapse(np.array([3, 3, 0, 3, 4, 4]), [0])
    [3, 3, 4]
    """
    first = np.ones(len(ids), dtype=bool)
    first[1:] = ids[1:] != ids[:-1]
    return ids[first & ~np.isin(ids, list(silent))].tolist()


def encode(
    model: torch.nn.Module, batch: list[Sound]
) -> tuple[torch.Tensor, list[int]]:
    """The encoder's output (B, T, D) and the number of frames of each utterance."""
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


def _features(model: torch.nn.Module, utt: str, samples: np.ndarray) -> torch.Tensor:
    """Normalised features (T, D) of one utterance."""
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
def _given_features(model: torch.nn.Module) -> Iterator[None]:
    """Let ``model.encode`` take features that are extracted and normalised."""
    kept = model.frontend, model.normalize
    model.frontend = model.normalize = None
    try:
        yield
    finally:
        model.frontend, model.normalize = kept


@contextlib.contextmanager
def _one_by_one(blocks: list[torch.nn.Module]) -> Iterator[None]:
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


@torch.inference_mode()
def _check_repeatable(model: torch.nn.Module, sound: Sound, accept: bool) -> None:
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
