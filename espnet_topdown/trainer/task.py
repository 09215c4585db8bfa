"""ESPnet's ASR task with our additions.

The classes are at module level: multi-GPU training pickles them.
"""

from __future__ import annotations

import argparse

import torch
from espnet2.tasks.asr import ASRTask
from espnet2.train.trainer import Trainer

from espnet_topdown.cli import true_or_false
from espnet_topdown.trainer import cpu_lstm


class TopDownTrainer(Trainer):
    """ESPnet's trainer; what it adds is in the other modules of this package."""


class TopDownASRTask(ASRTask):
    """ESPnet's ASR task, trained by :class:`TopDownTrainer`."""

    trainer = TopDownTrainer

    @classmethod
    def get_parser(cls):  # type: ignore[no-untyped-def]
        """ESPnet's options and one group of ours."""
        parser = super().get_parser()
        group = parser.add_argument_group("Top-down training")
        group.add_argument(
            "--fast_lstm",
            type=true_or_false,
            default=True,
            help="Exact, fast LSTMs on a CPU",
        )
        group.add_argument("--frozen_norm", choices=("eval", "train"), default="eval")
        group.add_argument("--init_uniform", type=float, default=0.0)
        group.add_argument("--adadelta_eps_decay", type=float, default=0.0)
        group.add_argument("--progress", type=true_or_false, default=True)
        return parser

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> torch.nn.Module:
        """ESPnet's model, with fast LSTMs if they are asked for."""
        model = super().build_model(args)
        if getattr(args, "fast_lstm", False):
            cpu_lstm.install(model)
        return model
