"""Proof, after a retraining, that frozen stayed frozen and the rest did not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown.errors import DATA, INTERNAL, TopDownError, warn
from espnet_topdown.files import sha256
from espnet_topdown.jobs.plan import Layers
from espnet_topdown.models.checkpoint import tied_names
from espnet_topdown.models.config import read_record
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.layers import LayerStack, load_stack, read_stack, shipped
from espnet_topdown.models.weights import Weights, differing, header_of, load_weights


def verify(folder: Path) -> list[str]:
    """Prove that frozen stayed frozen, in every epoch file, bit for bit.

    Returns:
        The files that were compared.

    Raises:
        TopDownError: E_FROZEN_CHANGED, E_REINIT_SAME or E_NO_EPOCH (70), E_DIGEST (65).
            Under the base's own seed an equal layer is a warning only.
    """
    folder = Path(folder)
    job = read_record(folder / "retrain.yaml")
    files = list(Experiment(folder).epoch_files.values())
    if not files:
        raise TopDownError(
            "E_NO_EPOCH", f"no epoch file in {folder}", "see its train.log", INTERNAL
        )
    base = load_weights(Path(job["base_model"]))
    frozen = _frozen_tensors(folder, job)
    for path in files:
        weights = load_weights(path)
        changed = differing(weights, frozen, job["frozen_params"])
        if changed:
            raise TopDownError(
                "E_FROZEN_CHANGED",
                f"{path}: {changed[0]} and {len(changed) - 1} more frozen tensors are "
                "not what they were",
                "report this as a bug, with the folder's train.log",
                INTERNAL,
            )
    _check_reinitialised(files[-1], job, base, weights)
    return [str(f) for f in files]


def _frozen_tensors(folder: Path, job: Mapping[str, Any]) -> Weights:
    if not job.get("frozen_sha256"):
        return {}
    path = folder / "frozen.pth"
    if sha256(path) != job["frozen_sha256"]:
        raise TopDownError(
            "E_DIGEST",
            f"{path} is not the file that was written for this training",
            "move the folder away and run the same command again",
            DATA,
        )
    return load_weights(path)


def _check_reinitialised(
    path: Path, job: Mapping[str, Any], base: Weights, weights: Weights
) -> None:
    config = Experiment(Path(job["base_exp"])).config
    stack = _stack_of(path.parent, job, base)
    for group in stack.named(job["reinit"]):
        if differing(weights, base, group.params):
            continue
        what = f"{path}: layer {group.name} equals the base model's"
        if job["seed"] == config.get("seed"):  # so both began with the same values
            warn("W_REINIT_SAME", f"{what}: trained in neither (gradients too small)")
            continue
        do = "report this as a bug, with the folder's train.log"
        raise TopDownError("E_REINIT_SAME", what, do, INTERNAL)


def _stack_of(folder: Path, job: Mapping[str, Any], base: Weights) -> LayerStack:
    """The layers of a finished job, by the stack that its folder carries.

    A folder of an older program names a shipped stack: that one is taken where it
    still gives the layers that retrain.yaml has.

    Returns:
        The layers.

    Raises:
        TopDownError: E_VERSION (78) where it does not; E_DIGEST (65).
    """
    spec, header = read_stack(folder, job), header_of(base)
    if spec is not None:
        return spec.bind(header).join(tied_names(header))
    bound = load_stack(job["stack"]).bind(header) if job["stack"] in shipped() else None
    if bound is None or Layers(header, bound).sizes != job["layers"]:
        what = f"{folder} has no stack.yaml, and {job['stack']} is not what it was"
        raise TopDownError(
            "E_VERSION", what, "finish it with the release that began it"
        )
    return bound
