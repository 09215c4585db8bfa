"""What is checked before a search, so that its numbers can mean something."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown.cmd.places import visible
from espnet_topdown.data.characters import name_two_spellings
from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.data.validate import SetReport, check_overlap, validate_set
from espnet_topdown.data.words import check_vocabulary, read_ids
from espnet_topdown.errors import TopDownError, nearest, warn
from espnet_topdown.jobs.verify import stack_of
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.tasks import find_task, kind_of
from espnet_topdown.models.text import TextReader
from espnet_topdown.scoring.sound import read_wav_scp

log = logging.getLogger(__name__)


def check_base(
    base: Experiment,
    allow_unfinished: bool = False,
    allow_pipes: bool = False,
    allow_overlap: bool = False,
) -> None:
    """Check the base experiment and the data that it names.

    Raises:
        TopDownError: E_NOT_CONVERGED, E_TOKENS, E_OVERLAP, or what is wrong with an
            utterance, with its file and line.
    """
    if not allow_unfinished:
        base.check_finished()
    check_criteria(base)
    reader = TextReader.of(base.config, base.folder / "config.yaml")
    lists, texts, full = [], {}, True
    for phase in ("train", "valid"):
        report = _check_set(base, phase, reader, allow_pipes)
        if report is not None:
            lists.append(base.data_path(phase, "speech")[0])
            texts[base.data_path(phase, "text")[0]] = report.texts
            full = full and report.full
    name_two_spellings(texts)
    if len(lists) == 2 and not allow_overlap:
        check_overlap(lists, full, False)


def _check_set(
    base: Experiment, phase: str, reader: TextReader, allow_pipes: bool
) -> SetReport | None:
    (wav_scp, sound), (text, kind) = (
        base.data_path(phase, name) for name in ("speech", "text")
    )
    if (sound, kind) != ("sound", "text"):
        warn("W_DATA_UNCHECKED", f"{phase} set of type {sound}: not checked")
        return None
    report = validate_set(
        wav_scp,
        text,
        fs=base.sample_rate,
        cut=reader.tokens,
        token_list=base.token_list if reader.token_list else None,
        shape_files=[Path(p) for p in base.config.get(f"{phase}_shape_file") or []],
        allow_pipes=allow_pipes,
        is_trained=True,
    )
    log.info(
        "%s set: %d utterances, %.1f minutes",
        phase,
        report.utterances,
        report.seconds / 60,
    )
    return report


def check_criteria(base: Experiment) -> None:
    """Refuse a criterion that the base's own training did not report.

    Which numbers a model reports is known to itself only, so its checkpoint is asked.

    Raises:
        TopDownError: E_CRITERION (78).
    """
    if not (base.folder / "checkpoint.pth").is_file():
        return
    reported = base.stats.get(base.last_epoch, {})
    for criterion in base.criteria:
        known = reported.get(criterion.phase, {})
        if criterion.key not in known:
            what = f"{base.folder} reported no {criterion.phase}.{criterion.key}"
            do = "name one in its best_model_criterion that it reports"
            hint = nearest(criterion.key, known)
            raise TopDownError("E_CRITERION", f"{what} ({hint})", do)


def check_gpus(ngpu: int) -> None:
    """Refuse a training on more GPUs than this machine shows.

    Raises:
        TopDownError: E_GPU (78).
    """
    shown = len(visible()) if ngpu else 0
    if ngpu > shown:
        what = f"the training asks for ngpu {ngpu}, this machine shows {shown} GPUs"
        raise TopDownError("E_GPU", what, "give --ngpu 0 for the CPU, or fewer")


def check_scored(base: Experiment) -> None:
    """Decode and score the two shortest utterances of the validation set with the base.

    What no model of its kind can do, or this machine cannot, is known before anything
    is trained.

    Raises:
        TopDownError: E_NO_CTC, E_INSTALL, E_CONFIG_KEY, E_CKPT_KEYS and others of the
            scoring.
    """
    if kind_of(base.config) == "lm":
        check_lm_kind(base)
        return
    from espnet_topdown.scoring.decode import Recognizer

    config, model = base.folder / "config.yaml", base.model_file()
    recognizer = Recognizer(config, model, fix_eval_dropout=base.fix_eval_dropout)
    files = read_wav_scp(base.data_path("valid", "speech")[0])
    texts = read_pairs(base.data_path("valid", "text")[0])
    shortest = sorted(files.keys() & texts.keys(), key=lambda utt: len(texts[utt]))[:2]
    hyps = recognizer.recognize({utt: files[utt] for utt in shortest})
    recognizer.score("check", hyps, {utt: texts[utt] for utt in shortest})


def check_trained(folder: Path, job: Mapping[str, Any]) -> None:
    """Build the model as the trainer will; its layers must hold what it trains.

    Raises:
        TopDownError: E_STACK (78) when the sums differ; E_INSTALL (78) when the model
            needs a package that is missing.
    """
    base = Experiment(Path(job["base_exp"]), Path(job["base_model"]))
    task = find_task(job["task"]).call("task")
    args = argparse.Namespace(**{**base.config, "init": None})
    try:
        model = task.build_model(args)
    except ModuleNotFoundError as e:
        what = f"the model of {base.folder} needs the package {e.name}"
        raise TopDownError("E_INSTALL", what, f"run 'pip install {e.name}'") from e
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    size = sum(p.numel() for p in trained.values())
    total = sum(job["layers"].values())
    if size == total:
        return
    stack = stack_of(folder, job, base.weights())
    placed = {n for g in stack.groups for n in g.params}
    which = sorted(trained.keys() - placed) or sorted(placed - trained.keys())
    what = f"the trainer has {size:,} values, the layers of stack {job['stack']} "
    what += f"{total:,}: see {', '.join(which[:3])}"
    do = "give --stack FILE.yaml with each of them in one layer, and constants in "
    raise TopDownError("E_STACK", what, f"{do}'ignore'")


def check_lm_kind(base: Experiment) -> None:
    """Refuse a language model that is not trained and scored here.

    Raises:
        TopDownError: E_KIND (78) for ESPnet's own, which takes single sentences.
    """
    if base.config.get("model") != "continuous":
        what = f"{base.folder} is ESPnet's own language model '{base.config['lm']}': "
        what += "its layers and a plan are shown, but it is not trained or scored here"
        do = "train one on continuous text (lm: awd_lstm, model: continuous)"
        raise TopDownError("E_KIND", what, do)


def check_lm_base(
    base: Experiment,
    allow_unfinished: bool = False,
    allow_pipes: bool = False,
    allow_overlap: bool = False,
) -> None:
    """Check the base experiment and the texts that it names.

    Raises:
        TopDownError: E_NOT_CONVERGED, E_TOKENS, E_MISSING, E_EMPTY, E_UTF8 or E_OOV.
    """
    if not allow_unfinished:
        base.check_finished()
    check_criteria(base)
    check_lm_kind(base)
    tokens = check_vocabulary(base.token_list, f"{base.folder}/config.yaml")
    for phase in ("train", "valid"):
        path, _ = base.data_path(phase, "text")
        log.info("%s text: %d tokens", phase, len(read_ids(path, tokens)))
