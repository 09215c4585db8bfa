"""What a search was asked to do, and how its nodes follow from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.composition import Composition
from espnet_topdown.errors import CONFIG, TopDownError, nearest
from espnet_topdown.experiment import Experiment
from espnet_topdown.layers import LayerStack, stack_for
from espnet_topdown.plan import TRAINER, RetrainSpec
from espnet_topdown.retrain import versions
from espnet_topdown.search import STRATEGIES
from espnet_topdown.weights import sha256
from espnet_topdown.yaml_io import read_yaml, write_yaml

CONTROLS = ("joint", "warm")
CRITERIA = ("cer", "wer", "ter")
SEED_STEP = 1000  # ESPnet's random streams of seeds s and s+k overlap for small k


@dataclass(frozen=True)
class SearchRequest:
    """A search. Only the first block decides what is trained.

    Attributes:
        max_frozen: At most this many layers are frozen; None allows all but one.
        criterion: Errors on the validation set: "cer", "wer" or "ter" (tokens).
        retrain_seed: "own" gives every retraining its own seed, "same" the base's.
        controls: "joint": joint training with the first retraining's seed and as many
            epochs as the whole path. "warm": the softmax layers of the base model are
            copied but not frozen.
        max_epoch: Of every retraining; None takes the base experiment's.
    """

    base_exp: Path
    output_dir: Path
    strategy: str = "greedy"
    stack: str = "auto"
    max_frozen: int | None = None
    criterion: str = "cer"
    retrain_seed: str = "own"
    controls: tuple[str, ...] = ()
    max_epoch: int | None = None
    trainer: str = TRAINER
    allow_unfinished: bool = False
    allow_pipes: bool = False
    allow_overlap: bool = False

    max_jobs: int = 1
    cmd: str = ""
    cmd_backend: str = "local"

    def check(self) -> None:
        """Refuse words that are not known. Raises E_USAGE-like TopDownErrors."""
        pairs = [("search", self.strategy, tuple(STRATEGIES))]
        pairs += [("criterion", self.criterion, CRITERIA)]
        pairs += [("retrain_seed", self.retrain_seed, ("own", "same"))]
        pairs += [("controls", c, CONTROLS) for c in self.controls]
        for option, word, known in pairs:
            if word not in known:
                raise TopDownError(
                    "E_RANGE",
                    f"--{option} {word} is unknown ({nearest(word, known)})",
                    f"give one of {', '.join(known)}",
                )
        if self.max_frozen is not None and self.max_frozen < 0:
            raise TopDownError(
                "E_RANGE",
                f"--max_frozen {self.max_frozen} is negative",
                "give 0 or more",
            )


@dataclass(frozen=True)
class Nodes:
    """The jobs of one search, by name."""

    request: SearchRequest
    base: Experiment
    stack: LayerStack

    @classmethod
    def of(cls, request: SearchRequest) -> Nodes:
        """Bind the request to its base experiment's layers."""
        base = Experiment(request.base_exp)
        spec = stack_for(base.config, request.stack)
        return cls(request, base, spec.bind(base.weights()))

    @property
    def max_frozen(self) -> int:
        """How many layers may be frozen; one is always trained."""
        limit = self.stack.n - 1
        asked = self.request.max_frozen
        return limit if asked is None else min(asked, limit)

    def folder(self, node: str) -> Path:
        """Where a node's files are."""
        return self.request.output_dir / node

    def candidate(self, node: Composition) -> RetrainSpec:
        """The retraining that makes a composition from its parent."""
        parent = node.parent
        if parent is None:
            raise ValueError(f"{node} is the base experiment")
        above = self.base
        if parent.parent is not None:
            above = Experiment(self.folder(str(parent)))
        return RetrainSpec(
            node=str(node),
            base_exp=self.base.folder,
            frozen_from=above.model_file(),
            frozen=self.stack.names[: node.n_frozen],
            seed=self._seed(node),
            stack=self.request.stack,
            trainer=self.request.trainer,
            overrides=self._overrides(),
        )

    def control(self, name: str, epochs: int = 0) -> RetrainSpec:
        """A control with the seed of the first retraining, ``m1.(n-1)``."""
        warm = name == "warm"
        overrides = self._overrides()
        if not warm:
            overrides.update(max_epoch=epochs, patience=None)
        return RetrainSpec(
            node=f"control.{name}",
            base_exp=self.base.folder,
            frozen_from=self.base.model_file() if warm else None,
            frozen=self.stack.names[:1] if warm else (),
            seed=self._seed(Composition((1, self.stack.n - 1))),
            stack=self.request.stack,
            control=name,
            trainable=True,
            trainer=self.request.trainer,
            overrides=overrides,
        )

    def _overrides(self) -> dict[str, Any]:
        epochs = self.request.max_epoch
        return {} if epochs is None else {"max_epoch": epochs}

    def _seed(self, node: Composition) -> int:
        seed = int(self.base.config.get("seed") or 0)
        if self.request.retrain_seed == "own":
            seed += SEED_STEP * node.rank
        return seed % 2**31


def write_request(nodes: Nodes) -> None:
    """Write search.yaml once; later runs must ask for the same.

    Raises:
        TopDownError: E_CONFIG_CHANGED (78) when the folder belongs to another search.
    """
    path = nodes.request.output_dir / "search.yaml"
    want = _as_mapping(nodes)
    if not path.is_file():
        write_yaml(path, want)
        return
    have: Mapping[str, Any] = read_yaml(path)
    for key in want:
        if key != "versions" and have.get(key) != want[key]:
            raise TopDownError(
                "E_CONFIG_CHANGED",
                f"{path}: {key} was {have.get(key)}, now {want[key]}",
                "give another --output_dir, or ask for the same as before",
                CONFIG,
            )


def _as_mapping(nodes: Nodes) -> dict[str, Any]:
    request = nodes.request
    model = nodes.base.model_file()
    return {
        "base_exp": str(request.base_exp),
        "base_model": str(model),
        "base_digest": sha256(model),
        "base_config_digest": sha256(nodes.base.folder / "config.yaml"),
        "stack": stack_for(nodes.base.config, request.stack).name,
        "layers": list(nodes.stack.names),
        "strategy": request.strategy,
        "max_frozen": nodes.max_frozen,
        "criterion": request.criterion,
        "decoder": "ctc_greedy",
        "seed": nodes.base.config.get("seed"),
        "retrain_seed": request.retrain_seed,
        "controls": list(request.controls),
        "max_epoch": request.max_epoch,
        "trainer": request.trainer,
        "versions": versions(),
    }
