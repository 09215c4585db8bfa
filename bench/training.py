"""Training steps (forward and backward): ESPnet's own modules beside ours."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Set
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from harness import Pair
from torch import nn

CONF = Path(__file__).parents[1] / "egs2" / "swbd_topdown" / "asr1" / "conf"
FS = 16000
Batch = dict[str, torch.Tensor]


def _batch(n: int, seconds: tuple[float, float], words: int, rate: float) -> Batch:
    """Noise of random lengths, longest first, and ``rate`` random units a second."""
    length = torch.empty(n).uniform_(*seconds).sort(descending=True)[0]
    samples, units = (length * FS).long(), (length * rate).long().clamp(min=1)
    speech = 0.1 * torch.randn(n, int(samples[0]))
    text = torch.randint(2, words - 1, (n, int(units[0])))
    for i in range(n):
        speech[i, samples[i] :] = 0.0
        text[i, units[i] :] = -1
    return dict(speech=speech, speech_lengths=samples, text=text, text_lengths=units)


def _step(model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    """The loss and the gradients of one step."""
    model.zero_grad(set_to_none=True)
    loss = model(**{k: v.clone() for k, v in batch.items()})[0]
    loss.backward()
    if loss.is_cuda:
        torch.cuda.synchronize()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **{n: g.clone() for n, g in grads.items()}}


def _same(tolerance: float, old: Any, new: Any) -> None:
    """Each tensor's largest difference, relative to the size of the tensor.

    Where the exact gradient is zero (the bias before the attention's softmax) there is
    rounding only; so the size counts as at least 1e-4 of the largest gradient.
    """
    least = 1e-4 * max(float(x.abs().max()) for x in old.values())
    for name, x in old.items():
        off = float((x - new[name]).abs().max()) / max(float(x.abs().max()), least)
        if not off <= (1e-4 if name == "loss" else tolerance):
            raise SystemExit(f"{name} differs by {off:.1e}")


def _pairs(
    stock: nn.Module, ours: nn.Module, batches: list[Batch], device: str, tolerance: Any
) -> Iterator[Pair]:
    stock, ours = stock.to(device).train(), ours.to(device).train()
    for batch in batches:
        here = {k: v.to(device) for k, v in batch.items()}
        yield Pair(
            partial(_step, stock, here),
            partial(_step, ours, here),
            None if tolerance is None else partial(_same, tolerance),
        )


def frozen(inner: str, stack: str, **sizes: Any) -> Iterator[Pair]:
    """The joint step beside one with 1, 2, ... top layers frozen, of all but one.

    Both are ours. ``sizes`` are those of the work ``inner``; its first batch is taken.
    """
    from espnet_topdown.models.layers import load_stack
    from espnet_topdown.trainer.fast.process import keep_memory

    keep_memory()
    model, batch = next(globals()[inner](**sizes)).ours.args
    held: set[str] = set()
    for layer in load_stack(stack).bind(model.state_dict()).groups[:-1]:
        held.update(layer.params)
        yield Pair(
            partial(_held_step, set(), model, batch),
            partial(_held_step, set(held), model, batch),
            partial(_same_where_trained, set(held)),
        )


def _held_step(
    held: Set[str], model: nn.Module, batch: Batch
) -> dict[str, torch.Tensor]:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in held)
    torch.manual_seed(0)  # the same dropout
    return _step(model, batch)


def _same_where_trained(held: Set[str], old: Any, new: Any) -> None:
    if new.keys() != old.keys() - held:
        raise SystemExit("a frozen layer has gradients, or a trained one has none")
    _same(1e-5, {name: old[name] for name in new}, new)


def lstm(
    ctc_weight: float, batches: int, n: int, seconds: Any, cells: int, device: str
) -> Iterator[Pair]:
    """The paper's model: 4 BLSTM layers with projections, 80 log-mel features."""
    from espnet2.tasks.asr import ASRTask

    from espnet_topdown.trainer.fast import cpu

    args = ASRTask.get_parser().parse_args(["--output_dir", "unused"])
    args.token_list = ["<blank>", "<unk>", *(f"u{i}" for i in range(48)), "<sos/eos>"]
    args.encoder, args.decoder = "rnn", "rnn"
    args.encoder_conf = {"num_layers": 4, "hidden_size": cells, "output_size": cells}
    attention = {"atype": "location", "adim": cells}
    attention.update(aconv_chans=10, aconv_filts=100)
    args.decoder_conf = {"num_layers": 1, "hidden_size": cells, "att_conf": attention}
    args.model_conf = {"ctc_weight": ctc_weight}
    args.model_conf.update(report_cer=False, report_wer=False)
    stock = ASRTask.build_model(args)
    ours = copy.deepcopy(stock)
    cpu.install(ours)
    found = [_batch(n, seconds, len(args.token_list), 12) for _ in range(batches)]
    yield from _pairs(stock, ours, found, device, tolerance=2e-5)


def transformer(
    n: int, seconds: Any, blocks: tuple[int, int], device: str, recipe: bool = False
) -> Iterator[Pair]:
    """Row W of SWBD, ESPnet's own attention beside torch's fused kernel.

    SpecAugment and dropout are off, as their draws would differ, but for ``recipe``:
    it has them, clips and lets the optimizer step.
    """
    from espnet_topdown.trainer.fast import sdpa
    from espnet_topdown.trainer.task import TopDownASRTask

    words = ["--config", str(CONF / "train_asr_transformer.yaml"), "--token_type"]
    words += ["word", "--frontend_conf", f"fs={FS}", "--output_dir", "unused"]
    args = TopDownASRTask.get_parser().parse_args(words)
    args.token_list = ["<blank>", "<unk>", *map(str, range(1997)), "<sos/eos>"]
    args.sdpa = False
    for conf, count in zip((args.encoder_conf, args.decoder_conf), blocks):
        conf.update(num_blocks=count)
        if not recipe:
            conf.update({k: 0.0 for k in conf if k.endswith("dropout_rate")})
            conf.update(dropout_rate=0.0, positional_dropout_rate=0.0)
            args.specaug = None
    stock = TopDownASRTask.build_model(args)
    ours = copy.deepcopy(stock)
    sdpa.install(ours)
    found = [_batch(n, seconds, len(args.token_list), 4.4)]
    pairs = _pairs(stock, ours, found, device, tolerance=1e-2)
    for pair in pairs:
        yield Pair(_Update(pair.stock), _Update(pair.ours)) if recipe else pair


class _Update:
    """A whole step: also clips and updates."""

    def __init__(self, step: Any) -> None:
        self.model, self.batch = step.args
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-5)

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.model(**{k: v.clone() for k, v in self.batch.items()})[0].backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()


class _Dropped(nn.Module):
    """nn.LSTM whose recurrent weight is a buffer, made anew from a raw parameter."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(width_in, width)
        self.raw = nn.Parameter(self.rnn.weight_hh_l0.detach().clone())
        del self.rnn._parameters["weight_hh_l0"]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.rnn.weight_hh_l0 = F.dropout(self.raw, 0.5, self.training)
        return self.rnn(x)[0]


class _Reference(nn.Module):
    """AWD-LSTM as its authors write it, in today's PyTorch; the same loss."""

    def __init__(self, words: int, emb: int, hidden: int) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(words, emb), nn.Linear(emb, words)
        self.out.weight = self.embed.weight
        sizes = [emb, hidden, hidden, emb]
        self.rnns = nn.ModuleList(map(_Dropped, sizes, sizes[1:]))

    def forward(self, text, target, **_):  # type: ignore[no-untyped-def]
        weight = self.embed.weight
        mask = weight.new_empty(len(weight), 1).bernoulli_(0.9) / 0.9
        x = F.embedding(text.t(), mask.expand_as(weight) * weight)
        for rate, rnn in zip((0.65, 0.2, 0.2), self.rnns):
            x = rnn(self._locked(x, rate))
        dropped = self._locked(x, 0.4)
        scores = self.out(dropped.flatten(0, 1))
        loss = F.cross_entropy(scores, target.t().reshape(-1))
        return [loss + 2 * dropped.pow(2).mean() + (x[1:] - x[:-1]).pow(2).mean()]

    @staticmethod
    def _locked(x: torch.Tensor, rate: float) -> torch.Tensor:
        """Dropout with one mask for all steps."""
        return x * x.new_empty(1, *x.shape[1:]).bernoulli_(1 - rate) / (1 - rate)


def awd_lstm(
    words: int, emb: int, hidden: int, columns: int, steps: int, device: str
) -> Iterator[Pair]:
    """A language model beside the authors' formulation; dropout draws differ."""
    from espnet_topdown.trainer.awd_lstm import AWDLSTM, ContinuousLanguageModel

    text = torch.randint(words, (columns, steps + 1))
    lengths = torch.full((columns,), steps)
    batch = dict(text=text[:, :-1], text_lengths=lengths, target=text[:, 1:])
    batch |= dict(reset=torch.tensor(True), lr_scale=torch.tensor(1.0))
    ours = ContinuousLanguageModel(AWDLSTM(words, emb, hidden), words)
    stock = _Reference(words, emb, hidden)
    yield from _pairs(stock, ours, [batch], device, tolerance=None)
