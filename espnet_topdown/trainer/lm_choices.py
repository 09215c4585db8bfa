"""Our language models among ESPnet's: any of its commands can then read them."""

from __future__ import annotations

from espnet2.tasks.lm import lm_choices, model_choices

from espnet_topdown.trainer.awd_lstm import AWDLSTM
from espnet_topdown.trainer.lm_model import ContinuousLanguageModel


def register() -> None:
    """Make ``lm: awd_lstm`` and ``model: continuous`` known."""
    lm_choices.classes["awd_lstm"] = AWDLSTM
    model_choices.classes["continuous"] = ContinuousLanguageModel
