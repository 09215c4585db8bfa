"""python bench/awd_lstm.py --size small

Tokens a second of a training step of AWD-LSTM, ours against the authors' formulation
in today's PyTorch: a raw weight beside nn.LSTM that is dropped afresh and put in its
place, and word dropout on the whole table. Both take turns; the medians are compared.
On a CPU it is processor time that is measured, so give OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings

import torch
import torch.nn.functional as F
from torch import nn

from espnet_topdown.trainer.awd_lstm import AWDLSTM, ContinuousLanguageModel

SIZES = {  # words, embedding, hidden, columns, steps
    "small": (1450, 64, 96, 16, 30),
    "paper": (33278, 400, 1150, 80, 70),
}


class Dropped(nn.Module):
    """nn.LSTM whose recurrent weight is a buffer, made anew from a raw parameter."""

    def __init__(self, width_in: int, width: int, rate: float) -> None:
        super().__init__()
        self.rnn, self.rate = nn.LSTM(width_in, width), rate
        self.raw = nn.Parameter(self.rnn.weight_hh_l0.detach().clone())
        del self.rnn._parameters["weight_hh_l0"]

    def forward(self, x, hidden):  # type: ignore[no-untyped-def]
        """As nn.LSTM."""
        self.rnn.weight_hh_l0 = F.dropout(self.raw, self.rate, self.training)
        return self.rnn(x, hidden)


class Reference(nn.Module):
    """The same model and loss."""

    def __init__(self, words: int, emb: int, hidden: int) -> None:
        super().__init__()
        sizes = [emb, hidden, hidden, emb]
        self.embed, self.out = nn.Embedding(words, emb), nn.Linear(emb, words)
        self.out.weight = self.embed.weight
        pairs = zip(sizes, sizes[1:])
        self.rnns = nn.ModuleList(Dropped(a, b, 0.5) for a, b in pairs)

    def forward(self, text, target):  # type: ignore[no-untyped-def]
        """The loss."""
        weight = self.embed.weight
        mask = weight.new_empty(len(weight), 1).bernoulli_(0.9) / 0.9
        x = self.locked(F.embedding(text.t(), mask.expand_as(weight) * weight), 0.65)
        for i, rnn in enumerate(self.rnns):
            x = self.locked(x, 0.2) if i else x
            x, _ = rnn(x, None)
        dropped = self.locked(x, 0.4)
        scores = self.out(dropped.flatten(0, 1))
        loss = F.cross_entropy(scores, target.t().reshape(-1))
        return loss + 2 * dropped.pow(2).mean() + (x[1:] - x[:-1]).pow(2).mean()

    @staticmethod
    def locked(x, rate):  # type: ignore[no-untyped-def]
        """Dropout with one mask for all steps."""
        return x * x.new_empty(1, *x.shape[1:]).bernoulli_(1 - rate) / (1 - rate)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    warnings.filterwarnings("error", message=".*non-contiguous.*")
    words, emb, hidden, columns, length = SIZES[args.size]
    torch.manual_seed(0)
    text = torch.randint(words, (columns, length + 1), device=args.device)
    x, y = text[:, :-1], text[:, 1:]
    ours = ContinuousLanguageModel(AWDLSTM(words, emb, hidden), words)
    ours = ours.to(args.device).train()
    theirs = Reference(words, emb, hidden).to(args.device).train()
    lengths = torch.full((columns,), length)
    batch = dict(text_lengths=lengths, target=y, reset=True, lr_scale=1.0)
    ways = {
        "ours": (ours, lambda: ours(x, **batch)[0]),
        "reference": (theirs, lambda: theirs(x, y)),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for step in range(args.steps + 2):
        for name, (model, loss) in ways.items():
            model.zero_grad()
            start = time.perf_counter() if args.device != "cpu" else time.process_time()
            loss().backward()
            if args.device != "cpu":
                torch.cuda.synchronize()
            clock = time.perf_counter if args.device != "cpu" else time.process_time
            if step >= 2:
                taken[name].append(clock() - start)
    print(
        f"torch {torch.__version__}, {args.device}, {torch.get_num_threads()} threads"
    )
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{name:<10}{columns * length / median:>12,.0f} tokens/s, {median:.4f} s")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
