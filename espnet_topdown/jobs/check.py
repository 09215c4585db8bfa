"""What is checked before a search, so that its numbers can mean something."""

from __future__ import annotations

import logging
from pathlib import Path

from espnet_topdown.data.characters import name_two_spellings
from espnet_topdown.data.validate import SetReport, check_overlap, validate_set
from espnet_topdown.data.words import check_vocabulary, read_ids
from espnet_topdown.errors import warn
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.text import TextReader

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
    tokens = check_vocabulary(base.token_list, f"{base.folder}/config.yaml")
    for phase in ("train", "valid"):
        path, _ = base.data_path(phase, "text")
        log.info("%s text: %d tokens", phase, len(read_ids(path, tokens)))
