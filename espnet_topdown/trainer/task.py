"""ESPnet's ASR task with our additions.

The classes are at module level: multi-GPU training pickles them.
"""

from __future__ import annotations

import argparse
import functools
import logging
from collections.abc import Sequence

import torch
from espnet2.tasks.asr import ASRTask

from espnet_topdown.trainer import (
    _options,
    _processes,
    dropout,  # noqa: F401 makes its encoders known
)
from espnet_topdown.trainer._checks import check_options, check_references
from espnet_topdown.trainer._contract import check_model
from espnet_topdown.trainer.fast import cpu, sdpa
from espnet_topdown.trainer.trainer import TopDownTrainer


class TopDownASRTask(ASRTask):
    """ESPnet's ASR task, trained by :class:`TopDownTrainer`."""

    trainer = TopDownTrainer
    check_options = staticmethod(functools.partial(check_options, task="asr"))

    @classmethod
    def get_parser(cls):  # type: ignore[no-untyped-def]
        """Returns ESPnet's options and one group of ours."""
        return _options.complete(super().get_parser(), "asr")

    @classmethod
    def main(
        cls, args: argparse.Namespace | None = None, cmd: Sequence[str] | None = None
    ) -> None:
        """Check the options, mend the folder, train; see ``_options.start``.

        Args:
            args: The parsed options.
            cmd: The command line, where there are no ``args``.
        """
        _options.start(cls, "asr", super().main, args, cmd)

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """One process of a training; of several the first one tells how it goes.

        Args:
            args: The parsed options.
        """
        level = args.log_level if _processes.is_first(args) else "ERROR"
        logging.getLogger().setLevel(level)
        _processes.exit_as_child(functools.partial(super().main_worker, args))

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> torch.nn.Module:
        """ESPnet's model, with our initial values and LSTMs if they are asked for.

        Args:
            args: The parsed options, or a ``config.yaml``.

        Returns:
            The model on the CPU.
        """
        model = super().build_model(args)
        if getattr(args, "init_uniform", 0.0):
            _draw_uniform(model, args.init_uniform)
        if getattr(args, "fast_lstm", False):
            cpu.install(model)
        if getattr(args, "sdpa", False):
            logging.info("fused attention in %d modules", sdpa.install(model))
        return model

    @classmethod
    def build_optimizers(cls, args, model):  # type: ignore[no-untyped-def]
        """ESPnet's optimizers; by now the model is frozen, so it is checked here.

        Args:
            args: The parsed options.
            model: The model, before ESPnet reads its initial values.

        Returns:
            The optimizers.
        """
        if not args.collect_stats:
            check_model(model, args)
            check_references(args, model)
        return super().build_optimizers(args, model)


def _draw_uniform(model: torch.nn.Module, bound: float) -> None:
    """Draw weights and biases from U(-bound, bound), as the paper's CTC models do.

    Normalisation layers keep their own initial values: around 0 they would switch
    their input off.

    Args:
        model: Drawn in the order of its ``named_parameters``.
        bound: Above 0.
    """
    norms = [m for m in model.modules() if "Norm" in type(m).__name__]
    kept = {id(p) for m in norms for p in m.parameters(recurse=False)}
    with torch.no_grad():
        for parameter in model.parameters():
            if id(parameter) not in kept:
                parameter.uniform_(-bound, bound)
