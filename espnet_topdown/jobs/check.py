"""What is checked before a search, so that its numbers can mean something."""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_topdown.data.audio import Source
from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.data.validate import (
    SetReport,
    check_text,
    compare_sets,
    validate_set,
)
from espnet_topdown.data.words import check_vocabulary, read_ids
from espnet_topdown.errors import DATA, MISSING, TopDownError, nearest, warn
from espnet_topdown.files import read_yaml
from espnet_topdown.jobs.plan import Layers
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.layers import LayerStack
from espnet_topdown.models.tasks import FILE, Task, how_to_install, kind_of
from espnet_topdown.models.text import TextReader
from espnet_topdown.models.type_checks import import_quietly
from espnet_topdown.scoring.sound import read_wav_scp

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)
_PHASES = ("train", "valid")
_TRIES = 8  # stochastic depth passes layers by; a gradient may vanish in one batch


def check_trained(base: Experiment, allow_unfinished: bool = False) -> None:
    """Refuse a base whose training did not end, or reported none of its criteria.

    Which numbers a model reports is known to itself only, so its checkpoint is asked.

    Raises:
        TopDownError: E_NOT_CONVERGED or E_CRITERION (78).
    """
    if not allow_unfinished:
        base.check_finished()
    if not (base.folder / "checkpoint.pth").is_file():
        return
    reported = base.stats.get(base.last_epoch, {})
    if any(c.key in reported.get(c.phase, {}) for c in base.criteria):
        return  # ESPnet leaves out the others, such as the accuracy of its default
    criterion = base.criteria[0]
    hint = nearest(criterion.key, reported.get(criterion.phase, {}))
    what = f"{base.folder} reported no {criterion.phase}.{criterion.key} ({hint})"
    do = "name one in its best_model_criterion that it reports"
    raise TopDownError("E_CRITERION", what, do)


def check_asr_data(
    base: Experiment, allow_pipes: bool = False, allow_overlap: bool = False
) -> None:
    """Check the sets that a recogniser's experiment names.

    Args:
        base: The experiment.
        allow_pipes: Do not refuse commands in ``wav.scp``.
        allow_overlap: Do not refuse utterances that are in both sets.

    Raises:
        TopDownError: E_TOKENS, E_OVERLAP, or what is wrong with an utterance, with its
            file and line.
    """
    reader = TextReader.of(base.config, base.folder / "config.yaml")
    reports = [_check_set(base, phase, reader, allow_pipes) for phase in _PHASES]
    compare_sets([r for r in reports if r is not None], allow_overlap)


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
        "%s set: %d utterances, %.1f minutes, %s",
        phase,
        len(report.texts),
        report.seconds / 60,
        report.depth,
    )
    return report


def check_works(
    base: Experiment,
    stack: LayerStack,
    task: Task,
    trainer: str,
    check_data: Callable[[], None],
) -> None:
    """Build the base once, train it for one batch, decode and score two utterances.

    What no model of its kind can do, or this machine cannot, is known before anything
    is written. What a trainer of the user's builds is not known.

    Args:
        base: The joint training.
        stack: Its layers.
        task: Its kind of model.
        trainer: Module of the training command.
        check_data: Reads all data; called as soon as the model is built.

    Raises:
        TopDownError: E_NO_CTC, E_KIND, E_INSTALL, E_STACK, E_NAN, E_CKPT_KEYS,
            E_CKPT_SHAPE, E_CONFIG_KEY and others of the scoring; of ``check_data``;
            E_MISSING (66) for a file that is gone.
    """
    _check_kind(base, task)
    if trainer in (task.trainer, task.options_of):
        import_quietly(task.task.partition(":")[0])
        options = _options(base, task, trainer)
        if trainer == task.trainer:
            _check_options(base, task, options)
        try:
            task.call("works")(base, stack, check_data)
            _check_training(base, task, options)
        except FileNotFoundError as e:
            what = f"{base.folder}/config.yaml names '{e.filename}', which is not there"
            do = "run in the recipe folder: its paths are relative to it"
            raise TopDownError("E_MISSING", what, do, MISSING) from e
    else:
        check_data()


def _options(base: Experiment, task: Task, trainer: str) -> argparse.Namespace:
    """The base's options as its trainer's own parser reads them.

    A parser takes any value of a config whose type is right, also one that is none of
    its choices.

    Returns:
        All options, those that the config lacks with their defaults.

    Raises:
        TopDownError: E_CONFIG_KEY (78).
    """
    parser, config = task.call("task").get_parser(), base.train_config(trainer)
    for action in parser._actions:
        value = config.get(action.dest)
        with _named(base, f"{action.dest} is {value!r}"):
            if isinstance(value, str) and action.type:
                value = action.type(value)
        if value is not None and action.choices and value not in action.choices:
            close = nearest(str(value), [str(c) for c in action.choices])
            raise _wrong(base, f"{action.dest} is {value!r} ({close})")
    parser.set_defaults(**config)
    return parser.parse_args([])


def _check_options(base: Experiment, task: Task, options: argparse.Namespace) -> None:
    """What our trainers ask before they begin, with the file that it is about."""
    check = getattr(task.call("task"), "check_options", None)
    anew = copy.copy(options)
    anew.output_dir = None  # the base is trained, a candidate is not begun
    try:
        if check:  # ESPnet's own trainers have none
            check(anew)
    except TopDownError as e:
        what = f"{base.folder}/config.yaml: {e.what}"
        raise TopDownError(e.code, what, e.remedy, e.status) from e


def _check_training(base: Experiment, task: Task, options: argparse.Namespace) -> None:
    """Build what trains and what makes batches, as ESPnet does after the model.

    Raises:
        TopDownError: E_CONFIG_KEY or E_INSTALL (78).
        FileNotFoundError: A list is gone.
    """
    from espnet_topdown.trainer.trainer import part_builders

    for keys, build in part_builders(task.call("task"), options).items():
        with _named(base, keys):
            build()


def _wrong(base: Experiment, what: str) -> TopDownError:
    do = "write what this ESPnet takes, or give an experiment that it can train"
    return TopDownError("E_CONFIG_KEY", f"{base.folder}/config.yaml: {what}", do)


@contextlib.contextmanager
def _named(base: Experiment, about: str) -> Iterator[None]:
    """Name the config where ESPnet's own parts fail, each in its own way.

    Raises:
        TopDownError: E_CONFIG_KEY or E_INSTALL (78) with ESPnet's own words.
    """
    try:
        yield
    except (OSError, TopDownError):
        raise
    except ModuleNotFoundError as e:
        what = f"{base.folder}/config.yaml: {about} needs the package {e.name}"
        raise TopDownError("E_INSTALL", what, how_to_install(e.name or "")) from e
    except Exception as e:
        raise _wrong(base, f"{about} ({type(e).__name__}: {e})") from e


def check_asr_model(
    base: Experiment, stack: LayerStack, check_data: Callable[[], None]
) -> None:
    """``check_works`` of a model that recognises speech.

    Args:
        base: The experiment.
        stack: Its layers.
        check_data: Reads all data; called once the model is built.

    Raises:
        TopDownError: See ``check_works``.
    """
    _check_ctc(base)
    from espnet_topdown.scoring.decode import Recognizer

    recognizer = Recognizer(base, base.model_file())
    _check_layers(base, stack, recognizer.model)
    check_data()
    files, texts = next(_shortest(base, "valid"))
    with _named(base, f"the model cannot be run on {' and '.join(texts)}"):
        recognizer.score("check", recognizer.recognize(files), texts)
    batches = (
        (
            " and ".join(texts),
            functools.partial(recognizer.training_batch, files, texts),
        )
        for files, texts in itertools.cycle(_shortest(base, "train"))
    )
    _check_gradients(base, stack, recognizer.model, batches)


def check_lm_model(
    base: Experiment, stack: LayerStack, check_data: Callable[[], None]
) -> None:
    """``check_works`` of a language model on continuous text."""
    from espnet_topdown.scoring.model import load_model
    from espnet_topdown.scoring.perplexity import token_nll
    from espnet_topdown.trainer.bptt import Batches, batchify, fixed_windows

    model = load_model(base, base.model_file())
    _check_layers(base, stack, model)
    check_data()
    tokens, steps = base.token_list, 20
    texts = {p: read_ids(base.data_path(p, "text")[0], tokens) for p in _PHASES}
    token_nll(model.lm, batchify(texts["valid"][: 2 * steps], 2))
    text = batchify(texts["train"][: 2 * steps], 2)
    ((_, batch), *_) = Batches(text, fixed_windows(text.shape[1], steps), steps)
    batches = itertools.repeat(("its first lines", lambda: batch))
    _check_gradients(base, stack, model, batches)


def check_sentence_model(
    base: Experiment, stack: LayerStack, check_data: Callable[[], None]
) -> None:
    """``check_works`` of ESPnet's own language model, which reads single sentences."""
    from espnet_topdown.scoring.model import load_model
    from espnet_topdown.scoring.perplexity import read_sentences

    model = load_model(base, base.model_file())
    _check_layers(base, stack, model)
    check_data()
    for phase in ("valid", "train"):
        names, batch = next(iter(read_sentences(base, phase, 2)))
        model.nll(**batch)  # type: ignore[operator]
    batches = itertools.repeat((" and ".join(names), lambda: batch))
    _check_gradients(base, stack, model, batches)


# Audio and text of two utterances at a time, those with the shortest texts first.
def _shortest(
    base: Experiment, phase: str
) -> Iterator[tuple[dict[str, Source], dict[str, str]]]:
    files = read_wav_scp(base.data_path(phase, "speech")[0])
    texts = read_pairs(base.data_path(phase, "text")[0])
    names = sorted(files.keys() & texts.keys(), key=lambda utt: (len(texts[utt]), utt))
    while names:
        two, names = names[:2], names[2:]
        yield {n: files[n] for n in two}, {n: texts[n] for n in two}


def _check_ctc(base: Experiment) -> None:
    """Refuse a model that has neither CTC nor a decoder that is decoded here.

    Raises:
        TopDownError: E_NO_CTC (78).
    """
    weight = (base.config.get("model_conf") or {}).get("ctc_weight", 0.5)
    decoder = base.config.get("decoder")
    if weight == 0 and decoder in read_yaml(FILE)["only_with_ctc"]:
        what = f"{base.folder}: a model with decoder '{decoder}' is scored by its CTC "
        what += "layer, and this one has none"
        raise TopDownError("E_NO_CTC", what, "train it with a ctc_weight above 0")


def _check_layers(base: Experiment, stack: LayerStack, model: torch.nn.Module) -> None:
    """The layers must hold exactly what the trainer trains.

    Raises:
        TopDownError: E_STACK (78).
    """
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    size = sum(p.numel() for p in trained.values())
    total = sum(Layers(base.header(), stack).sizes.values())
    if size == total:
        return
    placed = {n for g in (*stack.groups, *stack.held) for n in g.params}
    which = sorted(trained.keys() - placed) or sorted(placed - trained.keys())
    what = f"the trainer of {base.folder} has {size:,} values, its layers {total:,}: "
    what += f"see {', '.join(which[:3])}"
    do = "give --stack FILE.yaml with each of them in one layer, and constants in "
    raise TopDownError("E_STACK", what, f"{do}'ignore'")


def _check_gradients(
    base: Experiment,
    stack: LayerStack,
    model: torch.nn.Module,
    batches: Iterator[tuple[str, Callable[[], Mapping[str, Any]]]],
) -> None:
    """The losses of a few batches must be finite and have a gradient in every layer.

    Raises:
        TopDownError: E_NAN (65) or E_STACK (78).
    """
    model.train()
    parameters = dict(model.named_parameters())
    for which, make_batch in itertools.islice(batches, _TRIES):
        with _named(base, f"the model cannot be run on {which}"):
            loss = model(**make_batch())[0].sum()
        if not loss.isfinite():
            what = f"{base.folder}: the loss of {which} of the training set is {loss}"
            do = "look at their audio and transcripts, or give --base_model FILE"
            raise TopDownError("E_NAN", what, do, DATA)
        loss.backward()
        grads = {n: p.grad for n, p in parameters.items() if p.grad is not None}
        reached = {n for n, g in grads.items() if g.isfinite().all() and g.any()}
        silent = [g.name for g in stack.groups if reached.isdisjoint(g.params)]
        if not silent:
            return
    what = f"{base.folder}: no gradient reaches layer {', '.join(silent)}"
    do = "give --stack FILE.yaml that joins it to another layer"
    raise TopDownError("E_STACK", what, do)


def _check_kind(base: Experiment, task: Task) -> None:
    """Refuse a layer stack of another kind of model, such as of language model.

    Raises:
        TopDownError: E_KIND (78).
    """
    kind = kind_of(base.config)
    if kind != task.name:
        lm = f" (lm: {base.config['lm']})" if "lm" in base.config else ""
        what = f"{base.folder}{lm} is of kind '{kind}', its layer stack is for "
        what += f"'{task.name}'"
        raise TopDownError("E_KIND", what, f"write 'task: {kind}' in the stack file")


def check_lm_data(
    base: Experiment, allow_pipes: bool = False, allow_overlap: bool = False
) -> None:
    """Check the continuous texts that a language model's experiment names.

    Raises:
        TopDownError: E_TOKENS, E_MISSING, E_EMPTY, E_UTF8 or E_OOV.
    """
    tokens = check_vocabulary(base.token_list, f"{base.folder}/config.yaml")
    for phase in _PHASES:
        path, _ = base.data_path(phase, "text")
        log.info("%s text: %d tokens", phase, len(read_ids(path, tokens)))


def check_sentence_data(
    base: Experiment, allow_pipes: bool = False, allow_overlap: bool = False
) -> None:
    """The same for ESPnet's own language models, whose texts are lines of sentences.

    Raises:
        TopDownError: E_EMPTY, and those of ``read_pairs`` and ``check_text``.
    """
    reader = TextReader.of(base.config, base.folder / "config.yaml")
    for phase in _PHASES:
        path, _ = base.data_path(phase, "text")
        if not (texts := read_pairs(path, as_espnet=True)):
            do = "give the text that it was trained on"
            raise TopDownError("E_EMPTY", f"{path} holds no sentence", do, DATA)
        check_text(path, texts, reader.tokens, reader.token_list, is_trained=True)
        log.info("%s text: %d sentences", phase, len(texts))
