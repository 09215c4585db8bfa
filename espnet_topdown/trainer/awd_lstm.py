"""AWD-LSTM (Merity, Keskar and Socher, ICLR 2018), trained on continuous text.

Both classes are ESPnet's: the network, and the model that gives its loss.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from espnet2.lm.abs_model import AbsLM
from espnet2.lm.espnet_model import ESPnetLanguageModel
from torch import Tensor, nn
from torch.func import functional_call

from espnet_topdown.errors import TopDownError

Hidden = list[tuple[Tensor, Tensor]]  # (h, c) of each layer, each (1, batch, width)


class AWDLSTM(AbsLM):
    """Single-layer LSTMs in a row; the output layer's weight is the embedding's.

    The defaults are the sizes and dropouts for WikiText-2: 33,556,078 parameters with
    its 33,278 words.

    Args:
        vocab_size: Words, the last of which ends a sentence.
        emb_size: Width of the embedding, and of the last LSTM.
        hidden_size: Width of the other LSTMs.
        num_layers: Number of LSTMs.
        embed_dropout: Of whole words at the input.
        input_dropout: Of the embedded input; one mask for all steps, as those below.
        hidden_dropout: Between LSTMs.
        output_dropout: Of the last LSTM's output.
        weight_dropout: Of single recurrent weights, one mask a forward pass.
        init_range: The embedding starts from U(-a, a), the output bias from 0.
    """

    def __init__(
        self,
        vocab_size: int,
        emb_size: int = 400,
        hidden_size: int = 1150,
        num_layers: int = 3,
        embed_dropout: float = 0.1,
        input_dropout: float = 0.65,
        hidden_dropout: float = 0.2,
        output_dropout: float = 0.4,
        weight_dropout: float = 0.5,
        init_range: float = 0.1,
    ) -> None:
        super().__init__()
        rates = (embed_dropout, input_dropout, hidden_dropout, output_dropout)
        for rate in (*rates, weight_dropout):
            if not 0.0 <= rate < 1.0:
                what = f"a dropout of the language model is {rate}"
                raise TopDownError("E_RANGE", what, "give a number from 0 to below 1")
        self.embed_dropout, self.input_dropout = embed_dropout, input_dropout
        self.hidden_dropout, self.output_dropout = hidden_dropout, output_dropout
        self.weight_dropout = weight_dropout
        sizes = [emb_size, *[hidden_size] * (num_layers - 1), emb_size]
        self.embed = nn.Embedding(vocab_size, emb_size)
        self.rnns = nn.ModuleList(nn.LSTM(a, b) for a, b in zip(sizes, sizes[1:]))
        self.out = nn.Linear(emb_size, vocab_size)
        self.out.weight = self.embed.weight
        nn.init.uniform_(self.embed.weight, -init_range, init_range)
        nn.init.zeros_(self.out.bias)

    def features(
        self, ids: Tensor, hidden: Hidden | None = None
    ) -> tuple[Tensor, Tensor, Hidden]:
        """The output layer's input.

        Args:
            ids: (batch, steps).
            hidden: Of the steps before; None is all zero.

        Returns:
            The last LSTM's output with and without dropout, both (steps, batch,
            emb_size), and the new hidden state.
        """
        x = self._embedded(ids.t())
        x = self._locked(x, self.input_dropout)
        new: Hidden = []
        for i, rnn in enumerate(self.rnns):
            if i:
                x = self._locked(x, self.hidden_dropout)
            before = hidden[i] if hidden else None
            x, state = self._run(rnn, x, before)  # type: ignore[arg-type]
            new.append(state)
        return self._locked(x, self.output_dropout), x, new

    def forward(
        self, input: Tensor, hidden: Hidden | None = None
    ) -> tuple[Tensor, Hidden]:
        """Scores of the next word, not normalised.

        Args:
            input: (batch, steps) of word numbers.
            hidden: Of the steps before; None is all zero.

        Returns:
            (batch, steps, vocab_size), and the new hidden state.
        """
        dropped, _, new = self.features(input, hidden)
        return self.out(dropped).transpose(0, 1).contiguous(), new

    def _embedded(self, ids: Tensor) -> Tensor:
        # Embedding, some words left out; only rows in use are multiplied.
        x = self.embed(ids)
        if not self.training or not self.embed_dropout:
            return x
        keep = 1.0 - self.embed_dropout
        mask = x.new_empty(self.embed.num_embeddings, 1).bernoulli_(keep) / keep
        return x * F.embedding(ids, mask)

    def _locked(self, x: Tensor, rate: float) -> Tensor:
        # Dropout with one mask for all steps; x is (steps, batch, width).
        if not self.training or not rate:
            return x
        keep = 1.0 - rate
        return x * (x.new_empty(1, *x.shape[1:]).bernoulli_(keep) / keep)

    def _run(self, rnn: nn.LSTM, x: Tensor, hidden: Any) -> tuple[Tensor, Any]:
        # An LSTM, in training with a part of its recurrent weights.
        #
        # The module itself is called, so PyTorch's fused kernels are used: on CUDA it
        # puts the weights into one block again, since one of them is another tensor.
        if not self.training or not self.weight_dropout:
            return rnn(x, hidden)
        weight = F.dropout(rnn.weight_hh_l0, self.weight_dropout)  # type: ignore[arg-type]
        masked = {"weight_hh_l0": weight}
        return functional_call(rnn, masked, (x, hidden), tie_weights=False)


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

        Returns:
            The loss, what is reported, and the number of targets.
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
