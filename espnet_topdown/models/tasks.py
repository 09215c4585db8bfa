"""Kinds of models: how each is trained, checked and scored. The facts are in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.errors import TopDownError, nearest
from espnet_topdown.files import read_yaml
from espnet_topdown.models import type_checks
from espnet_topdown.models.config import is_espnet3

FILE = Path(__file__).with_name("tasks.yaml")


@dataclass(frozen=True)
class Task:
    """One kind of model.

    Attributes:
        trainer: Module of the training command.
        options_of: Module whose options ``train.yaml`` holds.
        task: The ESPnet task, as ``module:name``.
        check: Checks a base experiment's data before a search, as ``module:name``.
        works: Tries its model before a search or a retraining, as ``module:name``.
        score: Gives ``score.json`` of the validation set, as ``module:name``.
        criteria: What a search can be decided by.
        counted: What is summed over the set: errors, or nats of likelihood.
        decoder: How the validation set is scored, in one word.
        packed: What ESPnet's inference calls a model's config and weights.
    """

    name: str
    trainer: str
    options_of: str
    task: str
    check: str
    works: str
    score: str
    criteria: list[str]
    counted: str
    decoder: str
    packed: list[str]

    def call(self, what: str) -> Any:
        """Import what an attribute names.

        Args:
            what: The attribute, such as "task".

        Returns:
            The function or class.
        """
        module, _, name = getattr(self, what).partition(":")
        return getattr(type_checks.import_quietly(module), name)


def read_tasks() -> dict[str, Task]:
    """Read all kinds of models.

    Returns:
        Name -> kind.
    """
    entries = read_yaml(FILE).items()
    return {n: Task(name=n, **facts) for n, facts in entries if "trainer" in facts}


def find_task(name: str) -> Task:
    """The task of a name.

    Args:
        name: Such as "asr".

    Returns:
        The task.

    Raises:
        TopDownError: E_STACK (78).
    """
    tasks = read_tasks()
    if name not in tasks:
        what = f"task '{name}' is unknown ({nearest(name, tasks)})"
        raise TopDownError("E_STACK", what, f"take one of {', '.join(tasks)}")
    return tasks[name]


def how_to_install(module: str) -> str:
    """What a user does about a module that is missing.

    Args:
        module: Its name, as Python says it.

    Returns:
        The advice.
    """
    name = module.partition(".")[0]
    package = read_yaml(FILE)["packages"].get(name, name)
    return f"run 'pip install {package}', or ESPnet's installer of it"


def kind_of(config: Mapping[str, Any], command: str = "") -> str:
    """What kind of model a training config describes: "asr", "lm" or "sentence_lm".

    A language model reads continuous text ("lm") or, as ESPnet's own, single sentences.
    Spoken language understanding without transcripts is trained and scored as "asr".

    Args:
        config: Its keys tell most kinds apart.
        command: ESPnet's training command, such as "st_train", where it is on record.

    Returns:
        The name of its task.

    Raises:
        TopDownError: E_ESPNET3 (78); E_KIND (78), with its name, for every other one.
    """
    if is_espnet3(config):
        what = (
            "ESPnet 3 trained this: optimizer, schedule, batches and data are objects "
            "of its recipe, and optim, max_epoch and others in its config.yaml are "
            "defaults that it did not use"
        )
        do = (
            "train the same model by espnet2.bin.asr_train; 'espnet-topdown retrain "
            "EXP DIR --freeze softmax --frozen_from FILE' puts layers of a .pth of "
            "this one into that"
        )
        raise TopDownError("E_ESPNET3", what, do)
    facts = read_yaml(FILE)
    others = [n for n, keys in facts["others"].items() if config.keys() & keys]
    for name, (has, lacks) in facts["lacks"].items():
        if has in config and lacks not in config:
            others.append(name)
    if config.get("decoder") in facts["decoders"]:
        others.append(facts["decoders"][config["decoder"]])
    if config.get("transcript_token_list"):
        others.append("language understanding with transcripts (SLU)")
    if "lm" in config:
        model = config.get("model") or "lm"
        if model in facts["language_models"]:
            return str(facts["language_models"][model])
        others = [f"a language model of kind '{model}'"]
    elif not others and config.get("model", "espnet") not in facts["recognisers"]:
        others = [f"a recogniser of kind '{config['model']}'"]
    elif not others and command and command not in facts["commands"]:
        others = [f"a model of ESPnet's {command}"]
    if others or "encoder" not in config:
        what = (
            f"this is {others[0]}" if others else "no encoder and no lm is configured"
        )
        do = "give a model of speech recognition (ASR) or a language model (LM)"
        raise TopDownError("E_KIND", what, do)
    return "asr"
