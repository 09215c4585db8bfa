"""ESPnet's trainer, with what long runs need around it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from espnet2.train import trainer as stock
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass

from espnet_topdown.errors import DATA, TopDownError
from espnet_topdown.models.weights import read_checkpoint
from espnet_topdown.trainer import frozen_norm, ranks, valid_cer
from espnet_topdown.trainer.checkpoint import CHECKPOINT, check_room, durable
from espnet_topdown.trainer.fast.memory import keep_memory
from espnet_topdown.trainer.feasible import CTCGuard
from espnet_topdown.trainer.harvest import Harvest
from espnet_topdown.trainer.progress import Progress
from espnet_topdown.trainer.repair import Saved, stopped_early
from espnet_topdown.trainer.reporter import TopDownReporter
from espnet_topdown.trainer.stop import Stop, on_signal


@dataclasses.dataclass
class TopDownOptions(TrainerOptions):
    """ESPnet's options of a trainer and ours."""

    frozen_norm: str = "eval"
    progress: bool = True
    harvest: str = ""
    harvest_stack: str = ""
    allow_infeasible: bool = False


@dataclasses.dataclass
class Session:
    """What the class methods of one run share."""

    stop: Stop
    guard: CTCGuard
    progress: Progress | None
    harvest: Harvest | None
    folder: Path
    first: bool = True


class Watched:
    """An iterator of batches that looks for a signal before each of them."""

    def __init__(
        self, iterator: Any, session: Session, epoch: int, train: bool
    ) -> None:
        self.iterator, self.session = iterator, session
        self.epoch, self.train = epoch, train

    def __len__(self) -> int:
        return len(self.iterator)

    def __iter__(self) -> Iterator[Any]:
        session = self.session
        batches = count(self.iterator)
        for done, (utterances, batch) in enumerate(self.iterator):
            session.stop.check(self.epoch)
            if self.train and session.progress:
                session.progress.batch(done, batches)
            session.guard.utterances = utterances
            yield utterances, batch
        session.stop.check(self.epoch)


class TopDownTrainer(Trainer):
    """ESPnet's training loop; files, signals and checks are ours."""

    session: Session | None = None

    @classmethod
    def build_options(cls, args):  # type: ignore[no-untyped-def]
        """The options that the class methods below get."""
        return build_dataclass(TopDownOptions, args)

    @classmethod
    def run(cls, model, trainer_options, distributed_option, **others) -> None:  # type: ignore[no-untyped-def]
        """Train to the end, or continue a training that was interrupted.

        Raises:
            TopDownError: E_NAN, E_NO_STEP, E_CTC_INFEASIBLE, E_DISK, E_PREEMPTED,
                E_BEST_LOST.
        """
        options = stop_if_stopped(trainer_options)
        if options.ngpu == 0:
            keep_memory()
        folder = Path(options.output_dir)
        first = not distributed_option.distributed or distributed_option.dist_rank == 0
        progress = None
        if options.progress and first:
            progress = Progress(folder, options.max_epoch, options.best_model_criterion)
        harvest = None
        if options.harvest and first:
            harvest = Harvest(folder, options.harvest, model, options.harvest_stack)
        if options.frozen_norm == "eval":
            names = frozen_norm.keep_in_eval(model)
            if names:
                logging.info("in eval mode, since frozen: %s", ", ".join(names))
        agree = None
        if distributed_option.distributed:
            agree = ranks.agreement(options.ngpu)
        guard = CTCGuard(options.allow_infeasible)
        handles = [guard.attach(model), valid_cer.attach(model)]
        reporters: list[TopDownReporter] = []
        try:
            with (
                on_signal() as stop,
                durable(folder),
                _reporter(progress, reporters),
            ):
                stop.agree = agree
                cls.session = Session(stop, guard, progress, harvest, folder, first)
                super().run(
                    model=model,
                    trainer_options=options,
                    distributed_option=distributed_option,
                    **others,
                )
        finally:
            cls.session = None
            for handle in filter(None, handles):
                handle.remove()
        if first:
            check_result(folder, reporters[0], options.best_model_criterion)

    @classmethod
    def train_one_epoch(cls, model, iterator, optimizers, options, **others) -> bool:  # type: ignore[no-untyped-def]
        """One epoch; gradients left over from the epoch before are dropped."""
        session, epoch = cls.session, others["reporter"].get_epoch()
        for optimizer in optimizers:
            optimizer.zero_grad()
        if session is not None:
            if session.first:
                check_room(session.folder)
            check_steps(count(iterator), options.accum_grad)
            if session.progress:
                session.progress.start_epoch()
            iterator = Watched(iterator, session, epoch, train=True)
        invalid = super().train_one_epoch(
            model=model,
            iterator=iterator,
            optimizers=optimizers,
            options=options,
            **others,
        )
        if invalid:
            raise TopDownError(
                "E_NAN",
                f"no step of epoch {epoch} had a finite gradient",
                "lower the learning rate, or look for broken audio and transcripts",
                DATA,
            )
        return invalid

    @classmethod
    def validate_one_epoch(cls, model, iterator, **others) -> None:  # type: ignore[no-untyped-def]
        """The validation of one epoch; then, before it is saved, its harvest."""
        session, epoch = cls.session, others["reporter"].get_epoch()
        if session is not None:
            iterator = Watched(iterator, session, epoch, train=False)
        super().validate_one_epoch(model=model, iterator=iterator, **others)
        if session is not None and session.harvest:
            session.harvest.epoch(epoch, model)


@contextlib.contextmanager
def _reporter(progress: Progress | None, made: list) -> Iterator[None]:
    """Let ESPnet's loop make our reporter."""
    on_epoch = progress.epoch if progress else None
    original = stock.Reporter

    @functools.wraps(original)
    def make(*args: Any, **kwargs: Any) -> TopDownReporter:
        made.append(TopDownReporter(*args, on_epoch=on_epoch, **kwargs))
        return made[-1]

    stock.Reporter = make
    try:
        yield
    finally:
        stock.Reporter = original


def count(iterator: Any) -> int | None:
    """Batches of an epoch, where that is known beforehand."""
    try:
        return len(iterator)
    except TypeError:
        return None


def check_steps(batches: int | None, accum_grad: int) -> None:
    """Refuse an epoch in which no update would happen: E_NO_STEP (78)."""
    if batches is not None and batches < accum_grad:
        raise TopDownError(
            "E_NO_STEP",
            f"accum_grad {accum_grad} > {batches} batches: no update would happen",
            "lower accum_grad or the batch size",
        )


def stop_if_stopped(options: Any) -> Any:
    """Options under which a training that has stopped early is not trained again.

    Release 202611 does this itself, 202511 would train one more epoch at each call.
    """
    path = Path(options.output_dir) / CHECKPOINT
    if not options.resume or options.patience is None or not path.exists():
        return options
    reporter = read_checkpoint(path)["reporter"]
    saved = Saved(int(reporter["epoch"]), reporter["stats"])
    if stopped_early(saved, options.patience, options.early_stopping_criterion):
        return dataclasses.replace(options, max_epoch=saved.epoch)
    return options


def check_result(folder: Path, reporter: TopDownReporter, criteria: Any) -> None:
    """A training that leaves no usable best model has failed, whatever it says.

    Raises:
        TopDownError: E_NAN or E_BEST_LOST.
    """
    known = [c for c in criteria if reporter.has(c[0], c[1])]
    if not known:
        names = ", ".join(f"{c[0]}.{c[1]}" for c in criteria)
        raise TopDownError(
            "E_NAN",
            f"{names}: NaN or absent in every epoch",
            "look for broken audio and transcripts, lower the learning rate, or "
            "choose another best_model_criterion",
            DATA,
        )
    for phase, key, mode in known:
        epoch = reporter.get_best_epoch(phase, key, mode)
        link = folder / f"{phase}.{key}.best.pth"
        if not link.exists():
            raise TopDownError(
                "E_BEST_LOST",
                f"{link} should be epoch {epoch}, whose file is not there",
                "bring the file back, or train in a new folder",
                DATA,
            )
