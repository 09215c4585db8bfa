"""Compositions M_{i,j,...}: how a model's layers were trained (Section 2.2).

``M_{5}`` is joint training of all five layers. ``M_{1,4}`` keeps the top layer of
``M_{5}`` frozen and retrained the other four; ``M_{1,1,3}`` froze one layer more.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from espnet_topdown.errors import USAGE, TopDownError


@dataclass(frozen=True, order=True)
class Composition:
    """An ordered sum of n layers, from the top; the last part was retrained last.

    Attributes:
        epoch: of joint training, whose classifier the path began from; 0 is the best.
    """

    parts: tuple[int, ...]
    epoch: int = 0

    def __post_init__(self) -> None:
        if not self.parts or any(p < 1 for p in self.parts):
            raise ValueError(f"parts must be positive integers, got {self.parts}")

    @classmethod
    def parse(cls, text: str) -> Composition:
        """Read the folder form.

        >>> Composition.parse("m1.1.3").parts, Composition.parse("m1.4@40").epoch
        ((1, 1, 3), 40)

        Returns:
            The composition.

        Raises:
            TopDownError: E_COMPOSITION (64).
        """
        parts, _, epoch = text.partition("@")
        if not re.fullmatch(r"m[1-9]\d{0,3}((\.[1-9]\d{0,3})+(@[1-9]\d*)?)?", text):
            raise TopDownError(
                "E_COMPOSITION", f"'{text}' is no composition", "write m1.4", USAGE
            )
        return cls(tuple(int(p) for p in parts[1:].split(".")), int(epoch or 0))

    def __str__(self) -> str:
        """The folder form, ``m1.1.3``, or ``m1.1.3@40`` for an epoch's classifier.

        Returns:
            The name of its folder.
        """
        epoch = f"@{self.epoch}" if self.epoch else ""
        return "m" + ".".join(map(str, self.parts)) + epoch

    @property
    def math(self) -> str:
        """The paper's notation.

        >>> Composition((1, 4)).math
        'M_{1,4}'
        """
        epoch = f"^{{({self.epoch})}}" if self.epoch else ""
        return "M_{" + ",".join(map(str, self.parts)) + "}" + epoch

    @property
    def n(self) -> int:
        """Number of layers."""
        return sum(self.parts)

    @property
    def n_frozen(self) -> int:
        """How many layers were frozen, from the top, in the last training."""
        return sum(self.parts[:-1])

    @property
    def parent(self) -> Composition | None:
        """Whose layers are frozen; None for joint training.

        >>> str(Composition((1, 1, 3)).parent)
        'm1.4'
        """
        if len(self.parts) == 1:
            return None
        parts = (*self.parts[:-2], self.parts[-2] + self.parts[-1])
        return Composition(parts, self.epoch if len(parts) > 1 else 0)

    @property
    def children(self) -> tuple[Composition, ...]:
        """Every way to freeze more layers of this model.

        >>> [str(c) for c in Composition((1, 3)).children]
        ['m1.1.2', 'm1.2.1']
        """
        *head, last = self.parts
        return tuple(
            Composition((*head, k, last - k), self.epoch) for k in range(1, last)
        )

    @property
    def ancestry(self) -> tuple[Composition, ...]:
        """From joint training to this model."""
        above = self.parent.ancestry if self.parent else ()
        return (*above, self)

    @property
    def rank(self) -> int:
        """A different number for every composition of n; 0 is joint training.

        Bit k is set where a part ends after layer k+1.

        >>> [Composition(p).rank for p in [(3,), (1, 2), (2, 1), (1, 1, 1)]]
        [0, 1, 2, 3]
        """
        ends = itertools.accumulate(self.parts[:-1])
        return sum(1 << (end - 1) for end in ends)
