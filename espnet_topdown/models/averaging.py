"""The mean of the best epochs of one training, by one criterion, computed exactly.

Sums are made in double precision, so that the mean of equal tensors is that tensor bit
for bit: what a retraining kept frozen is the same in the average.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from espnet_topdown.errors import DATA, MISSING, USAGE, TopDownError, warn
from espnet_topdown.files import read_json, sha256, write_json
from espnet_topdown.models.experiment import Experiment, rank_epochs
from espnet_topdown.models.weights import (
    Weights,
    check_keys,
    load_weights,
    save_weights,
)


def mean(states: Sequence[Weights], where: Sequence[Path]) -> Weights:
    """The mean of tensors of the same names and shapes; of counters the largest.

    Raises:
        TopDownError: E_SHAPE_MISMATCH when a tensor differs in shape or type, and what
            ``check_keys`` raises for names that differ.
    """
    first = states[0]
    for state, path in zip(states[1:], where[1:]):
        check_keys(state, first, path)
    found = {}
    for name, tensor in first.items():
        same = [state[name] for state in states]
        for other, path in zip(same, where):
            if other.shape != tensor.shape or other.dtype != tensor.dtype:
                what = f"{path}: {name} is {tuple(other.shape)} {other.dtype}, in "
                what += f"{where[0]} {tuple(tensor.shape)} {tensor.dtype}"
                do = "average epochs of one training only"
                raise TopDownError("E_SHAPE_MISMATCH", what, do, DATA)
        stacked = torch.stack(same)
        if tensor.is_floating_point():
            exact = stacked.to(torch.float64).sum(0) / len(same)
            found[name] = exact.to(tensor.dtype)
        else:
            found[name] = stacked.amax(0)
    return found


def average_best(folder: Path, n: int) -> Path:
    """Write the mean of an experiment's ``n`` best epochs, unless it is there.

    The criterion is the first of the experiment's that is of the validation set. A file
    ``<name>.json`` beside it says which epochs these were.

    Returns:
        ``<phase>.<key>.average<n>.pth`` in the folder.

    Raises:
        TopDownError: E_AVERAGE (66) when one of these epochs' files is gone.
    """
    if n < 1:
        what = f"an average of {n} epochs"
        raise TopDownError("E_USAGE", what, "give --n 1 or more", USAGE)
    exp = Experiment(folder)
    criterion = exp.criteria[0]
    epochs = rank_epochs(exp.stats, criterion)[:n]
    files = [exp.folder / f"{epoch}epoch.pth" for epoch in epochs]
    gone = [path.name for path in files if not path.is_file()]
    if gone or not epochs:
        what = f"{folder} lacks {', '.join(gone) or 'any epoch'} of its {n} best"
        do = f"train with keep_nbest_models {n} and this criterion alone"
        raise TopDownError("E_AVERAGE", what, do, MISSING)
    if len(epochs) < n:
        warn("W_AVERAGE", f"{folder} has {len(epochs)} epochs, not {n}: all are used")
    target = exp.folder / f"{criterion.phase}.{criterion.key}.average{n}.pth"
    record = {
        "schema": 1,
        "criterion": [criterion.phase, criterion.key, criterion.mode],
        "epochs": epochs,
        "sha256": {path.name: sha256(path) for path in files},
    }
    beside = target.with_suffix(".json")
    if target.is_file() and beside.is_file() and read_json(beside) == record:
        return target
    beside.unlink(missing_ok=True)
    save_weights(mean([load_weights(path) for path in files], files), target)
    write_json(beside, record)
    logging.info("%s: mean of the epochs %s", target, ", ".join(map(str, epochs)))
    return target


def model_of(folder: Path, average: int) -> Path:
    """The weights to decode with: a mean of best epochs, or with 0 the single best."""
    return average_best(folder, average) if average else Experiment(folder).model_file()
