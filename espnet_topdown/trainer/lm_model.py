"""ESPnet's language model, trained on text that goes on from batch to batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from espnet2.lm.abs_model import AbsLM
from espnet2.lm.espnet_model import ESPnetLanguageModel
from torch import Tensor


class ContinuousLanguageModel(ESPnetLanguageModel):
    """Cross-entropy, in training with two penalties on the last LSTM's output.

    Sentences that come without ``target`` are treated one by one, as ESPnet does.

    Args:
        lm: One that has ``features`` and ``out``, such as AWDLSTM.
        vocab_size: Words.
        ignore_id: Not used: there is no padding.
        activation_penalty: Times the mean square of the output after dropout (AR).
        change_penalty: Times the mean square of its change between steps (TAR).
    """

    def __init__(
        self,
        lm: AbsLM,
        vocab_size: int,
        ignore_id: int = 0,
        activation_penalty: float = 2.0,
        change_penalty: float = 1.0,
    ) -> None:
        super().__init__(lm=lm, vocab_size=vocab_size, ignore_id=ignore_id)
        self.activation_penalty = activation_penalty
        self.change_penalty = change_penalty
        self.hidden: Any = None
        self.lr_scale = 1.0  # of the last batch; the optimizer reads it

    def forward(  # type: ignore[override]
        self, text: Tensor, text_lengths: Tensor, **batch: Any
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss of a batch of columns, and its cross-entropy in nats a token.

        Args:
            text: (columns, steps).
            text_lengths: Of the columns; all are ``steps``.
            **batch: ``target``, as ``text`` and one step on; ``reset``, whether the
                columns begin here; ``lr_scale``, for the optimizer.
        """
        if batch.get("target") is None:
            return super().forward(text, text_lengths)
        self.lr_scale = float(batch["lr_scale"])
        hidden = None if batch["reset"] else self.hidden
        dropped, raw, hidden = self.lm.features(text, hidden)
        self.hidden = [(h.detach(), c.detach()) for h, c in hidden]
        scores = self.lm.out(dropped.flatten(0, 1))
        target = batch["target"].t().reshape(-1)
        entropy = F.cross_entropy(scores, target)
        loss = entropy
        if self.training:
            loss = entropy + self._penalty(dropped, raw)
        count = torch.tensor(float(target.numel()), device=scores.device)
        return loss, {"loss": entropy.detach()}, count

    def _penalty(self, dropped: Tensor, raw: Tensor) -> Tensor:
        total = self.activation_penalty * dropped.pow(2).mean()
        if len(raw) > 1:
            change = (raw[1:] - raw[:-1]).pow(2).mean()
            total = total + self.change_penalty * change
        return total
