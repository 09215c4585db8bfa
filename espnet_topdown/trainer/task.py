"""ESPnet's ASR task with our additions.

The classes are at module level: multi-GPU training pickles them.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from espnet2.tasks.asr import ASRTask

from espnet_topdown.trainer import dropout, initializers, optim, options, ranks
from espnet_topdown.trainer.contract import check_model
from espnet_topdown.trainer.fast import fast_cpu, sdpa
from espnet_topdown.trainer.preflight import preflight
from espnet_topdown.trainer.prescan import prescan
from espnet_topdown.trainer.repair import repair
from espnet_topdown.trainer.resume import check_folder, check_same, one_training
from espnet_topdown.trainer.trainer import TopDownTrainer

dropout.register()
optim.register()


class TopDownASRTask(ASRTask):
    """ESPnet's ASR task, trained by :class:`TopDownTrainer`."""

    trainer = TopDownTrainer

    @classmethod
    def get_parser(cls):  # type: ignore[no-untyped-def]
        """ESPnet's options and one group of ours."""
        return options.complete(super().get_parser())

    @classmethod
    def main(
        cls, args: argparse.Namespace | None = None, cmd: Sequence[str] | None = None
    ) -> None:
        """Check the options, mend the folder, train.

        Raises:
            TopDownError: whatever preflight, check_same, repair and the trainer find.
        """
        if args is None:
            args = cls.get_parser().parse_args(options.dashes(cmd))
        if args.print_config:
            super().main(args=args)
            return
        cls.check_required_command_args(args)
        check_folder(args)
        first = ranks.is_first(args) and not args.collect_stats
        with one_training(args.output_dir) if first else contextlib.nullcontext():
            prepare(args)
            ranks.as_main(args, super().main)

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """One process of a training; of several the first one tells how it goes."""
        level = args.log_level if ranks.is_first(args) else "ERROR"
        logging.getLogger().setLevel(level)
        ranks.exit_as_child(functools.partial(super().main_worker, args))

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> torch.nn.Module:
        """ESPnet's model, with our initial values and LSTMs if they are asked for."""
        model = super().build_model(args)
        if getattr(args, "init_uniform", 0.0):
            initializers.uniform(model, args.init_uniform)
        if getattr(args, "fast_lstm", False):
            fast_cpu.install(model)
        if getattr(args, "sdpa", False):
            logging.info("fused attention in %d modules", sdpa.install(model))
        return model

    @classmethod
    def build_optimizers(cls, args, model):  # type: ignore[no-untyped-def]
        """ESPnet's optimizers; by now the model is frozen, so it is checked here."""
        if not args.collect_stats:
            check_model(
                model, args.freeze_param, args.init_param, args.ignore_init_mismatch
            )
            prescan(args, model)
        return super().build_optimizers(args, model)


def prepare(args: argparse.Namespace) -> None:
    """All that is checked or mended before a model is built."""
    preflight(args)
    if args.collect_stats:
        return
    optim.use_eps_decay(args)
    dropout.warn_if_random(args)
    check_same(args)
    if ranks.is_first(args):
        nbest = args.keep_nbest_models
        keep = max(nbest) if isinstance(nbest, (list, tuple)) and nbest else nbest
        repair(Path(args.output_dir), args.best_model_criterion, keep or 1)
