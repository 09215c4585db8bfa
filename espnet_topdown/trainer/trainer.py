"""ESPnet's trainer, with what long runs need around it."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from espnet2.tasks.abs_task import AbsTask, scheduler_classes
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.trainer import Trainer, TrainerOptions

from espnet_topdown.errors import DATA, TopDownError
from espnet_topdown.models.experiment import Experiment, stopped_early
from espnet_topdown.trainer._checkpoints import CHECKPOINT, check_room, durable
from espnet_topdown.trainer._harvest import Harvest
from espnet_topdown.trainer._hooks import CTCGuard, ErrorsWithoutPadding, keep_in_eval
from espnet_topdown.trainer._processes import Stop, on_signal
from espnet_topdown.trainer._progress import ProgressWriter, TopDownReporter
from espnet_topdown.trainer.fast.process import keep_memory


@dataclasses.dataclass
class TopDownOptions(TrainerOptions):
    """ESPnet's options of a trainer and ours; ours are those of the command line."""

    frozen_norm: str = "eval"
    progress: bool = True
    harvest: str = ""
    harvest_stack: str = ""
    allow_infeasible: bool = False


@dataclasses.dataclass
class _Session:
    """What the class methods of one run share."""

    stop: Stop
    guard: CTCGuard
    progress: ProgressWriter | None
    harvest: Harvest | None
    first: bool


@dataclasses.dataclass
class _Watched:
    """An iterator of batches that looks for a signal before each of them."""

    iterator: Any
    session: _Session
    epoch: int
    train: bool

    def __len__(self) -> int:
        return len(self.iterator)

    def __iter__(self) -> Iterator[Any]:
        session, batches = self.session, _count(self.iterator)
        for done, (utterances, batch) in enumerate(self.iterator):
            session.stop.check(self.epoch)
            if self.train and session.progress:
                session.progress.batch(done, batches)
            session.guard.utterances = utterances
            yield utterances, batch
        session.stop.check(self.epoch)


class TopDownTrainer(Trainer):
    """ESPnet's training loop; files, signals and checks are ours."""

    session: _Session

    @classmethod
    def build_options(cls, args):  # type: ignore[no-untyped-def]
        """The options of a training; those that its task has not keep their defaults.

        Args:
            args: The command line.

        Returns:
            The ``trainer_options`` of the methods below.
        """
        names = {field.name for field in dataclasses.fields(TopDownOptions)}
        return TopDownOptions(**{n: v for n, v in vars(args).items() if n in names})

    @classmethod
    def run(cls, model, trainer_options, distributed_option, **others) -> None:  # type: ignore[no-untyped-def]
        """Train to the end, or continue a training that was interrupted.

        Args:
            model: ESPnet's model, frozen and initialised.
            trainer_options: What ``build_options`` gave.
            distributed_option: ESPnet's; in several processes the first one writes.
            **others: More of ESPnet's.

        Raises:
            TopDownError: E_NAN, E_NO_STEP, E_CTC_INFEASIBLE, E_DISK, E_PREEMPTED,
                E_BEST_LOST.
        """
        options, folder = trainer_options, Path(trainer_options.output_dir)
        how = options.patience, options.early_stopping_criterion
        if options.resume and how[0] is not None and (folder / CHECKPOINT).exists():
            past = Experiment(folder)
            if stopped_early(past.stats, *how):
                # release 202511 would train one more epoch at each call
                options = dataclasses.replace(options, max_epoch=past.last_epoch)
        if options.ngpu == 0:
            keep_memory()
        several = distributed_option.distributed
        first = not several or distributed_option.dist_rank == 0
        progress = harvest = None
        if options.progress and first:
            progress = ProgressWriter(
                folder, options.max_epoch, options.best_model_criterion
            )
        if options.harvest and first:
            harvest = Harvest(folder, options.harvest, model, options.harvest_stack)
        if options.frozen_norm == "eval" and (names := keep_in_eval(model)):
            logging.info("in eval mode, since frozen: %s", ", ".join(names))
        reporter = TopDownReporter(on_epoch=progress.epoch if progress else None)
        guard = CTCGuard(options.allow_infeasible)
        handles = [guard.attach(model), ErrorsWithoutPadding.attach(model)]
        try:
            with on_signal() as stop, durable(Reporter=lambda: reporter):
                if several:
                    stop.agree("cuda" if options.ngpu else "cpu")
                cls.session = _Session(stop, guard, progress, harvest, first)
                super().run(
                    model=model,
                    trainer_options=options,
                    distributed_option=distributed_option,
                    **others,
                )
        finally:
            for handle in filter(None, handles):
                handle.remove()
        if first:
            _check_result(folder, reporter, options.best_model_criterion)

    @classmethod
    def train_one_epoch(cls, model, iterator, optimizers, options, **others) -> bool:  # type: ignore[no-untyped-def]
        """One epoch; gradients left over from the epoch before are dropped.

        Args:
            model: ESPnet's model.
            iterator: Of batches.
            optimizers: Of the model.
            options: The ``trainer_options`` of ``run``.
            **others: More of ESPnet's.

        Returns:
            False: ESPnet's loop goes on.

        Raises:
            TopDownError: E_NAN, E_NO_STEP, E_DISK; what the batches bring.
        """
        session, epoch = cls.session, others["reporter"].get_epoch()
        for optimizer in optimizers:
            optimizer.zero_grad()
        if session.first:
            check_room(options.output_dir)
        _check_steps(_count(iterator), options.accum_grad)
        if session.progress:
            session.progress.start_epoch(epoch)
        invalid = super().train_one_epoch(
            model=model,
            iterator=_Watched(iterator, session, epoch, train=True),
            optimizers=optimizers,
            options=options,
            **others,
        )
        if invalid:
            what = f"no step of epoch {epoch} had a finite gradient"
            do = "lower the learning rate, or look for broken audio and transcripts"
            raise TopDownError("E_NAN", what, do, DATA)
        return invalid

    @classmethod
    def validate_one_epoch(cls, model, iterator, **others) -> None:  # type: ignore[no-untyped-def]
        """The validation of one epoch; then, before it is saved, its harvest.

        Args:
            model: ESPnet's model.
            iterator: Of batches.
            **others: More of ESPnet's.
        """
        session, epoch = cls.session, others["reporter"].get_epoch()
        iterator = _Watched(iterator, session, epoch, train=False)
        super().validate_one_epoch(model=model, iterator=iterator, **others)
        if session.harvest:
            session.harvest.epoch(epoch, model)


def _count(iterator: Any) -> int | None:
    # Batches of an epoch, where that is known beforehand.
    try:
        return len(iterator)
    except TypeError:
        return None


def _check_steps(batches: int | None, accum_grad: int) -> None:
    """Refuse an epoch in which no update would happen: E_NO_STEP (78)."""
    if batches is not None and batches < accum_grad:
        what = f"accum_grad {accum_grad} > {batches} batches: no update would happen"
        raise TopDownError("E_NO_STEP", what, "lower accum_grad or the batch size")


def _check_result(folder: Path, reporter: TopDownReporter, criteria: Any) -> None:
    """A training that leaves no usable best model has failed, whatever it says.

    Raises:
        TopDownError: E_NAN or E_BEST_LOST.
    """
    computed = [c for c in criteria if reporter.has(c[0], c[1])]
    if not computed:
        names = ", ".join(f"{c[0]}.{c[1]}" for c in criteria)
        do = "look for broken audio and transcripts, lower the learning rate, or "
        do += "choose another best_model_criterion"
        raise TopDownError("E_NAN", f"{names}: NaN or absent in every epoch", do, DATA)
    for phase, key, mode in computed:
        epoch = reporter.get_best_epoch(phase, key, mode)
        link = folder / f"{phase}.{key}.best.pth"
        if not link.exists():
            what = f"{link} should be epoch {epoch}, whose file is not there"
            do = "bring the file back, or train in a new folder"
            raise TopDownError("E_BEST_LOST", what, do, DATA)


def part_builders(
    task: Any, options: argparse.Namespace
) -> dict[str, Callable[[], object]]:
    """What ESPnet builds after the model, each part to be tried alone.

    Args:
        task: ESPnet's task, or ours.
        options: Of its training.

    Returns:
        The keys that describe a part -> what builds it.
    """
    name, conf = options.scheduler, options.scheduler_conf

    def optimizer() -> torch.optim.Optimizer:
        one = torch.nn.Linear(1, 1)
        return AbsTask.build_optimizers.__func__(task, options, one)[0]

    parts: dict[str, Callable[[], object]] = {}
    if not options.sharded_ddp:  # which needs its processes
        parts[f"optim {options.optim}, optim_conf {options.optim_conf}"] = optimizer
        if name:
            keys = f"scheduler {name}, scheduler_conf {conf}"
            parts[keys] = lambda: scheduler_classes[name](optimizer(), **conf)
    if options.use_wandb:
        parts["use_wandb"] = functools.partial(importlib.import_module, "wandb")

    def batch(phase: str) -> object:
        here = argparse.Namespace(**{**vars(options), "num_workers": 0})
        in_splits = phase == "train" and options.multiple_iterator
        name = "build_multiple_iter_factory" if in_splits else "build_iter_factory"
        made = getattr(task, name)(here, DistributedOption(), phase)
        return next(iter(made.build_iter(1)))

    for phase in ("train", "valid"):
        keys = f"{phase}_shape_file, iterator_type {options.iterator_type}, batch_type "
        parts[keys + options.batch_type] = functools.partial(batch, phase)
    return parts
