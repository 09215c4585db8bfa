"""ESPnet's language model task, trained on continuous text by NT-ASGD.

The classes are at module level, as those of the ASR task.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.tasks.lm import LMTask
from espnet2.train.trainer import TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass

from espnet_topdown.data.words import check_vocabulary, read_ids
from espnet_topdown.files import read_text
from espnet_topdown.trainer import lm_preflight, nt_asgd, options, ranks
from espnet_topdown.trainer.bptt import Batches, columns, fixed_windows, random_windows
from espnet_topdown.trainer.contract import check_model
from espnet_topdown.trainer.lm_choices import register
from espnet_topdown.trainer.nt_asgd import NTASGD
from espnet_topdown.trainer.repair import repair
from espnet_topdown.trainer.resume import check_folder, check_same, one_training
from espnet_topdown.trainer.trainer import TopDownOptions, TopDownTrainer

register()
nt_asgd.register()


class TopDownLMTrainer(TopDownTrainer):
    """Trains the iterates, validates and saves their average."""

    @classmethod
    def build_options(cls, args):  # type: ignore[no-untyped-def]
        """ESPnet's options; those of ours that concern speech keep their defaults."""
        stock = dataclasses.asdict(build_dataclass(TrainerOptions, args))
        return TopDownOptions(**stock, progress=args.progress)

    @classmethod
    def train_one_epoch(cls, model, iterator, optimizers, options, **others) -> bool:  # type: ignore[no-untyped-def]
        """One pass over the text."""
        (optimizer,) = optimizers
        if isinstance(optimizer, NTASGD):
            optimizer.show_iterate()
        invalid = super().train_one_epoch(
            model=model,
            iterator=iterator,
            optimizers=optimizers,
            options=options,
            **others,
        )
        if isinstance(optimizer, NTASGD):
            optimizer.show_average()
        return invalid


class TextFactory(AbsIterFactory):
    """Passes over one text.

    Args:
        text: Its columns.
        steps: Of a window.
        seed: The lengths of windows depend on it and the epoch; None: all the same.
    """

    def __init__(self, text: torch.Tensor, steps: int, seed: int | None) -> None:
        self.text, self.steps, self.seed = text, steps, seed

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> Batches:
        """One pass, the same whenever an epoch is repeated."""
        length = self.text.shape[1]
        if self.seed is None:
            windows = fixed_windows(length, self.steps)
        else:
            random = np.random.RandomState((self.seed + epoch) % 2**32)
            windows = random_windows(length, self.steps, random)
        return Batches(self.text, windows, self.steps)


class TopDownLMTask(LMTask):
    """ESPnet's language model task, trained by :class:`TopDownLMTrainer`."""

    trainer = TopDownLMTrainer

    @classmethod
    def get_parser(cls):  # type: ignore[no-untyped-def]
        """ESPnet's options, with defaults for continuous text, and ours."""
        parser = options.complete_lm(super().get_parser())
        parser.set_defaults(
            iterator_type="task",
            use_preprocessor=False,
            num_att_plot=0,
            token_type="word",
            lm="awd_lstm",
            model="continuous",
            optim=nt_asgd.NAME,
        )
        return parser

    @classmethod
    def main(
        cls, args: argparse.Namespace | None = None, cmd: Sequence[str] | None = None
    ) -> None:
        """Check the options, mend the folder, train.

        Raises:
            TopDownError: whatever the checks, repair and the trainer find.
        """
        if args is None:
            args = cls.get_parser().parse_args(options.dashes(cmd))
        if args.print_config:
            super().main(args=args)
            return
        cls.check_required_command_args(args)
        check_folder(args)
        with one_training(args.output_dir):
            prepare(args)
            super().main(args=args)

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> Any:
        """ESPnet's model; the list of words is checked first."""
        check_vocabulary(_tokens(args.token_list), "token_list")
        return super().build_model(args)

    @classmethod
    def build_optimizers(cls, args, model):  # type: ignore[no-untyped-def]
        """ESPnet's optimizer, which follows the lengths of the batches."""
        check_model(
            model, args.freeze_param, args.init_param, args.ignore_init_mismatch
        )
        optimizers = super().build_optimizers(args, model)
        for optimizer in optimizers:

            def follow(optimizer, *_):  # type: ignore[no-untyped-def]
                optimizer.scale = model.lr_scale

            optimizer.register_step_pre_hook(follow)
        return optimizers

    @classmethod
    def build_task_iter_factory(cls, args, iter_options, mode):  # type: ignore[no-untyped-def]
        """Columns of the training or the validation text."""
        train = mode == "train"
        entries = getattr(args, f"{'train' if train else 'valid'}_{_DATA}")
        width = args.batch_size if train else args.valid_batch_size or 10
        ids = read_ids(Path(entries[0][0]), args.token_list)
        return TextFactory(columns(ids, width), args.bptt, args.seed if train else None)


_DATA = "data_path_and_name_and_type"


def _tokens(token_list: Any) -> list[str]:
    if isinstance(token_list, str):
        return read_text(Path(token_list)).splitlines()
    return list(token_list)


def prepare(args: argparse.Namespace) -> None:
    """All that is checked or mended before a model is built."""
    lm_preflight.check(args)
    ranks.check_alone(args, "a language model on continuous text")
    check_same(args)
    repair(Path(args.output_dir), args.best_model_criterion, 1)
