"""One retraining: freeze some layers, re-initialise the rest, train again.

``prepare`` writes a job folder that says everything: the frozen tensors, a complete
ESPnet training config and where they came from.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from espnet_topdown import __version__
from espnet_topdown.errors import CREATE, TopDownError
from espnet_topdown.files import check_output, read_yaml, sha256, write_yaml
from espnet_topdown.jobs.plan import Plan, TensorSources, plan
from espnet_topdown.jobs.reinit import Reinit
from espnet_topdown.jobs.spec import RetrainSpec
from espnet_topdown.models.config import read_record
from espnet_topdown.models.experiment import Experiment, known_options
from espnet_topdown.models.layers import is_statistic, write_stack
from espnet_topdown.models.weights import Weights, load_weights, save_weights, to_dtype

# What shows a folder of ESPnet's: an experiment, a data directory, statistics
_THEIRS = ("config.yaml", "checkpoint.pth", "wav.scp", "logdir", "train/speech_shape")


def prepare(spec: RetrainSpec, folder: Path) -> Plan:
    """Write a job folder; a folder already prepared for the same job is left alone.

    Returns:
        The plan that was written down.

    Raises:
        TopDownError: those of plan; E_CONFIG_CHANGED (78) when the folder belongs to
            another job.
    """
    folder = Path(folder)
    check_place(spec.base.folder, folder, in_a_search=True)
    planned = plan(spec)
    folder.mkdir(parents=True, exist_ok=True)
    provenance = _provenance(spec, planned)
    done = folder / "retrain.yaml"
    if done.is_file():
        _check_same_job(read_record(done), provenance, folder)
        return planned
    if planned.copied:
        frozen = _load_values(planned.copied, spec.base.train_dtype)
        provenance["frozen_sha256"] = save_weights(frozen, folder / "frozen.pth")
    if start := _start(spec, planned):
        provenance["start_sha256"] = save_weights(start, folder / "start.pth")
    write_stack(spec.stack, folder)
    write_yaml(folder / "train.yaml", _train_config(spec, planned, folder))
    write_yaml(done, provenance)
    return planned


def check_place(
    base_exp: Path,
    folder: Path,
    made: str = "retrain.yaml",
    names: Iterable[str] = ("search.yaml",),
    in_a_search: bool = False,
) -> None:
    """Refuse an output folder that a user, ESPnet or another search also writes to.

    Args:
        base_exp: The experiment that is only read.
        folder: ``--output_dir``.
        made: The file that shows that the folder is already ours.
        names: More files that would be written, or show that it is another's.
        in_a_search: It may lie in a search, which lists, cleans and checks its own.

    Raises:
        TopDownError: E_CREATE (73).
    """
    base, place = Path(base_exp).resolve(), Path(folder).resolve()
    wrong, do = "", f"give another folder, such as {base_exp}_topdown"
    if base == place:
        wrong = "is the base experiment, which is only read"
    elif base in place.parents:
        wrong = f"lies in the base experiment {base_exp}, which is only read"
    elif place in base.parents:
        wrong = f"contains the base experiment {base_exp}"
    elif not (place / made).exists():
        check_output(folder, (*_THEIRS, *names))
        for search in () if in_a_search else place.parents:
            if (search / "search.yaml").is_file():
                wrong = f"lies in the folder of another search, {search}"
                do = f"give another folder, such as {search}_{place.name}"
    if wrong:
        raise TopDownError("E_CREATE", f"{folder} {wrong}", do, CREATE)


def _load_values(places: TensorSources, train_dtype: str = "") -> Weights:
    """The tensors that are at these places, each file read once.

    Args:
        places: Tensor -> a file, and its name there.
        train_dtype: The precision to have them in; "" leaves it as it is.

    Returns:
        Tensor -> its value.
    """
    files = dict.fromkeys(path for path, _ in places.values())
    found = {path: load_weights(path) for path in files}
    if train_dtype:
        found = {p: to_dtype(state, train_dtype, p) for p, state in found.items()}
    return {n: found[path][name] for n, (path, name) in places.items()}


# Initial values of the layers that are not copied, where a file has them.
def _start(spec: RetrainSpec, planned: Plan) -> Weights:
    if not Reinit.parse(spec.reinit).from_trained:
        return _load_values(planned.initial)
    names = [p for g in planned.layers.stack.groups for p in g.params]
    free = {n: planned.layers.header[n] for n in names if n not in planned.copied}
    source = load_weights(spec.start_from or spec.base.model_file())
    return Reinit.parse(spec.reinit).values(source, free, spec.seed)


def _train_config(spec: RetrainSpec, planned: Plan, folder: Path) -> dict[str, Any]:
    """A complete config for ESPnet's own trainer.

    Exact names in ``freeze_param`` and one file in ``init_param``: a name that the
    model does not have then fails loudly, which neither option does alone.

    Returns:
        Option -> value.
    """
    config = spec.base.train_config(spec.trainer)
    stock = known_options(spec.task.options_of)
    config = {k: v for k, v in config.items() if k in stock}
    files = ["frozen.pth"] if planned.copied else []
    starts = planned.initial or Reinit.parse(spec.reinit).from_trained
    files += ["start.pth"] if starts else []
    config.update(
        output_dir=str(folder),
        seed=spec.seed,
        resume=True,
        init_param=[str(folder / name) for name in files],
        freeze_param=[n for n in planned.frozen_params if not is_statistic(n)],
        ignore_init_mismatch=False,
        pretrain_path=None,
    )
    config.update(spec.overrides)
    if config.get("use_wandb"):  # a run of its own, not the base's
        config.update(wandb_id=None, wandb_name=spec.name)
    return config


def _trainer_options(spec: RetrainSpec) -> dict[str, Any]:
    """What the base experiment asked of our trainer beyond ESPnet's options.

    But for its harvest, which is of the joint training only.

    Returns:
        Option -> value.
    """
    ours = known_options(spec.trainer) - known_options(spec.task.options_of)
    ours -= {"harvest", "harvest_stack"}
    return {k: v for k, v in sorted(spec.base.config.items()) if k in ours}


def _provenance(spec: RetrainSpec, planned: Plan) -> dict[str, Any]:
    base, source, model = spec.base, spec.frozen_from, spec.base.model_file()
    start = {"start": spec.reinit, "start_from": str(spec.start_from)}
    files = sorted({path for path, _ in planned.initial.values()})
    begun = {str(p): sha256(p) for p in files}
    return {
        **({} if spec.reinit == "full" else start),
        **({"fix_eval_dropout": True} if base.fix_eval_dropout else {}),
        **({"frozen_in_base": list(own)} if (own := planned.layers.own) else {}),
        **({"init_param_sha256": begun} if begun else {}),
        "node": spec.name,
        "base_exp": str(base.folder),
        "base_model": str(model),
        "base_sha256": sha256(model),
        "frozen_from": str(source) if source else None,
        "frozen_from_sha256": sha256(source) if source else None,
        "frozen": list(spec.frozen),
        "frozen_params": list(planned.frozen_params),
        "reinit": [n for n in planned.layers.stack.names if n not in spec.frozen],
        "seed": spec.seed,
        "control": spec.control,
        "task": spec.task.name,
        "trainer": spec.trainer,
        "trainer_options": _trainer_options(spec),
        "overrides": dict(spec.overrides),
        "max_epoch": spec.overrides.get("max_epoch", base.config["max_epoch"]),
        "stack": spec.stack.name,
        "stack_sha256": spec.stack.digest,
        "layers": planned.layers.sizes,
        "versions": versions(),
    }


# Where a difference does not make another job: the length of a run may be raised.
_MAY_DIFFER = {"versions", "overrides", "max_epoch", "task"}


def _check_same_job(
    have: Mapping[str, Any], want: Mapping[str, Any], folder: Path
) -> None:
    """Refuse to continue a folder that was prepared for another job.

    A key that an older program did not write is not compared.
    """
    for key in want:
        if key not in _MAY_DIFFER and key in have and have[key] != want[key]:
            raise TopDownError(
                "E_CONFIG_CHANGED",
                f"{folder}/retrain.yaml: {key} was {have.get(key)}, now {want[key]}",
                "give another folder, or move the old one away",
            )
    for name in ("espnet", "torch"):
        old, new = have.get("versions", {}).get(name), want["versions"][name]
        if old != new:
            raise TopDownError(
                "E_ENV_DRIFT",
                f"{folder} was begun with {name} {old}, this is {new}",
                f"continue with {name} {old}, or give another folder",
            )


def versions() -> dict[str, str]:
    """Of all that the numbers depend on.

    Returns:
        Package -> version; `git` is the commit of a checkout.
    """
    found = {"espnet_topdown": __version__, "python": platform.python_version()}
    for name in ("espnet", "torch", "numpy"):
        found[name] = metadata.version(name)
    commit = _git_commit(Path(__file__).parents[1])
    return {**found, "git": commit} if commit else found


# The commit of a checkout, "-dirty" if it was changed; "" elsewhere.
def _git_commit(folder: Path) -> str:
    if not (folder.parent / ".git").exists() or not shutil.which("git"):
        return ""
    call = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    return subprocess.run(call, capture_output=True, text=True).stdout.strip()


def prepare_base(base: Experiment, folder: Path, task: str = "asr") -> None:
    """Write the joint model's folder: it is scored there, and stays where it is.

    Args:
        base: The experiment.
        folder: Such as ``m5`` in the folder of a search.
        task: The kind of model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "retrain.yaml").is_file():
        return
    model = base.model_file()
    provenance: dict[str, Any] = {
        **({"fix_eval_dropout": True} if base.fix_eval_dropout else {}),
        "node": folder.name,
        "base_exp": str(base.folder),
        "base_model": str(model),
        "base_sha256": sha256(model),
        "frozen": [],
        "frozen_params": [],
        "seed": base.config.get("seed"),
        "control": None,
        "task": task,
        "trainer": None,
        "max_epoch": base.config.get("max_epoch"),
        "versions": versions(),
    }
    write_yaml(folder / "retrain.yaml", provenance)


def extend(folder: Path, epochs: int) -> None:
    """Raise the number of epochs of a prepared job; it is never lowered."""
    if int(read_yaml(folder / "train.yaml")["max_epoch"]) >= epochs:
        return
    for path in (folder / "retrain.yaml", folder / "train.yaml"):  # whose goal counts
        write_yaml(path, {**read_yaml(path), "max_epoch": epochs})
