"""ESPnet's modules that have a faster way to the same numbers on a CPU."""

from __future__ import annotations

import torch
from espnet2.asr.decoder.rnn_decoder import RNNDecoder

from espnet_topdown.trainer.fast._cpu_decoder import CPURNNDecoder
from espnet_topdown.trainer.fast._cpu_lstm import CPULSTM
from espnet_topdown.trainer.fast._cpu_rnnp import CPURNNP, RNNP

_FASTER: dict[type, type] = {
    torch.nn.LSTM: CPULSTM,
    RNNP: CPURNNP,
    RNNDecoder: CPURNNDecoder,
}


def install(model: torch.nn.Module) -> int:
    """Let every plain module of these classes take its fast way.

    Args:
        model: Names and values of parameters do not change, nor what ``torch.save``
            writes.

    Returns:
        How many modules changed.
    """
    found = [m for m in model.modules() if type(m) in _FASTER]
    found = [m for m in found if not getattr(m, "proj_size", 0)]
    for module in found:
        module.__class__ = _FASTER[type(module)]
    return len(found)
