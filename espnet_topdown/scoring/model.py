"""An ESPnet model as its experiment describes it, with weights that are its own."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from espnet_topdown.errors import DATA, MISSING, TopDownError
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.tasks import find_task, how_to_install, kind_of
from espnet_topdown.models.weights import check_keys, load_weights


def load_model(
    experiment: Experiment, weights: Path, device: str = "cpu"
) -> torch.nn.Module:
    """Build the model of an experiment and give it exactly these weights.

    Args:
        experiment: Relative paths in its config refer to the current folder, as in a
            recipe.
        weights: A file of weights of the same experiment.
        device: ``cpu`` or ``cuda``.

    Returns:
        The model, in eval mode.

    Raises:
        TopDownError: E_CKPT_KEYS or E_CKPT_SHAPE (65) when the weights are not those
            of this model; E_CONFIG_KEY, E_KIND, E_INSTALL (78) or E_MISSING (66) when
            it cannot be built.
    """
    state = load_weights(weights)
    model = _build(experiment)
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


def _build(experiment: Experiment) -> torch.nn.Module:
    config = experiment.folder / "config.yaml"
    kind = find_task(kind_of(experiment.config))
    args = argparse.Namespace(**{**experiment.config, "init": None})
    try:
        return kind.call("task").build_model(args)
    except FileNotFoundError as e:
        what = f"{config} names '{e.filename}', which is not there"
        do = "run in the recipe folder: its paths are relative to it"
        raise TopDownError("E_MISSING", what, do, MISSING) from e
    except ModuleNotFoundError as e:
        what = f"the model of {config} needs the package {e.name}"
        raise TopDownError("E_INSTALL", what, how_to_install(e.name or "")) from e
    except Exception as e:  # each part of ESPnet refuses its options in its own way
        if isinstance(e, ImportError) or "install" in str(e):
            what = f"the model of {config} lacks a package ({type(e).__name__}: {e})"
            raise TopDownError("E_INSTALL", what, "install what it names") from e
        what = f"{config} does not describe a model of this ESPnet, of kind "
        what += f"'{kind.name}' ({type(e).__name__}: {e})"
        do = "give the config.yaml that training wrote, of the ESPnet in use"
        raise TopDownError("E_CONFIG_KEY", what, do) from e
