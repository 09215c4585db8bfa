"""The trainer's ``cer_ctc`` without what a model says to padding.

ESPnet scores the frames behind the end of an utterance as if they were speech, so its
``valid.cer_ctc`` depends on how utterances are put into batches. It is pooled over the
utterances of a batch and leaves spaces out: with all of the validation set in one batch
it is the character error rate of the set.
"""

from __future__ import annotations

from typing import Any

import torch


class WithoutPadding:
    """ESPnet's error calculator, told where each utterance ends."""

    def __init__(self, calculator: Any, blank: int) -> None:
        self.calculator, self.blank = calculator, blank
        self.lengths: torch.Tensor | None = None

    def note(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        """A forward pre-hook of ``ctc(hs_pad, hlens, ys_pad, ys_lens)``."""
        self.lengths = kwargs.get("hlens", args[1] if len(args) > 1 else None)

    def __call__(
        self, ys_hat: torch.Tensor, ys_pad: torch.Tensor, is_ctc: bool = False
    ) -> Any:
        """Score ``ys_hat`` (B, T); frames behind an utterance's end are blank."""
        if is_ctc and self.lengths is not None:
            frames = torch.arange(ys_hat.shape[1])
            behind = frames[None, :] >= self.lengths.cpu()[:, None]
            ys_hat = ys_hat.masked_fill(behind, self.blank)
        return self.calculator(ys_hat, ys_pad, is_ctc=is_ctc)


def attach(model: torch.nn.Module) -> Any:
    """Let a model's validation leave padding out; returns the hook's handle.

    A model without CTC, or one that reports no errors, is left alone.
    """
    calculator, ctc = (
        getattr(model, "error_calculator", None),
        getattr(model, "ctc", None),
    )
    if calculator is None or ctc is None or isinstance(calculator, WithoutPadding):
        return None
    model.error_calculator = WithoutPadding(calculator, getattr(model, "blank_id", 0))
    return ctc.register_forward_pre_hook(model.error_calculator.note, with_kwargs=True)
