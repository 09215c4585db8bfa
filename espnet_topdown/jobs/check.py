"""What is checked before a search, so that its numbers can mean something."""

from __future__ import annotations

import logging
from pathlib import Path

from espnet_topdown.data.overlap import check_overlap
from espnet_topdown.data.validate import SetReport, validate_set
from espnet_topdown.data.words import check_vocabulary, read_ids
from espnet_topdown.errors import warn
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.scoring.units import read_nlsyms

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
    folders, full = [], True
    for phase in ("train", "valid"):
        report = _check_set(base, phase, allow_pipes)
        if report is not None:
            folders.append(base.data_path(phase, "speech")[0].parent)
            full = full and report.full
    if len(folders) == 2 and not allow_overlap:
        check_overlap(folders, full, False)


def _symbols(base: Experiment) -> list[str]:
    """The model's non_linguistic_symbols: a list, or a file."""
    symbols = base.config.get("non_linguistic_symbols")
    if isinstance(symbols, (list, tuple)):
        return [str(s) for s in symbols]
    return read_nlsyms(Path(symbols) if symbols else None)


def _check_set(base: Experiment, phase: str, allow_pipes: bool) -> SetReport | None:
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
        shape_files=[Path(p) for p in base.config.get(f"{phase}_shape_file") or []],
        token_list=base.token_list,
        token_type=str(base.config.get("token_type", "char")),
        allow_pipes=allow_pipes,
        nlsyms=_symbols(base),
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
