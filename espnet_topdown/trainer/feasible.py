"""References that CTC cannot align are errors, not a loss of zero.

CTC needs a frame for each unit and one more between two equal units. With fewer frames
the loss is infinite; ESPnet sets it to zero by default, and the mean loss gets better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from espnet_topdown.errors import DATA, TopDownError, warn


class CTCGuard:
    """Looks at what goes into ``model.ctc``.

    Args:
        allow: Warn once for each utterance instead of ending the training.
    """

    def __init__(self, allow: bool = False) -> None:
        self.allow = allow
        self.utterances: Sequence[str] = ()
        self.found: dict[str, tuple[int, int]] = {}

    def attach(self, model: torch.nn.Module):  # type: ignore[no-untyped-def]
        """Watch a model; the handle that is returned has ``remove()``."""
        ctc = getattr(model, "ctc", None)
        return None if ctc is None else ctc.register_forward_pre_hook(self._look)

    def _look(self, module: torch.nn.Module, inputs: tuple) -> None:
        if len(inputs) != 4:
            return
        _, frames, units, n_units = (t.detach().cpu() for t in inputs)
        need = frames_needed(units, n_units)
        new = {}
        for i in (frames < need).nonzero()[:, 0].tolist():
            known = len(self.utterances) == len(frames)
            name = self.utterances[i] if known else f"number {i + 1} of its batch"
            if name not in self.found:
                new[name] = (int(need[i]), int(frames[i]))
        self.report(new)

    def report(self, new: Mapping[str, tuple[int, int]]) -> None:
        """Say which utterances (name -> frames needed, frames it has) are too long.

        Raises:
            TopDownError: E_CTC_INFEASIBLE (65) unless they are allowed.
        """
        self.found.update(new)
        if not new:
            return
        parts = [f"{u} needs {n} frames, has {m}" for u, (n, m) in new.items()]
        more = f" and {len(parts) - 5} more" if len(parts) > 5 else ""
        what = "; ".join(parts[:5]) + more
        if self.allow:
            warn("W_CTC_INFEASIBLE", f"{what}; counted as loss 0")
            return
        raise TopDownError(
            "E_CTC_INFEASIBLE",
            f"reference longer than the encoder's output: {what}",
            "remove these utterances (see filter_data), correct their text, use less "
            "subsampling, or give --allow_infeasible true",
            DATA,
        )


def frames_needed(units: torch.Tensor, n_units: torch.Tensor) -> torch.Tensor:
    """Frames that CTC needs for each padded sequence of unit ids (B, L).

    >>> frames_needed(torch.tensor([[4, 4, 5], [4, 5, -1]]), torch.tensor([3, 2]))
    tensor([4, 2])
    """
    inside = torch.arange(units.size(1))[None, 1:] < n_units[:, None]
    repeats = (units[:, 1:] == units[:, :-1]) & inside
    return n_units + repeats.sum(1)
