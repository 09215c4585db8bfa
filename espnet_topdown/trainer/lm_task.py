"""ESPnet's language model task, trained on continuous text by NT-ASGD.

The classes are at module level, as those of the ASR task.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.tasks.lm import LMTask, lm_choices, model_choices

from espnet_topdown.data.tokens import read_token_list
from espnet_topdown.data.words import check_vocabulary, read_ids
from espnet_topdown.trainer import _options
from espnet_topdown.trainer._checks import check_options
from espnet_topdown.trainer._contract import check_model
from espnet_topdown.trainer._optim import NT_ASGD, NTASGD
from espnet_topdown.trainer.awd_lstm import AWDLSTM, ContinuousLanguageModel
from espnet_topdown.trainer.bptt import Batches, batchify, fixed_windows, random_windows
from espnet_topdown.trainer.trainer import TopDownTrainer

lm_choices.classes["awd_lstm"] = AWDLSTM
model_choices.classes["continuous"] = ContinuousLanguageModel


class TopDownLMTrainer(TopDownTrainer):
    """Trains the iterates, validates and saves their average."""

    @classmethod
    def train_one_epoch(cls, optimizers, **others) -> bool:  # type: ignore[no-untyped-def,override]
        """One pass over the text.

        Args:
            optimizers: One.
            **others: More of ESPnet's.

        Returns:
            False: ESPnet's loop goes on.
        """
        (optimizer,) = optimizers
        if isinstance(optimizer, NTASGD):
            optimizer.show_iterate()
        invalid = super().train_one_epoch(optimizers=optimizers, **others)
        if isinstance(optimizer, NTASGD):
            optimizer.show_average()
        return invalid


class _TextFactory(AbsIterFactory):
    """Passes over the text of one phase, the same whenever an epoch is repeated."""

    def __init__(self, args: argparse.Namespace, train: bool) -> None:
        data = "data_path_and_name_and_type"
        entries = getattr(args, f"{'train' if train else 'valid'}_{data}")
        width = args.batch_size if train else args.valid_batch_size or 10
        self.text = batchify(read_ids(Path(entries[0][0]), args.token_list), width)
        self.steps, self.seed, self.train = args.bptt, args.seed, train

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> Batches:
        length = self.text.shape[1]
        windows = fixed_windows(length, self.steps)
        if self.train:
            random = np.random.RandomState((self.seed + epoch) % 2**32)
            windows = random_windows(length, self.steps, random)
        return Batches(self.text, windows, self.steps)


class TopDownLMTask(LMTask):
    """ESPnet's language model task, trained by :class:`TopDownLMTrainer`."""

    trainer = TopDownLMTrainer
    check_options = staticmethod(functools.partial(check_options, task="lm"))

    @classmethod
    def get_parser(cls):  # type: ignore[no-untyped-def]
        """Returns ESPnet's options, with defaults for continuous text, and ours."""
        parser = _options.complete(super().get_parser(), "lm")
        parser.set_defaults(
            best_model_criterion=[("valid", "loss", "min")],
            keep_nbest_models=[1],
            iterator_type="task",
            use_preprocessor=False,
            num_att_plot=0,
            token_type="word",
            lm="awd_lstm",
            model="continuous",
            optim=NT_ASGD,
        )
        return parser

    @classmethod
    def main(
        cls, args: argparse.Namespace | None = None, cmd: Sequence[str] | None = None
    ) -> None:
        """Check the options, mend the folder, train; see ``_options.start``.

        Args:
            args: The parsed options.
            cmd: The command line, where there are no ``args``.
        """
        _options.start(cls, "lm", super().main, args, cmd)

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> Any:
        """ESPnet's model; the list of words is checked first.

        Args:
            args: The parsed options, or a ``config.yaml``.

        Returns:
            The model on the CPU.
        """
        tokens = args.token_list
        tokens = read_token_list(Path(tokens)) if isinstance(tokens, str) else tokens
        check_vocabulary(tokens, "token_list")
        return super().build_model(args)

    @classmethod
    def build_optimizers(cls, args, model):  # type: ignore[no-untyped-def]
        """ESPnet's optimizer, which follows the lengths of the batches.

        Args:
            args: The parsed options.
            model: The model, before ESPnet reads its initial values.

        Returns:
            The optimizers: one.
        """
        check_model(model, args)
        optimizers = super().build_optimizers(args, model)

        def follow(optimizer, *_):  # type: ignore[no-untyped-def]
            optimizer.scale = model.lr_scale

        for optimizer in optimizers:
            optimizer.register_step_pre_hook(follow)
        return optimizers

    @classmethod
    def build_task_iter_factory(cls, args, iter_options, mode):  # type: ignore[no-untyped-def]
        """Columns of the training or the validation text.

        Args:
            args: The parsed options.
            iter_options: ESPnet's; not used.
            mode: "train" or "valid".

        Returns:
            What makes the batches of an epoch.
        """
        return _TextFactory(args, mode == "train")
