"""What a search was asked to do, and how its nodes follow from that."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.errors import CONFIG, REMOVED_OPTIONS, TopDownError, nearest
from espnet_topdown.files import read_yaml, sha256, write_yaml
from espnet_topdown.jobs.plan import bound_stack
from espnet_topdown.jobs.prepare import versions
from espnet_topdown.jobs.reinit import Reinit, classifier_file
from espnet_topdown.jobs.spec import AUTO, RetrainSpec
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.layers import (
    LayerStack,
    StackSpec,
    keep_stack,
    stack_again,
)
from espnet_topdown.models.tasks import Task, find_task, read_tasks
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.controls import control_spec
from espnet_topdown.search.strategies import CONTROLS, STRATEGIES, Space

CRITERIA = tuple(c for t in read_tasks().values() for c in t.criteria)
# Written down only where they are not as usual.
RARE = ("epochs", "width", "budget", "steps", "reinit")
SEED_STEP = 1000  # ESPnet's random streams of seeds s and s+k overlap for small k


@dataclass(frozen=True)
class SearchRequest:
    """A search. Only the first block decides what is trained.

    Attributes:
        base_model: The base experiment's file of weights; None is its best epoch.
        max_frozen: At most this many layers are frozen; None allows all but one.
        criterion: Errors on the validation set: "cer", "wer" or "ter" (tokens), or
            "ppl" of a language model; "auto" is the first of its kind.
        retrain_seed: "own" gives every retraining its own seed, "same" the base's.
        controls: See ``controls.CONTROLS``.
        max_epoch: Of every retraining; None takes the base experiment's.
        epochs, width, budget, steps: See ``search.Space``.
        reinit: Where the layers that are not frozen begin, see ``reinit.Reinit``.
        max_jobs_total: More retrainings than this need ``yes``.
    """

    base_exp: Path
    output_dir: Path
    strategy: str = "greedy"
    base_model: Path | None = None
    stack: str = "auto"
    max_frozen: int | None = None
    criterion: str = AUTO
    retrain_seed: str = "own"
    controls: tuple[str, ...] = ()
    max_epoch: int | None = None
    epochs: tuple[int, ...] = ()
    width: int = 2
    budget: int = 0
    steps: tuple[int, ...] = ()
    reinit: str = "full"
    trainer: str = AUTO
    allow_unfinished: bool = False
    allow_pipes: bool = False
    allow_overlap: bool = False

    max_jobs: int = 1
    ngpu: int | None = None
    cmd: str = ""
    cmd_backend: str = "local"
    max_jobs_total: int = 32
    yes: bool = False

    def check(self) -> None:
        """Refuse words that are not known. Raises E_USAGE-like TopDownErrors."""
        pairs = [("search", self.strategy, tuple(STRATEGIES))]
        pairs += [("criterion", self.criterion, (AUTO, *CRITERIA))]
        pairs += [("retrain_seed", self.retrain_seed, ("own", "same"))]
        pairs += [("controls", c, tuple(CONTROLS)) for c in self.controls]
        for option, word, known in pairs:
            if word not in known:
                raise TopDownError(
                    "E_RANGE",
                    f"--{option} {word} is unknown ({nearest(word, known)})",
                    f"give one of {', '.join(known)}",
                )
        if self.max_frozen is not None and self.max_frozen < 0:
            what = f"--max_frozen {self.max_frozen} is negative"
            raise TopDownError("E_RANGE", what, "give 0 or more")
        check_options(self)


@dataclass(frozen=True)
class Nodes:
    """The jobs of one search, by name."""

    request: SearchRequest
    base: Experiment
    spec: StackSpec
    stack: LayerStack
    task: Task

    @classmethod
    def of(cls, request: SearchRequest) -> Nodes:
        """Bind the request to its base experiment's layers.

        Raises:
            TopDownError: E_RANGE for a criterion of another kind of model.
        """
        base = Experiment(request.base_exp, request.base_model)
        made = request.output_dir / "search.yaml"
        record = read_yaml(made) if made.is_file() else {}
        spec = stack_again(base.config, request.stack, request.output_dir, record)
        task = find_task(spec.task)
        for epoch in (*request.epochs, Reinit.parse(request.reinit).epoch):
            if epoch:
                classifier_file(base, epoch)
        bound = bound_stack(base, spec)
        return cls(_completed(request, task), base, spec, bound, task)

    @property
    def max_frozen(self) -> int:
        """How many layers may be frozen; one is always trained."""
        limit = self.stack.n - 1
        asked = self.request.max_frozen
        return limit if asked is None else min(asked, limit)

    @property
    def space(self) -> Space:
        """What the search may train."""
        r = self.request
        most = self.max_frozen
        return Space(self.stack.n, most, r.steps, r.epochs, r.width, r.budget)

    @property
    def max_epoch(self) -> int:
        """Of every retraining."""
        return int(self.request.max_epoch or self.base.config.get("max_epoch") or 0)

    def folder(self, node: str) -> Path:
        """Where a node's files are."""
        return self.request.output_dir / node

    def candidate(self, node: Composition) -> RetrainSpec:
        """The retraining that makes a composition from its parent."""
        parent = node.parent
        if parent is None:
            raise ValueError(f"{node} is the base experiment")
        if parent.parent is not None:
            source = Experiment(self.folder(str(parent))).model_file()
        elif node.epoch:
            source = classifier_file(self.base, node.epoch)
        else:
            source = self.base.model_file()
        start, rewound = source, Reinit.parse(self.request.reinit).epoch
        if rewound:
            start = classifier_file(self.base, rewound)
        return RetrainSpec.make(
            self.base,
            str(node),
            self.stack.names[: node.n_frozen],
            self.seed(node),
            self.spec,
            source,
            self.request.trainer,
            reinit=self.request.reinit,
            start_from=start if Reinit.parse(self.request.reinit).takes else None,
            overrides=self.overrides(),
        )

    def control(self, name: str, epochs: int = 0) -> RetrainSpec:
        """A control's training; ``epochs`` are those of control joint."""
        return control_spec(self, name, epochs)

    def overrides(self) -> dict[str, Any]:
        """What every retraining does differently from the base."""
        epochs = self.request.max_epoch
        return {} if epochs is None else {"max_epoch": epochs}

    def seed(self, node: Composition) -> int:
        """Of a composition's retraining; the same for every epoch's classifier."""
        seed = int(self.base.config.get("seed") or 0)
        if self.request.retrain_seed == "own":
            seed += SEED_STEP * node.rank
        return seed % 2**31


def _completed(request: SearchRequest, task: Task) -> SearchRequest:
    """The request with what the kind of model decides filled in."""
    trainer = task.trainer if request.trainer == AUTO else request.trainer
    criterion = task.criteria[0] if request.criterion == AUTO else request.criterion
    if criterion not in task.criteria:
        raise TopDownError(
            "E_RANGE",
            f"--criterion {criterion}: {request.base_exp} is of kind '{task.name}'",
            f"give one of {', '.join(task.criteria)}",
        )
    return dataclasses.replace(request, trainer=trainer, criterion=criterion)


def check_options(request: SearchRequest) -> None:
    """Refuse options that do not go together. Raises E_RANGE."""
    Reinit.parse(request.reinit)
    wants = request.strategy in ("epoch", "layers_x_epochs")
    wrong = ""
    if wants and not request.epochs:
        wrong = f"--search {request.strategy} needs --epochs, such as 20,40,60"
    elif request.epochs and not wants:
        wrong = f"--epochs has no meaning in --search {request.strategy}"
    elif any(e < 1 for e in request.epochs) or any(s < 1 for s in request.steps):
        wrong = "--epochs and --steps are whole numbers from 1 on"
    elif request.width < 1 or request.budget < 0 or request.max_jobs < 1:
        wrong = "--width and --max_jobs are at least 1, --budget at least 0"
    elif request.budget and request.strategy in ("greedy", "full"):
        wrong = f"--budget has no meaning in --search {request.strategy}"
    if wrong:
        raise TopDownError("E_RANGE", wrong, "see 'espnet-topdown search --help'")


def write_request(nodes: Nodes) -> None:
    """Write search.yaml once; later runs must ask for the same.

    Raises:
        TopDownError: E_CONFIG_CHANGED (78) when the folder belongs to another search,
            E_VERSION (78) when that was asked for what this version does not do.
    """
    path = nodes.request.output_dir / "search.yaml"
    want = _as_mapping(nodes)
    if not path.is_file():
        keep_stack(nodes.spec, path.parent)
        write_yaml(path, want)
        return
    have: Mapping[str, Any] = read_yaml(path)
    if old := [name for name in REMOVED_OPTIONS if have.get(name)]:
        raise TopDownError(
            "E_VERSION",
            f"{path} asks for --{old[0]}, which was removed",
            "finish it with espnet_topdown 0.1.0, or give another --output_dir",
            CONFIG,
        )
    for key in {**dict.fromkeys(RARE), **want}:
        known = key in have or key in RARE  # not a key that an older program lacks
        if key != "versions" and known and have.get(key) != want.get(key):
            raise TopDownError(
                "E_CONFIG_CHANGED",
                f"{path}: {key} was {have.get(key)}, now {want.get(key)}",
                "give another --output_dir, or ask for the same as before",
                CONFIG,
            )


def _as_mapping(nodes: Nodes) -> dict[str, Any]:
    request = nodes.request
    model = nodes.base.model_file()
    usual = {f.name: f.default for f in dataclasses.fields(request)}
    more = {k: getattr(request, k) for k in RARE if getattr(request, k) != usual[k]}
    return {
        **{k: list(v) if isinstance(v, tuple) else v for k, v in more.items()},
        "base_exp": str(request.base_exp),
        "base_model": str(model),
        "base_digest": sha256(model),
        "base_config_digest": sha256(nodes.base.folder / "config.yaml"),
        "stack": nodes.spec.name,
        "stack_sha256": nodes.spec.digest,
        "layers": list(nodes.stack.names),
        "strategy": request.strategy,
        "max_frozen": nodes.max_frozen,
        "criterion": request.criterion,
        "decoder": nodes.task.decoder,
        "seed": nodes.base.config.get("seed"),
        "retrain_seed": request.retrain_seed,
        "controls": list(request.controls),
        "max_epoch": request.max_epoch,
        "trainer": request.trainer,
        "versions": versions(),
    }
