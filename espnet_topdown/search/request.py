"""What a search was asked to do, and how its candidates follow from that."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.errors import CONFIG, REMOVED_OPTIONS, TopDownError, nearest
from espnet_topdown.files import sha256, write_yaml, yaml_bytes
from espnet_topdown.jobs.plan import bind
from espnet_topdown.jobs.prepare import check_place, versions
from espnet_topdown.jobs.reinit import Reinit, classifier_file
from espnet_topdown.jobs.spec import AUTO, RetrainSpec
from espnet_topdown.models.config import read_record
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.layers import (
    LayerStack,
    StackSpec,
    resolve_stack,
    write_stack,
)
from espnet_topdown.models.tasks import Task, find_task, read_tasks
from espnet_topdown.records import Journal
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.progress import JOB_S
from espnet_topdown.search.state import RESULT
from espnet_topdown.search.strategies import (
    CONTROLS,
    STRATEGIES,
    TAKEN_BY,
    Space,
    longest_search,
)

_CRITERIA = tuple(c for t in read_tasks().values() for c in t.criteria)
# Written down only where they are not as usual: option -> what is usual.
_RARE = {
    "epochs": [],
    "width": 2,
    "budget": 0,
    "steps": [],
    "reinit": "full",
    "fix_eval_dropout": False,
}
_WIDENS = ("max_frozen", "controls", "epochs", "width", "budget")  # in the same folder
OURS = ("RESULTS.md", "report.html", "figures", "result.json", "best")
_SEED_STEP = 1000  # ESPnet's random streams of seeds s and s+k overlap for small k


@dataclass(frozen=True)
class SearchRequest:
    """A search. Only the first block decides what is trained.

    Attributes:
        base_model: The base experiment's file of weights; None is its best epoch.
        max_frozen: At most this many layers are frozen; None allows all but one.
        criterion: Errors on the validation set: "cer", "wer" or "ter" (tokens), or
            "ppl" of a language model; "auto" is the first of its kind.
        retrain_seed: "own" gives every retraining its own seed, "same" the base's.
        controls: See ``strategies.CONTROLS``.
        max_epoch: Of every retraining; None takes the base experiment's.
        epochs, width, budget, steps: See ``strategies.Space``.
        reinit: Where the layers that are not frozen begin, see ``reinit.Reinit``.
        fix_eval_dropout: See ``Experiment``.
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
    fix_eval_dropout: bool = False
    trainer: str = AUTO
    allow_unfinished: bool = False
    allow_pipes: bool = False
    allow_overlap: bool = False
    allow_infeasible: bool = False

    max_jobs: int = 1
    jobs_per_gpu: int = 1
    ngpu: int | None = None
    use_wandb: bool = False
    cmd: str = ""
    cmd_backend: str = "local"
    max_jobs_total: int = 32
    yes: bool = False

    def check(self) -> None:
        """Refuse what is not known, or does not go together.

        Raises:
            TopDownError: E_RANGE (78).
        """
        pairs = [("search", self.strategy, tuple(STRATEGIES))]
        pairs += [("criterion", self.criterion, (AUTO, *_CRITERIA))]
        pairs += [("retrain_seed", self.retrain_seed, ("own", "same"))]
        pairs += [("controls", c, tuple(CONTROLS)) for c in self.controls]
        for option, word, known in pairs:
            if word not in known:
                what = f"--{option} {word} is unknown ({nearest(word, known)})"
                raise TopDownError("E_RANGE", what, f"give one of {', '.join(known)}")
        Reinit.parse(self.reinit)
        if wrong := self._wrong():
            raise TopDownError("E_RANGE", wrong, "see 'espnet-topdown search --help'")

    def _wrong(self) -> str:
        if self.strategy in TAKEN_BY["epochs"] and not self.epochs:
            return f"--search {self.strategy} needs --epochs, such as 20,40,60"
        for option, strategies in TAKEN_BY.items():
            asked = _plain(getattr(self, option)) != _RARE[option]
            if asked and self.strategy not in strategies:
                return f"--{option} has no meaning in --search {self.strategy}"
        if any(e < 1 for e in self.epochs) or any(s < 1 for s in self.steps):
            return "--epochs and --steps are whole numbers from 1 on"
        if self.width < 1 or self.budget < 0 or self.max_jobs < 1:
            return "--width and --max_jobs are at least 1, --budget at least 0"
        if not 1 <= self.jobs_per_gpu <= self.max_jobs:
            most = f"--max_jobs {self.max_jobs}"
            return f"--jobs_per_gpu {self.jobs_per_gpu} is not between 1 and {most}"
        if self.max_frozen is not None and self.max_frozen < 0:
            return f"--max_frozen {self.max_frozen} is negative"
        return ""


@dataclass(frozen=True)
class Search:
    """A request that is bound to its base experiment's layers.

    Attributes:
        base: The joint training.
        spec: The layer stack, before it is bound.
        stack: The layers, from the top.
        task: The kind of model.
    """

    request: SearchRequest
    base: Experiment
    spec: StackSpec
    stack: LayerStack
    task: Task

    @classmethod
    def of(cls, request: SearchRequest) -> Search:
        """Bind a request; nothing is written.

        Returns:
            The search.

        Raises:
            TopDownError: E_CREATE (73) for a folder where no search may be; E_RANGE
                (78) for a criterion of another kind of model, or more frozen layers
                than there are; those of the stack and of the weights.
        """
        folder, fix = request.output_dir, request.fix_eval_dropout
        base = Experiment(request.base_exp, request.base_model, fix)
        check_place(base.folder, folder, "search.yaml", OURS)
        made = folder / "search.yaml"
        spec = resolve_stack(base.config, request.stack, made, base.header)
        task = find_task(spec.task)
        for epoch in (*request.epochs, Reinit.parse(request.reinit).epoch):
            if epoch:
                classifier_file(base, epoch)
        stack = bind(base, spec).stack
        if stack.n == 1:
            what = f"layer stack {spec.name} has one layer, and one is always trained"
            do = "give --stack FILE.yaml with two layers or more"
            raise TopDownError("E_STACK", what, do)
        most = max((request.max_frozen or 0, *request.steps))
        if most >= stack.n:
            what = f"--{'steps' if most in request.steps else 'max_frozen'} {most}: "
            what += f"there are {stack.n} layers, and one is always trained"
            raise TopDownError("E_RANGE", what, f"give {stack.n - 1} or less")
        return cls(_completed(request, task), base, spec, stack, task)

    @property
    def space(self) -> Space:
        """What the search may train."""
        r, n = self.request, self.stack.n
        most = n - 1 if r.max_frozen is None else r.max_frozen
        return Space(n, most, r.steps, r.epochs, r.width, r.budget)

    @property
    def max_epoch(self) -> int:
        """Of every retraining."""
        return int(self.request.max_epoch or self.base.config["max_epoch"])

    @property
    def max_trainings(self) -> int:
        """How many retrainings and controls there can be."""
        r = self.request
        chain = self.space.max_frozen - 1 if "bottom_up" in r.controls else 0
        return self.longest[0] + len(r.controls) + max(0, chain)

    @property
    def longest(self) -> tuple[int, int]:
        """How many retrainings there can be, and how many one after another."""
        return longest_search(self.request.strategy, self.space)

    @property
    def max_path_epochs(self) -> int:
        """From the start of joint training to the last retraining; of control joint."""
        return (
            int(self.base.config["max_epoch"])
            + max(1, self.longest[1]) * self.max_epoch
        )

    @property
    def _chain_epochs(self) -> list[int]:
        """Of what is trained one after another: the longest path, then each control."""
        own = {"joint": self.max_path_epochs, "long": 2 * self.base.config["max_epoch"]}
        own["bottom_up"] = max(1, self.space.max_frozen) * self.max_epoch
        controls = [own.get(c, self.max_epoch) for c in self.request.controls]
        return [self.longest[1] * self.max_epoch, *controls]

    @property
    def max_time(self) -> str:
        """For example ``about 12.5 hours``, or ``hours unknown``.

        Of the longest search that the request allows, with its controls and what each
        job takes beside its epochs.
        """
        epoch_s = _seconds_per_epoch(self.base)
        if not epoch_s:
            return "hours unknown"
        jobs = 1 + self.max_trainings  # the joint model is scored
        (most, path), chains = self.longest, self._chain_epochs
        epochs = sum(chains) + (most - path) * self.max_epoch
        seconds = epochs * epoch_s + jobs * JOB_S
        seconds /= min(jobs, self.request.max_jobs)
        seconds = max(seconds, max(chains) * epoch_s + path * JOB_S)
        if seconds < 3600:
            minutes = max(1, round(seconds / 60))
            return f"about {minutes} minute{'s' if minutes > 1 else ''}"
        return f"about {seconds / 3600:.1f} hours"

    def folder(self, name: str) -> Path:
        """The job folder of a candidate or a control.

        Returns:
            Its path below the search's folder.
        """
        return self.request.output_dir / name

    def candidate(self, composition: Composition) -> RetrainSpec:
        """The retraining that makes a composition from its parent.

        Returns:
            What is trained.

        Raises:
            ValueError: For joint training, which is no retraining.
            TopDownError: E_HARVEST (66).
        """
        parent = composition.parent
        if parent is None:
            raise ValueError(f"{composition} is the base experiment")
        if parent.parent is not None:
            source = Experiment(self.folder(str(parent))).model_file()
        elif composition.epoch:
            source = classifier_file(self.base, composition.epoch)
        else:
            source = self.base.model_file()
        return self.retraining(
            str(composition),
            self.stack.names[: composition.n_frozen],
            self.seed(composition),
            source,
            **self.start(source),
        )

    def start(self, source: Path) -> dict[str, Any]:
        """Where the layers begin that are not copied from ``source``.

        Returns:
            ``reinit`` and ``start_from`` of a RetrainSpec.

        Raises:
            TopDownError: E_HARVEST (66).
        """
        rule = Reinit.parse(self.request.reinit)
        start = classifier_file(self.base, rule.epoch) if rule.epoch else source
        start_from = start if rule.from_trained else None
        return {"reinit": self.request.reinit, "start_from": start_from}

    def retraining(
        self,
        name: str,
        frozen: tuple[str, ...],
        seed: int,
        source: Path | None,
        **more: Any,
    ) -> RetrainSpec:
        """A retraining of the base with this search's stack, trainer and epochs.

        Returns:
            What is trained.
        """
        request = self.request
        changed: dict[str, Any] = {"use_wandb": True} if request.use_wandb else {}
        if request.max_epoch is not None:
            changed["max_epoch"] = request.max_epoch
        more["overrides"] = changed
        return RetrainSpec.make(
            self.base, name, frozen, seed, self.spec, source, request.trainer, **more
        )

    def seed(self, composition: Composition) -> int:
        """Of a composition's retraining; the same for every epoch's classifier.

        Returns:
            The seed, below 2^31.
        """
        seed = int(self.base.config.get("seed") or 0)
        if self.request.retrain_seed == "own":
            seed += _SEED_STEP * composition.rank
        return seed % 2**31


# Mean time of an epoch of the joint training, from its reporter; 0 if unknown.
def _seconds_per_epoch(base: Experiment) -> float:
    if not (base.folder / "checkpoint.pth").is_file():
        return 0.0
    spans = [
        sum(values.get("time", 0.0) for values in phases.values())
        for phases in base.stats.values()
    ]
    return sum(spans) / len(spans) if spans else 0.0


# The request with what the kind of model decides filled in.
def _completed(request: SearchRequest, task: Task) -> SearchRequest:
    trainer = task.trainer if request.trainer == AUTO else request.trainer
    criterion = task.criteria[0] if request.criterion == AUTO else request.criterion
    if criterion not in task.criteria:
        what = f"--criterion {criterion}: {request.base_exp} is of kind '{task.name}'"
        raise TopDownError("E_RANGE", what, f"give one of {', '.join(task.criteria)}")
    return dataclasses.replace(request, trainer=trainer, criterion=criterion)


def write_request(search: Search) -> list[str]:
    """Write search.yaml; a later request must be the same, or wider.

    A wider one (more layers, controls, epochs, a wider beam, a larger budget) keeps all
    that was trained. The journal has its digest before search.yaml is replaced.

    Returns:
        Names of the options that were widened.

    Raises:
        TopDownError: E_CONFIG_CHANGED (78) when the folder belongs to another search,
            E_VERSION (78) when that was asked for what this version does not do,
            E_BUDGET (78) when the wider one is larger than expected.
    """
    folder = search.request.output_dir
    path, want = folder / "search.yaml", _record(search)
    if not path.is_file():
        write_stack(search.spec, folder)
        write_yaml(path, want)
        return []
    if wider := widened(search):
        check_budget(search)
        digest = hashlib.sha256(yaml_bytes(want)).hexdigest()
        journal = Journal(folder / "journal.jsonl")
        journal.append("search_widened", options=wider, request=digest)
        if (result := folder / RESULT).is_file():  # nobody may take it for the end
            os.replace(result, result.with_name("result.narrower.json"))
        write_yaml(path, want)
    return wider


def check_budget(search: Search) -> None:
    """Refuse a search that is larger than expected.

    Args:
        search: Before it begins.

    Raises:
        TopDownError: E_BUDGET (78).
    """
    request, most = search.request, search.max_trainings
    if most <= request.max_jobs_total or request.yes:
        return
    raise TopDownError(
        "E_BUDGET",
        f"--search {request.strategy} can take {most} trainings, "
        f"{search.max_time}; --max_jobs_total is {request.max_jobs_total}",
        "give --yes true to go on, or --max_frozen, --steps, --budget to do less",
    )


def widened(search: Search) -> list[str]:
    """The options in which a request goes beyond the one that its folder has.

    Returns:
        Names of the options.

    Raises:
        TopDownError: E_CONFIG_CHANGED where it differs otherwise; E_VERSION.
    """
    path, want = search.request.output_dir / "search.yaml", _record(search)
    have = read_record(path)
    if old := [name for name in REMOVED_OPTIONS if have.get(name)]:
        raise TopDownError(
            "E_VERSION",
            f"{path} asks for --{old[0]}, which was removed",
            "finish it with espnet_topdown 0.1.0, or give another folder "
            "(in a recipe: --topdown_dir)",
            CONFIG,
        )
    wider = []
    for key in {**_RARE, **want}:
        if key == "versions" or not (key in have or key in _RARE):
            continue  # an older program did not write every key
        old, new = (m.get(key, _RARE.get(key)) for m in (have, want))
        if key == "controls" and {*old} == {*new}:
            continue
        if key in _WIDENS and _is_wider(key, old, new):
            wider.append(key)
        elif old != new:
            what = f"{path}: {key} was {old}, now {new}"
            do = "ask for the same as before or more"
            if key in _DIGESTS:
                what = f"{_DIGESTS[key].format_map(want)} has changed since the search "
                what, do = f"{what}in {path.parent} began", "bring it back"
            do = f"give another folder (in a recipe: --topdown_dir), or {do}"
            raise TopDownError("E_CONFIG_CHANGED", what, do, CONFIG)
    return wider


def _is_wider(key: str, old: Any, new: Any) -> bool:
    """Whether a new value asks for more.

    >>> _is_wider("controls", ["joint"], ["warm", "joint"]), _is_wider("budget", 3, 0)
    (True, True)
    >>> _is_wider("max_frozen", 2, 1), _is_wider("budget", 0, 3)
    (False, False)

    Returns:
        Whether it does.
    """
    if isinstance(old, list):
        return set(old) < set(new)
    if key == "budget" and 0 in (old, new):  # no limit
        return bool(old)
    return bool(old < new)


# The files whose digests search.yaml holds.
_DIGESTS = {
    "base_digest": "{base_model}",
    "base_config_digest": "{base_exp}/config.yaml",
    "stack_sha256": "layer stack {stack}",
}


# What search.yaml holds.
def _record(search: Search) -> dict[str, Any]:
    request = search.request
    model = search.base.model_file()
    asked = {k: _plain(getattr(request, k)) for k in _RARE}
    return {
        **{k: v for k, v in asked.items() if v != _RARE[k]},
        "base_exp": str(request.base_exp),
        "base_model": str(model),
        "base_digest": sha256(model),
        "base_config_digest": sha256(search.base.folder / "config.yaml"),
        "stack": search.spec.name,
        "stack_sha256": search.spec.digest,
        "layers": list(search.stack.names),
        "strategy": request.strategy,
        "max_frozen": search.space.max_frozen,
        "criterion": request.criterion,
        "decoder": search.task.decoder,
        "seed": search.base.config.get("seed"),
        "retrain_seed": request.retrain_seed,
        "controls": list(request.controls),
        "max_epoch": request.max_epoch,
        "trainer": request.trainer,
        "versions": versions(),
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
