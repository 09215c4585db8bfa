"""A long text as batches: columns that are read on, a window at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from espnet_topdown.errors import DATA, TopDownError

SHORTEST = 5  # steps of a window of random length
SPREAD = 5.0  # standard deviation of its length
HALVED = 0.05  # how often the length is about one half


@dataclass(frozen=True)
class Window:
    """Some steps of all columns.

    Attributes:
        start: Of the first input; its target is one further.
        steps: How many.
        drawn: The length that was drawn; the last window may have fewer steps.
    """

    start: int
    steps: int
    drawn: int


def batchify(ids: np.ndarray, width: int) -> torch.Tensor:
    """A text as ``width`` columns of equal length; the rest of it is left out.

    Args:
        ids: (tokens,) whole numbers.
        width: Number of columns.

    Returns:
        (width, length): the text runs along each row.

    Raises:
        TopDownError: E_TEXT_SHORT (65).
    """
    length = len(ids) // width
    if length < 2:
        what = f"{len(ids)} tokens cannot fill {width} columns of 2 or more"
        raise TopDownError("E_TEXT_SHORT", what, "use more text or fewer columns", DATA)
    return torch.from_numpy(ids[: width * length].reshape(width, length).copy())


def fixed_windows(length: int, steps: int) -> list[Window]:
    """All targets of columns, in windows of the same size.

    Args:
        length: Of the columns.
        steps: Of a window; the last one may have fewer.

    Returns:
        Windows that follow each other.
    """
    starts = range(0, length - 1, steps)
    return [Window(i, min(steps, length - 1 - i), steps) for i in starts]


def random_windows(length: int, steps: int, random: np.random.RandomState) -> list:
    """Windows of about ``steps``: mostly N(steps, 5), sometimes around one half.

    Args:
        length: Of the columns.
        steps: Usual length of a window.
        random: What the lengths are drawn from.

    Returns:
        Windows that follow each other.
    """
    found, start = [], 0
    while start < length - 2:
        mean = steps if random.random_sample() >= HALVED else steps / 2
        drawn = max(SHORTEST, int(random.normal(mean, SPREAD)))
        found.append(Window(start, min(drawn, length - 1 - start), drawn))
        start += found[-1].steps
    return found


@dataclass(frozen=True)
class Batches:
    """One pass over a text, as ESPnet's trainer takes batches.

    Attributes:
        text: (columns, length), see ``batchify``.
        steps: The usual length of a window; the learning rate is for this length.
    """

    text: torch.Tensor
    windows: list[Window]
    steps: int

    def __len__(self) -> int:
        return len(self.windows)

    def __iter__(self) -> Iterator[tuple[list[str], dict[str, object]]]:
        for w in self.windows:
            x = self.text[:, w.start : w.start + w.steps]
            y = self.text[:, w.start + 1 : w.start + 1 + w.steps]
            names = [f"column{i}" for i in range(len(x))]
            lengths = torch.full((len(x),), w.steps, dtype=torch.long)
            yield (
                names,
                {
                    "text": x,
                    "text_lengths": lengths,
                    "target": y,
                    "reset": w.start == 0,
                    "lr_scale": w.drawn / self.steps,
                },
            )
