"""What happens inside one job: train, verify, score. Safe to repeat at any point."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown.cmd.places import check_gpus
from espnet_topdown.errors import INTERNAL, TopDownError
from espnet_topdown.files import Lock, read_json, read_yaml, write_json
from espnet_topdown.jobs.check import check_works
from espnet_topdown.jobs.plan import plan
from espnet_topdown.jobs.prepare import check_place, prepare
from espnet_topdown.jobs.spec import RetrainSpec
from espnet_topdown.jobs.verify import verify
from espnet_topdown.models.config import read_record
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.tasks import find_task
from espnet_topdown.records import DONE, write_seal
from espnet_topdown.scoring.counts import unit_score


def run_job(
    folder: Path,
    train_only: bool = False,
    ngpu: int | None = None,
    allow_infeasible: bool = False,
) -> None:
    """Do what is left to do in a prepared job folder; nothing if it is done.

    Args:
        folder: What ``prepare`` wrote.
        train_only: Do not verify and score yet; the training may go on later.
        ngpu: GPUs that train together, one process each; None: as the base experiment.
        allow_infeasible: Train on, though CTC cannot align some utterances.

    Raises:
        TopDownError: E_LOCKED (75) when another process works here; those of the
            trainer, of verify and of the scoring.
    """
    folder = Path(folder)
    job = read_record(folder / "retrain.yaml")
    if is_done(folder):
        return
    with Lock(folder / ".lock"):
        if job["trainer"]:
            _train(folder, job, ngpu, allow_infeasible)
        if train_only:
            return
        if job["trainer"]:
            verify(folder)
        write_json(folder / "score.json", score(folder, job))
        write_seal(folder)


def is_done(folder: Path) -> bool:
    """Whether a job has ended well; its marker is written last.

    Returns:
        Whether the marker is there.
    """
    return (Path(folder) / DONE).is_file()


def _train(
    folder: Path, job: Mapping[str, Any], ngpu: int | None, allow_infeasible: bool
) -> None:
    """Train to the end of train.yaml, from the last checkpoint if there is one.

    Args:
        folder: The job.
        job: What its retrain.yaml holds.
        ngpu: See ``run_job``.
        allow_infeasible: See ``run_job``.

    Raises:
        TopDownError: E_TRAINING (70); those of the trainer.
    """
    if not is_trained(folder):
        options = [
            word
            for key, value in (job.get("trainer_options") or {}).items()
            for word in (f"--{key}", str(value).lower())
        ]
        options = ["--config", str(folder / "train.yaml"), *options]
        if ngpu is not None:
            options += ["--ngpu", str(ngpu)]
        if (ngpu or 0) > 1:
            options += ["--multiprocessing_distributed", "true"]
        if allow_infeasible:
            options += ["--allow_infeasible", "true"]
        if (folder.parent / "search.yaml").is_file():  # ESPnet has no option for it
            os.environ.setdefault("WANDB_RUN_GROUP", folder.resolve().parent.name)
        importlib.import_module(job["trainer"]).main(options)
    if not is_trained(folder):
        what = f"{folder}: the trainer ended before the last epoch"
        do = "read train.log there; the same command continues"
        raise TopDownError("E_TRAINING", what, do, INTERNAL)


def is_trained(folder: Path) -> bool:
    """Whether training has reached its last epoch, or stopped early as asked.

    Returns:
        Whether nothing is left to train.
    """
    if not (folder / "checkpoint.pth").is_file():
        return False
    try:
        experiment = Experiment(folder)
        # not config.yaml's: control joint is trained in parts, to a growing goal
        goal = read_yaml(folder / "train.yaml")
        experiment.check_finished(int(goal["max_epoch"]), goal.get("patience"))
        experiment.model_file()
    except TopDownError:
        return False  # the trainer repairs, or says what is wrong
    return True


def score(folder: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    """Integer error counts of the best epoch on the whole validation set.

    Args:
        folder: The job.
        job: What its retrain.yaml holds.

    Returns:
        What score.json holds.
    """
    exp, best = folder, None
    if not job["trainer"]:  # the joint model, where it was trained
        exp, best = Path(job["base_exp"]), Path(job["base_model"])
    experiment = Experiment(exp, best, bool(job.get("fix_eval_dropout")))
    model = experiment.model_file()
    result = find_task(job.get("task", "asr")).call("score")(experiment, model)
    result["epoch"] = experiment.epoch_of(model)
    return result


def run_by_hand(
    spec: RetrainSpec,
    folder: Path,
    ngpu: int | None = None,
    allow_infeasible: bool = False,
    allow_pipes: bool = False,
    allow_overlap: bool = False,
) -> None:
    """Prepare a retraining, show its plan, run it here and show its errors.

    Args:
        spec: What is trained.
        folder: Its folder.
        ngpu: See ``run_job``.
        allow_infeasible: See ``run_job``.
        allow_pipes: See ``check_asr_data``.
        allow_overlap: See ``check_asr_data``.

    Raises:
        TopDownError: E_GPU (78) when the configuration asks for GPUs that are not here;
            those of ``check_works``, before anything is written; of ``run_job``.
    """
    check_place(spec.base.folder, folder)
    asked = spec.base.config.get("ngpu") or 0 if ngpu is None else ngpu
    check_gpus(int(asked))
    if not (Path(folder) / "retrain.yaml").is_file():
        allowed = allow_pipes, allow_overlap
        check_data = functools.partial(spec.task.call("check"), spec.base, *allowed)
        layers = plan(spec).layers.stack
        check_works(spec.base, layers, spec.task, spec.trainer, check_data)
    planned = prepare(spec, folder)
    print(planned.table(spec), flush=True)
    run_job(folder, ngpu=ngpu, allow_infeasible=allow_infeasible)
    result = read_json(Path(folder) / "score.json")
    task = find_task(read_record(Path(folder) / "retrain.yaml")["task"])
    for unit in task.criteria[:2]:
        print(f"valid {unit_score(result[unit]).show(unit)}")
