"""What is checked before a search on a language model."""

from __future__ import annotations

import logging

from espnet_topdown.data.words import check_vocabulary, read_ids
from espnet_topdown.models.experiment import Experiment

log = logging.getLogger(__name__)


def check_base(
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
