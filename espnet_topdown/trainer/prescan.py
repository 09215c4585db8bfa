"""Look for references that CTC cannot align before the first batch is read.

Only the lengths in the shape files are used, and the model is run on silence of the
few utterances that have the fewest samples for each unit. What this cannot see (two
equal units in a row need a frame more) is seen when the utterance is trained.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from espnet_topdown.data.validate import read_shape
from espnet_topdown.trainer.feasible import CTCGuard

WORST = 16  # utterances of each set that are tried


def prescan(args: argparse.Namespace, model: torch.nn.Module) -> None:
    """Refuse (or warn of) references longer than the encoder's output.

    Raises:
        TopDownError: E_CTC_INFEASIBLE (65).
    """
    conf = args.model_conf or {}
    if conf.get("ctc_weight", 0.5) == 0.0 or getattr(model, "ctc", None) is None:
        return
    guard = CTCGuard(args.allow_infeasible)
    for files in (args.train_shape_file, args.valid_shape_file):
        if len(files) == 2:
            shapes = [read_shape(Path(file)) for file in files]
            guard.report(too_long(model, *shapes))


def too_long(
    model: torch.nn.Module,
    speech: Mapping[str, Sequence[int]],
    text: Mapping[str, Sequence[int]],
) -> dict[str, tuple[int, int]]:
    """utterance -> (frames needed at least, frames it has)."""
    both = [u for u in speech if speech[u] and text.get(u)]
    worst = heapq.nsmallest(
        WORST, both, key=lambda u: speech[u][0] / max(text[u][0], 1)
    )
    frames = output_lengths(model, [speech[u] for u in worst])
    needs = {u: (text[u][0], n) for u, n in zip(worst, frames)}
    return {u: (need, has) for u, (need, has) in needs.items() if has < need}


def output_lengths(
    model: torch.nn.Module, shapes: Sequence[Sequence[int]]
) -> list[int]:
    """How many frames the encoder makes of inputs of these shapes."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    lengths = []
    try:
        with torch.no_grad():
            for shape in shapes:
                silence = torch.zeros(1, *shape, device=device)
                n = torch.tensor([shape[0]], device=device)
                lengths.append(int(model.encode(silence, n)[1][0]))
    finally:
        model.train(training)
    return lengths
