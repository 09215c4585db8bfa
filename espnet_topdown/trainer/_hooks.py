"""What watches or corrects a model from outside while ESPnet's trainer runs it.

Each function attaches forward pre-hooks to a model that is otherwise ESPnet's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from espnet_topdown.data.tokens import frames_needed
from espnet_topdown.errors import DATA, TopDownError, warn


class CTCGuard:
    """References that CTC cannot align are errors, not a loss of zero.

    With fewer frames than ``frames_needed`` the loss is infinite; ESPnet sets it to
    zero by default, and the mean loss gets better.

    Args:
        allow: Warn once for each utterance instead of ending the training.

    Attributes:
        utterances: Ids of the batch that the model gets next.
    """

    def __init__(self, allow: bool = False) -> None:
        self.allow = allow
        self.utterances: Sequence[str] = ()
        self._reported: set[str] = set()

    def attach(self, model: torch.nn.Module) -> Any:
        """Look at what goes into ``model.ctc``.

        Returns:
            A handle that has ``remove()``; None of a model without CTC.
        """
        ctc = getattr(model, "ctc", None)
        return None if ctc is None else ctc.register_forward_pre_hook(self._look)

    def _look(self, module: torch.nn.Module, inputs: tuple) -> None:
        if len(inputs) != 4:
            return
        lengths, units, n_units = (t.tolist() for t in inputs[1:])
        names = self.utterances
        if len(names) != len(lengths):
            names = [f"number {i + 1} of its batch" for i in range(len(lengths))]
        needed = [frames_needed(row[:n]) for row, n in zip(units, n_units)]
        self.report(dict(zip(names, zip(needed, lengths))))

    def report(self, utterances: Mapping[str, tuple[int, int]]) -> None:
        """Say which utterances are too short for their references.

        Args:
            utterances: Id -> frames needed, frames it has.

        Raises:
            TopDownError: E_CTC_INFEASIBLE (65) unless they are allowed.
        """
        short = {
            u: f"{u} needs {need} frames, has {have}"
            for u, (need, have) in utterances.items()
            if have < need and u not in self._reported
        }
        self._reported |= short.keys()
        if not short:
            return
        more = f" and {len(short) - 5} more" if len(short) > 5 else ""
        what = "; ".join(list(short.values())[:5]) + more
        if self.allow:
            warn("W_CTC_INFEASIBLE", f"{what}; counted as loss 0")
            return
        what = f"reference longer than the encoder's output: {what}"
        do = "remove these utterances (see filter_data), correct their text, use less "
        do += "subsampling, or give --allow_infeasible true"
        raise TopDownError("E_CTC_INFEASIBLE", what, do, DATA)


def keep_in_eval(model: torch.nn.Module) -> list[str]:
    """Hold every frozen module that has running statistics in eval mode.

    ``requires_grad = False`` stops the weights of a BatchNorm but not its running mean
    and variance, and ESPnet's trainer calls ``model.train()`` at every epoch: a frozen
    layer would drift. A module is frozen when it has parameters and none is trained;
    one without parameters (``affine=False``) when that holds for what contains it.

    Returns:
        The names of those modules.
    """
    names = []
    for name, module in model.named_modules():
        buffers = dict(module.named_buffers(recurse=False))
        if not any(n.startswith("running_") for n in buffers):
            continue
        params = list(module.parameters())
        if not params and "." in name:
            params = list(model.get_submodule(name.rpartition(".")[0]).parameters())
        if params and not any(p.requires_grad for p in params):
            module.register_forward_pre_hook(_to_eval)
            names.append(name)
    return names


def _to_eval(module: torch.nn.Module, inputs: object) -> None:
    module.eval()


class ErrorsWithoutPadding:
    """ESPnet's error calculator, told where each utterance ends.

    ESPnet scores the frames behind the end of an utterance as if they were speech, so
    its ``valid.cer_ctc`` depends on how utterances are put into batches. This one is
    pooled over the utterances of a batch and leaves spaces out: with all of the
    validation set in one batch it is the character error rate of the set.

    Args:
        calculator: ESPnet's.
        blank: Number of the blank.
    """

    def __init__(self, calculator: Any, blank: int) -> None:
        self.calculator, self.blank = calculator, blank
        self.lengths: torch.Tensor | None = None

    @classmethod
    def attach(cls, model: torch.nn.Module) -> Any:
        """Let a model's validation leave padding out.

        Returns:
            The hook's handle; None of a model without CTC, of one that reports no
            errors, and of one that has it already.
        """
        calculator = getattr(model, "error_calculator", None)
        ctc = getattr(model, "ctc", None)
        if calculator is None or ctc is None or isinstance(calculator, cls):
            return None
        ours = cls(calculator, getattr(model, "blank_id", 0))
        model.error_calculator = ours  # type: ignore[assignment]
        return ctc.register_forward_pre_hook(ours._note, with_kwargs=True)

    def _note(self, module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        """A forward pre-hook of ``ctc(hs_pad, hlens, ys_pad, ys_lens)``."""
        self.lengths = kwargs.get("hlens", args[1] if len(args) > 1 else None)

    def __call__(
        self, ys_hat: torch.Tensor, ys_pad: torch.Tensor, is_ctc: bool = False
    ) -> Any:
        """Score a batch; of CTC, frames behind an utterance's end are blank.

        Args:
            ys_hat: (B, T) of the best units.
            ys_pad: (B, U) references.
            is_ctc: Whether ``ys_hat`` has a unit for each frame.

        Returns:
            What ESPnet's calculator gives.
        """
        if is_ctc and self.lengths is not None:
            frames = torch.arange(ys_hat.shape[1])
            behind = frames[None, :] >= self.lengths.cpu()[:, None]
            ys_hat = ys_hat.masked_fill(behind, self.blank)
        return self.calculator(ys_hat, ys_pad, is_ctc=is_ctc)
