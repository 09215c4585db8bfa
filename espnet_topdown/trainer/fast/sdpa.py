"""Attention of Transformers by torch's fused kernel, which ESPnet does not offer.

ESPnet's attention module has the path, and no option of its encoders and decoders leads
there. It is taken in training only: validation, plots of attention weights and decoding
stay ESPnet's usual ones. Numbers agree up to rounding; with attention dropout another
mask is drawn. Relative positions (Conformer) have no such path.
"""

from __future__ import annotations

import torch
from espnet2.asr.encoder import transformer_encoder

# Its package is another one in each ESPnet release.
Attention = transformer_encoder.MultiHeadedAttention


def install(model: torch.nn.Module) -> int:
    """Let every plain attention module take the fused path.

    Args:
        model: Changed in place.

    Returns:
        How many modules do.
    """
    found = [m for m in model.modules() if type(m) is Attention and _can(m)]
    for module in found:
        module.register_forward_pre_hook(_choose)
    return len(found)


def _can(module: torch.nn.Module) -> bool:
    # Whether the module has the path and is not on a faster one already.
    return hasattr(module, "use_sdpa") and not getattr(module, "use_flash_attn", False)


def _choose(module: torch.nn.Module, inputs: object) -> None:
    module.use_sdpa = module.training  # type: ignore[assignment]
