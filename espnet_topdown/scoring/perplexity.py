"""Perplexity: of a text that is read on with the hidden state, or of sentences."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_topdown.data.words import read_ids
from espnet_topdown.errors import DATA, TopDownError
from espnet_topdown.files import check_output, write_json
from espnet_topdown.models.config import read_config
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.tasks import find_task, kind_of, shown
from espnet_topdown.models.weights import check_keys, load_weights
from espnet_topdown.trainer.bptt import columns, fixed_windows

DECODER = "perplexity"
DEV_WIDTH, TEST_WIDTH, STEPS = 10, 1, 70
SENTENCES = 20  # read at once


def load_model(config: Path, weights: Path, device: str = "cpu") -> torch.nn.Module:
    """Build the language model of a ``config.yaml`` with exactly these weights.

    Raises:
        TopDownError: E_CKPT_KEYS or E_CKPT_SHAPE (65) when the weights are not those
            of this model.
    """
    state = load_weights(weights)
    args = argparse.Namespace(**{**read_config(config), "init": None})
    task = find_task(kind_of(vars(args))).call("task")
    try:
        model = task.build_model(args)
    except Exception as e:  # each part of ESPnet refuses its options in its own way
        what = f"{config} does not describe a language model of this ESPnet"
        do = "give the config.yaml that training wrote, of the ESPnet in use"
        raise TopDownError(
            "E_CONFIG_KEY", f"{what} ({type(e).__name__}: {e})", do
        ) from e
    want = model.state_dict()
    check_keys(state, want, weights)
    for name, value in want.items():
        if value.shape != state[name].shape:
            have = tuple(state[name].shape)
            what = f"{weights}: {name} is {have}, in the model {tuple(value.shape)}"
            do = "use the weights and the config.yaml of the same experiment"
            raise TopDownError("E_CKPT_SHAPE", what, do, DATA)
    model.load_state_dict(state)
    return model.to(device).eval()


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


def likelihood(lm: Any, text: Tensor, steps: int = STEPS) -> dict[str, Any]:
    """``{"ref": tokens, "nll": nats}``; the sum is exact, then rounded to 1e-6."""
    nll = token_nll(lm, text, steps)
    return {"ref": nll.numel(), "nll": round(math.fsum(nll.flatten().tolist()), 6)}


def score_text(
    config: Path,
    weights: Path,
    path: Path,
    width: int = TEST_WIDTH,
    device: str = "cpu",
) -> dict[str, Any]:
    """``score.json`` of a text.

    Args:
        config: ``config.yaml`` of an experiment.
        weights: A file of weights of the same experiment.
        path: The text.
        width: Columns that it is read in: 10 for dev and 1 for test, as in the paper.
        device: ``cpu`` or ``cuda``.
    """
    start = time.perf_counter()
    experiment = Experiment(Path(config).parent)
    text = columns(read_ids(path, experiment.token_list), width)
    counts = likelihood(load_model(config, weights, device).lm, text)
    return _record(experiment, weights, Path(path).stem, width, counts, start)


def _record(
    experiment: Experiment,
    weights: Path,
    name: str,
    utts: int,
    counts: dict[str, Any],
    start: float,
) -> dict[str, Any]:
    return {
        "schema": 1,
        "set": name,
        "decoder": DECODER,
        "model_file": Path(weights).name,
        "epoch": experiment.epoch_of(weights),
        "utts": utts,
        "ppl": counts,
        "seconds": round(time.perf_counter() - start, 3),
    }


def validation_score(config: Path, weights: Path) -> dict[str, Any]:
    """``score.json`` of the validation text, in the columns that training used."""
    experiment = Experiment(Path(config).parent)
    path, _ = experiment.data_path("valid", "text")
    width = experiment.config.get("valid_batch_size") or DEV_WIDTH
    return score_text(config, weights, path, width)


def sentences(
    experiment: Experiment, phase: str, size: int = SENTENCES
) -> Iterable[tuple[list[str], dict[str, Tensor]]]:
    """Names and numbers of ``size`` sentences at once, read as ESPnet's training does.

    Args:
        experiment: One of ESPnet's own language models.
        phase: ``train`` or ``valid``.
        size: How many; the last are fewer.
    """
    task = find_task(kind_of(experiment.config)).call("task")
    args = argparse.Namespace(**experiment.config)
    entries = experiment.config[f"{phase}_data_path_and_name_and_type"]
    return task.build_streaming_iterator(
        [tuple(entry) for entry in entries],
        task.build_preprocess_fn(args, False),
        task.build_collate_fn(args, False),
        batch_size=size,
        dtype=experiment.train_dtype,
        num_workers=0,
    )


@torch.no_grad()
def sentence_score(config: Path, weights: Path) -> dict[str, Any]:
    """``score.json`` of the validation sentences, by the model's own likelihood.

    Each ends with ``<sos/eos>``, which counts as a token.
    """
    start = time.perf_counter()
    experiment, model = Experiment(Path(config).parent), load_model(config, weights)
    utts, ref, nats = 0, 0, []
    for names, batch in sentences(experiment, "valid"):
        nll, lengths = model.nll(**batch)  # (B, T), 0 beyond a sentence's end; (B,)
        utts += len(names)
        ref += int(lengths.sum())
        nats.append(math.fsum(nll.flatten().tolist()))
    counts = {"ref": ref, "nll": round(math.fsum(nats), 6)}
    path, _ = experiment.data_path("valid", "text")
    return _record(experiment, weights, path.parent.name, utts, counts, start)


def score_experiment(
    exp: Path, model_file: str, text: Path, width: int, ngpu: int, output_dir: Path
) -> str:
    """``score_text`` as ``bin/perplexity`` does it; returns the score in words.

    Raises:
        TopDownError: E_KIND (78) for a model that does not read continuous text.
    """
    check_output(output_dir, ("wav.scp", "config.yaml"))
    experiment = Experiment(exp)
    if (kind := kind_of(experiment.config)) != "lm":
        what = f"{exp} is of kind '{kind}', which reads no continuous text"
        do = "for sentences run 'python -m espnet2.bin.lm_calc_perplexity --help'"
        raise TopDownError("E_KIND", what, do)
    model = experiment.model_file(model_file)
    device = "cuda" if ngpu else "cpu"
    score = score_text(Path(exp) / "config.yaml", model, text, width, device)
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    write_json(Path(output_dir) / "score.json", score)
    return f"{text}: {shown('ppl', score['ppl'])}"
