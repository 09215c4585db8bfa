"""Perplexity: of a text that is read on with the hidden state, or of sentences."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_topdown.data.kaldi_dir import list_files
from espnet_topdown.data.words import read_ids
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import check_output, write_json
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.tasks import find_task, kind_of
from espnet_topdown.scoring.counts import unit_score
from espnet_topdown.scoring.model import load_model
from espnet_topdown.scoring.score import check_score_file, score_record
from espnet_topdown.trainer.bptt import batchify, fixed_windows

DECODER = "perplexity"
DEV_WIDTH, TEST_WIDTH, STEPS = 10, 1, 70
SENTENCES = 20  # read at once


@torch.no_grad()
def token_nll(lm: Any, text: Tensor, steps: int = STEPS) -> Tensor:
    """Negative log-likelihood of every token but the first of each column, in nats.

    Args:
        lm: An AWDLSTM in eval mode.
        text: (columns, length).
        steps: How many are computed at once; it does not change the result.

    Returns:
        (columns, length - 1), float64, on the CPU.
    """
    device, hidden, found = next(lm.parameters()).device, None, []
    for w in fixed_windows(text.shape[1], steps):
        x = text[:, w.start : w.start + w.steps].to(device)
        y = text[:, w.start + 1 : w.start + 1 + w.steps].to(device)
        scores, hidden = lm(x, hidden)
        best = scores.double().log_softmax(-1).gather(-1, y[..., None])
        found.append(-best[..., 0].cpu())
    return torch.cat(found, dim=1)


def _score_text(
    experiment: Experiment,
    weights: Path,
    path: Path,
    width: int = TEST_WIDTH,
    device: str = "cpu",
) -> dict[str, Any]:
    """Return ``score.json`` of a text."""
    start = time.perf_counter()
    text = batchify(read_ids(path, experiment.token_list), width)
    nll = token_nll(load_model(experiment, weights, device).lm, text)
    counts = width, nll.numel(), nll.flatten().tolist()
    return _record(experiment, weights, Path(path).stem, *counts, start)


def _record(
    experiment: Experiment,
    weights: Path,
    name: str,
    utts: int,
    tokens: int,
    nats: Sequence[float],
    start: float,
) -> dict[str, Any]:
    counts = {"ref": tokens, "nll": round(math.fsum(nats), 6)}  # exact, then to 1e-6
    seconds = round(time.perf_counter() - start, 3)
    numbers = {"utts": utts, "ppl": counts, "seconds": seconds}
    epoch = experiment.epoch_of(weights)
    return score_record(name, DECODER, weights, epoch, **numbers)


def validation_score(experiment: Experiment, weights: Path) -> dict[str, Any]:
    """The likelihood of the validation text, read in the columns of training.

    Args:
        experiment: Of a model on continuous text; its config names the set.
        weights: A file of weights of the same experiment.

    Returns:
        What ``score.json`` holds; ``ppl`` has the tokens and their nats.

    Raises:
        TopDownError: Those of ``load_model`` and ``read_ids``.
    """
    path, _ = experiment.data_path("valid", "text")
    width = experiment.config.get("valid_batch_size") or DEV_WIDTH
    return _score_text(experiment, weights, path, width)


def read_sentences(
    experiment: Experiment, phase: str, size: int = SENTENCES
) -> Iterable[tuple[list[str], dict[str, Tensor]]]:
    """Read sentences as ESPnet's training does.

    Args:
        experiment: One of ESPnet's own language models.
        phase: ``train`` or ``valid``; of a list in splits the first is read.
        size: How many at once; the last are fewer.

    Returns:
        Names, and padded tensors (B, L) with their lengths.
    """
    task = find_task(kind_of(experiment.config)).call("task")
    args = argparse.Namespace(**experiment.config)
    entries = experiment.config[f"{phase}_data_path_and_name_and_type"]
    return task.build_streaming_iterator(
        [(str(list_files(Path(p))[0]), name, kind) for p, name, kind in entries],
        task.build_preprocess_fn(args, False),
        task.build_collate_fn(args, False),
        batch_size=size,
        dtype=experiment.train_dtype,
        num_workers=0,
    )


@torch.no_grad()
def sentence_score(experiment: Experiment, weights: Path) -> dict[str, Any]:
    """The likelihood of the validation sentences.

    Each ends with ``<sos/eos>``, which counts as a token.

    Args:
        experiment: Of ESPnet's own language model; its config names the set.
        weights: A file of weights of the same experiment.

    Returns:
        What ``score.json`` holds; ``ppl`` has the tokens and their nats.

    Raises:
        TopDownError: Those of ``load_model``.
    """
    start = time.perf_counter()
    model: Any = load_model(experiment, weights)
    utts, ref, nats = 0, 0, []
    for names, batch in read_sentences(experiment, "valid"):
        nll, lengths = model.nll(**batch)  # (B, T), 0 beyond a sentence's end; (B,)
        utts += len(names)
        ref += int(lengths.sum())
        nats.append(math.fsum(nll.flatten().tolist()))
    path, _ = experiment.data_path("valid", "text")
    return _record(experiment, weights, path.parent.name, utts, ref, nats, start)


def score_experiment(
    exp: Path, model_file: str, text: Path, width: int, ngpu: int, output_dir: Path
) -> str:
    """The likelihood of a text, written to a folder.

    Args:
        exp: The experiment.
        model_file: "best", an epoch, or a file in it.
        text: A sentence a line.
        width: Columns that it is read in: 10 for dev and 1 for test, as in the paper.
        ngpu: 1 on the GPU.
        output_dir: Gets ``score.json``.

    Returns:
        The score in words.

    Raises:
        TopDownError: E_KIND (78) for a model that does not read continuous text,
            E_CREATE (73), and those of ``load_model`` and ``read_ids``.
    """
    check_output(output_dir, ("wav.scp", "config.yaml"))
    check_score_file(output_dir)
    experiment = Experiment(exp)
    if (kind := kind_of(experiment.config)) != "lm":
        what = f"{exp} is of kind '{kind}', which reads no continuous text"
        do = "for sentences run 'python -m espnet2.bin.lm_calc_perplexity --help'"
        raise TopDownError("E_KIND", what, do)
    device, model = "cuda" if ngpu else "cpu", experiment.model_file(model_file)
    score = _score_text(experiment, model, text, width, device)
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    write_json(Path(output_dir) / "score.json", score)
    return f"{text}: {unit_score(score['ppl']).show('ppl')}"
