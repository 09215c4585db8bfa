"""An ESPnet experiment folder, read only: its config, epochs, weights and tokens."""

from __future__ import annotations

import argparse
import datetime
import importlib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet_topdown.data.audio import parse_rate
from espnet_topdown.data.tokens import read_token_list
from espnet_topdown.errors import DATA, MISSING, USAGE, TopDownError, nearest, warn
from espnet_topdown.files import read_json, sha256, write_json
from espnet_topdown.models import type_checks
from espnet_topdown.models.checkpoint import Header, has_other_dtype, read_header
from espnet_topdown.models.config import read_config
from espnet_topdown.models.layers import is_statistic
from espnet_topdown.models.tasks import kind_of

if TYPE_CHECKING:
    from espnet_topdown.models.weights import Weights

# Written by a run about itself; ESPnet's --config does not take them back, or they
# describe one worker of a finished multi-GPU run.
_OF_A_RUN = set(
    "config required version distributed print_config collect_stats dry_run dist_rank "
    "local_rank dist_world_size dist_master_addr dist_master_port dist_launcher "
    "dist_backend dist_init_method multiprocessing_distributed".split()
)
_DISPENSABLE = (  # where a release or trainer does not know them: the same model
    "wandb_allow_val_change allow_infeasible fast_lstm frozen_norm harvest "
    "harvest_stack progress sdpa"
).split()
_HARVEST = "harvest"  # the folder of layers kept of every epoch


@dataclass(frozen=True)
class Criterion:
    """What ESPnet selects its best epoch by, e.g. ("valid", "loss", "min")."""

    phase: str
    key: str
    mode: str

    @property
    def file(self) -> str:
        """The link that the trainer points at the best epoch."""
        return f"{self.phase}.{self.key}.best.pth"


def rank_epochs(
    stats: Mapping[int, Mapping[str, Mapping[str, Any]]],
    criterion: Criterion,
    finite: bool = True,
) -> list[int]:
    """Epochs from best to worst; of equal ones the earlier is better.

    Args:
        stats: epoch -> phase -> key -> value, as ESPnet's reporter keeps them.
        criterion: What they are ranked by; epochs that did not report it are left out.
        finite: Leave NaN and infinity out too; otherwise they are last. (ESPnet
            deletes the files of epochs by such a list, so that all must be in it.)

    Returns:
        Numbers of epochs.
    """
    sign = 1.0 if criterion.mode == "min" else -1.0
    phase, key = criterion.phase, criterion.key
    reports = {e: s[phase] for e, s in stats.items() if key in s.get(phase, {})}
    values = {e: sign * float(report[key]) for e, report in reports.items()}
    good = [e for e, value in values.items() if math.isfinite(value)]
    bad = [] if finite else sorted(values.keys() - good)
    return [*sorted(good, key=lambda e: (values[e], e)), *bad]


def stopped_early(
    stats: Mapping[int, Mapping[str, Mapping[str, Any]]],
    patience: int | None,
    criterion: Sequence[str] | None,
) -> bool:
    """Whether ESPnet's early stopping has ended a training.

    Args:
        stats: See ``rank_epochs``.
        patience: ESPnet's option; None stops nothing.
        criterion: ESPnet's ``early_stopping_criterion``.

    Returns:
        False where the training goes on, or has not begun.
    """
    if patience is None or not criterion:
        return False
    ranked = rank_epochs(stats, Criterion(*criterion[:3]))
    return bool(ranked) and max(stats) - ranked[0] > int(patience)


class Experiment:
    """A folder that ESPnet's trainer wrote.

    Args:
        folder: The experiment. Relative paths inside its config refer to the current
            folder, as in any recipe.
        model: The file of weights to take for its best epoch's: a name in the folder,
            or a path.
        fix_eval_dropout: Read its encoder as ours, where dropout is off outside
            training: td_rnn for rnn, td_vgg_rnn for vgg_rnn. They have the same
            parameters, so they take over trained weights as they are.

    Raises:
        TopDownError: E_EXP (66) when the folder or its config.yaml is missing.
    """

    def __init__(
        self, folder: Path, model: Path | None = None, fix_eval_dropout: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.model = model
        self.fix_eval_dropout = fix_eval_dropout
        if not (self.folder / "config.yaml").is_file():
            what = f"no ESPnet experiment in {self.folder} (config.yaml is missing)"
            do = "give the folder that stage 11 wrote, e.g. exp/asr_train_raw_en_char"
            if not self.folder.is_absolute():  # a search names its base so
                do += ", or start in the recipe's folder"
            raise TopDownError("E_EXP", what, do, MISSING)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The training config, complete, its keys checked; see ``read_config``."""
        config = read_config(self.folder / "config.yaml")
        if self.fix_eval_dropout and config.get("encoder") in ("rnn", "vgg_rnn"):
            config["encoder"] = f"td_{config['encoder']}"
        return config

    @property
    def token_list(self) -> list[str]:
        """The model's output symbols, in order.

        Raises:
            TopDownError: E_TOKENS (65).
        """
        tokens = self.config.get("token_list") or []
        if isinstance(tokens, str):
            tokens = read_token_list(Path(tokens))
        # A language model has no blank; data/words.py checks its words.
        begins = bool(tokens) and ("lm" in self.config or tokens[0] == "<blank>")
        if not begins or len(set(tokens)) != len(tokens):
            what = f"{self.folder}/config.yaml: token_list must hold '<blank>' first"
            what += " and no symbol twice"
            do = "make the token list again (stage 5)"
            raise TopDownError("E_TOKENS", what, do, DATA)
        return list(tokens)

    @property
    def criteria(self) -> list[Criterion]:
        """best_model_criterion, those on the validation set first."""
        criteria = [Criterion(*c) for c in self.config["best_model_criterion"]]
        return sorted(criteria, key=lambda c: c.phase != "valid")

    def own_frozen(self, names: Iterable[str]) -> list[str]:
        """Those of the model's names that the experiment's own freeze_param froze.

        ESPnet takes a name or whole first parts of it. Running statistics stay with
        the weights beside them.

        Args:
            names: Of the model's tensors.

        Returns:
            The frozen ones.
        """
        patterns = as_names(self.config.get("freeze_param"))
        names = list(names)
        frozen = [n for n in names if any(_is_part(p, n) for p in patterns)]
        free = {_owner(n) for n in names if n not in frozen and not is_statistic(n)}
        return [n for n in frozen if not (is_statistic(n) and _owner(n) in free)]

    @cached_property
    def stats(self) -> dict[int, dict[str, dict[str, float]]]:
        """Epoch -> phase -> key -> value, as the trainer's reporter stored them."""
        from espnet_topdown.models.weights import read_checkpoint

        state = read_checkpoint(self.folder / "checkpoint.pth")
        stats = state["reporter"]["stats"]
        return {int(e): _numbers(phases) for e, phases in stats.items()}

    @property
    def last_epoch(self) -> int:
        """The last epoch trained; 0 when none was."""
        return max(self.stats, default=0)

    @property
    def epoch_files(self) -> dict[int, Path]:
        """The epochs whose weights are still there."""
        epochs = {}
        for path in self.folder.glob("*epoch.pth"):
            if match := re.fullmatch(r"(\d+)epoch\.pth", path.name):
                epochs[int(match[1])] = path
        return dict(sorted(epochs.items()))

    def model_file(self, which: str | int = "best") -> Path:
        """A file of weights: "best", an epoch number, or a file name in the folder.

        Args:
            which: "best" is the single best epoch by the first validation criterion
                that the experiment used, never an average, unless a file was given.

        Returns:
            Its path.

        Raises:
            TopDownError: E_MODEL (66); those of ``check_whole``.
        """
        if which == "best" and self.model:
            if (path := Path(self.model)).is_file():
                return path
            names = [str(self.model)]
        elif which == "best":
            names = [c.file for c in self.criteria]
        elif str(which).isdigit():
            names = [f"{which}epoch.pth"]
        else:
            names = [str(which)]
        for name in names:
            if (self.folder / name).is_file():
                return _followed(self.folder / name)
        self._check_whole()  # one of another kind has other files
        have = sorted(p.name for p in self.folder.glob("*.pth") if p.is_file())
        what = f"no {' or '.join(names)} in {self.folder} ({nearest(names[0], have)})"
        do = "train it (stage 11), or give --base_model FILE"
        raise TopDownError("E_MODEL", what, do, MISSING)

    def average(self, n: int) -> Path:
        """Write the mean of the ``n`` best epochs, unless it is there.

        They are chosen by the first criterion on the validation set. A file
        ``<name>.json`` beside it says which epochs these were.

        Args:
            n: Number of epochs; all that there are where there are fewer.

        Returns:
            ``<phase>.<key>.average<n>.pth`` in the folder.

        Raises:
            TopDownError: E_USAGE (64); E_AVERAGE (66) when an epoch's file is gone;
                those of ``mean_weights``.
        """
        from espnet_topdown.models.weights import mean_weights, save_weights

        if n < 1:
            what = f"an average of {n} epochs"
            raise TopDownError("E_USAGE", what, "give --n 1 or more", USAGE)
        criterion = self.criteria[0]
        epochs = rank_epochs(self.stats, criterion)[:n]
        files = [self.folder / f"{epoch}epoch.pth" for epoch in epochs]
        gone = [path.name for path in files if not path.is_file()]
        if gone or not epochs:
            what = f"{self.folder} lacks {', '.join(gone) or 'any epoch'} of its {n} "
            do = f"train with keep_nbest_models {n} and this criterion alone"
            raise TopDownError("E_AVERAGE", f"{what}best", do, MISSING)
        if len(epochs) < n:
            what = f"{self.folder} has {len(epochs)} epochs, not {n}: all are used"
            warn("W_AVERAGE", what)
        target = self.folder / f"{criterion.phase}.{criterion.key}.average{n}.pth"
        record = {
            "schema": 1,
            "criterion": [criterion.phase, criterion.key, criterion.mode],
            "epochs": epochs,
            "sha256": {path.name: sha256(path) for path in files},
        }
        beside = target.with_suffix(".json")
        if target.is_file() and beside.is_file() and read_json(beside) == record:
            return target
        beside.unlink(missing_ok=True)
        save_weights(mean_weights(files), target)
        write_json(beside, record)
        return target

    def weights(self) -> Weights:
        """The tensors of the best epoch, checked; see ``load_weights``.

        Returns:
            Name -> tensor, in the precision of the training.

        Raises:
            TopDownError: Those of ``model_file`` and ``load_weights``.
        """
        from espnet_topdown.models.weights import load_weights, to_dtype

        path = self.model_file()
        return to_dtype(load_weights(path), self.train_dtype, path)

    def header(self) -> Header:
        """Names, shapes and types of the best epoch's tensors, read without torch.

        Returns:
            Name -> tensor without its values.

        Raises:
            TopDownError: E_PARTIAL (78); those of ``read_header``.
        """
        self._check_whole()
        path = self.model_file()
        header = read_header(path)
        has_other_dtype(self.train_dtype, {i.dtype for i in header.values()}, path)
        return header

    @property
    def train_dtype(self) -> str:
        """The precision that it was trained with, such as "float32"."""
        return str(self.config.get("train_dtype") or "float32")

    @property
    def command(self) -> str:
        """ESPnet's training command by its log, such as "asr_train"; "" without one."""
        path = self.folder / "train.log"
        if not path.is_file():
            return ""
        with path.open("rb") as f:  # a launcher's lines, the command among the first
            text = f.read(4096).decode("utf-8", "replace")
        match = re.search(r"\bespnet(?:2|_topdown)[./]bin[./](\w+_train)\b", text)
        return match[1] if match else ""

    def _check_whole(self) -> None:
        """Refuse an experiment of another kind, or whose files hold a part of a model.

        Raises:
            TopDownError: E_ESPNET3, E_KIND or E_PARTIAL (78).
        """
        config = self.config
        kind_of(config, self.command)
        part = ""
        for key in ("use_adapter", "use_lora"):  # the second in older releases
            if config.get(key):
                part = f"{key}: {config.get('adapter', True)}"
        if not part and config.get("save_strategy", "all") != "all":
            part = f"save_strategy: {config['save_strategy']}"
        if part:
            what = f"{self.folder} was trained with {part}: what it trained is no layer"
            what += " of its own, or its files lack the rest of the model"
            do = "merge the adapter into the model and give a training of all of it"
            raise TopDownError("E_PARTIAL", what, do)

    def epoch_of(self, model_file: Path) -> int | None:
        """The epoch that a link such as valid.loss.best.pth points at.

        Args:
            model_file: The link, or the file.

        Returns:
            Its number; None for a file of another name.
        """
        name = Path(os.path.realpath(model_file)).name
        match = re.fullmatch(r"(\d+)epoch\.pth", name)
        return int(match[1]) if match else None

    def harvest_file(self, epoch: int) -> Path:
        """Some layers of an epoch, where the training kept them (``--harvest``).

        Args:
            epoch: Its number.

        Returns:
            The file, which need not be there.
        """
        return self.folder / _HARVEST / f"{epoch}.pth"

    def check_finished(
        self, max_epoch: int | None = None, patience: int | None = None
    ) -> None:
        """Refuse a model that was not trained to its own end.

        Args:
            max_epoch: The goal; None takes it and the patience of config.yaml.
            patience: Epochs without a gain after which training stops.

        Raises:
            TopDownError: E_NOT_CONVERGED (78).
        """
        if not (self.folder / "checkpoint.pth").is_file():
            warn("W_NO_CHECKPOINT", f"{self.folder}: cannot tell if training ended")
            return
        if max_epoch is None:
            max_epoch = self.config["max_epoch"]
            patience = self.config.get("patience")
        last = self.last_epoch
        stopping = self.config.get("early_stopping_criterion")
        if last >= max_epoch or stopped_early(self.stats, patience, stopping):
            return
        what = f"{self.folder} stopped at epoch {last} of {max_epoch}"
        do = "run stage 11 again (it continues), or give --allow_unfinished true"
        raise TopDownError("E_NOT_CONVERGED", what, do)

    def data_path(self, phase: str, name: str) -> tuple[Path, str]:
        """Where the data of a set are.

        Args:
            phase: "train" or "valid".
            name: "speech" or "text".

        Returns:
            The file, and the type that ESPnet reads it by.

        Raises:
            TopDownError: E_DATA_NAME (78).
        """
        entries = self.config.get(f"{phase}_data_path_and_name_and_type") or []
        for path, have, kind in entries:
            if have == name:
                return Path(path), kind
        what = f"{self.folder}/config.yaml names no {phase} '{name}'"
        do = "only models of speech and text are supported"
        raise TopDownError("E_DATA_NAME", what, do)

    @property
    def sample_rate(self) -> int:
        """The rate that the front end expects, in Hz."""
        fs = (self.config.get("frontend_conf") or {}).get("fs", 16000)
        return parse_rate(str(fs))

    def train_config(self, module: str) -> dict[str, Any]:
        """The config as ``python -m module --config`` takes it back.

        Keys that only describe the finished run are left out, and so are keys of
        another ESPnet release or trainer that hold nothing or can be done without.

        Args:
            module: Of the training command.

        Returns:
            Key -> value.

        Raises:
            TopDownError: E_YAML_KEY (78) for a key with a value that this release
                does not know.
        """
        options = known_options(module)
        kept: dict[str, Any] = {}
        for key, value in self.config.items():
            if key in _OF_A_RUN:
                continue
            if key in options:
                kept[key] = value
            elif key not in _DISPENSABLE and value not in (None, False, [], {}, ""):
                what = f"'{key}: {value}' in {self.folder}/config.yaml is unknown to "
                what += f"{module} ({nearest(key, options)})"
                do = "use the ESPnet release and the trainer of this experiment"
                raise TopDownError("E_YAML_KEY", what, do)
        return kept


def as_names(value: Any) -> list[str]:
    """A list of names in a config; one name alone is a list of one.

    Args:
        value: Of the config's key; None is an empty list.

    Returns:
        The names.
    """
    return [value] if isinstance(value, str) else list(value or [])


# The module that a tensor belongs to.
def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _is_part(pattern: str, name: str) -> bool:
    """Whether a pattern of freeze_param is a name, or whole first parts of it.

    Returns:
        Whether ESPnet freezes the tensor of that name.

    >>> _is_part("encoder.enc.0", "encoder.enc.0.w"), _is_part("enc", "encoder.w")
    (True, False)
    """
    return name == pattern or name.startswith(pattern + ".")


def experiment_of(weights: Path) -> Path:
    """The folder of the experiment that a file of weights is, or was harvested, from.

    Args:
        weights: The file.

    Returns:
        The folder.

    >>> experiment_of(Path("exp/asr/harvest/3.pth")) == Path("exp/asr")
    True
    """
    folder = Path(weights).parent
    return folder.parent if folder.name == _HARVEST else folder


# ``valid.acc.best.pth`` is a link; a copy may have made a text file of it.
def _followed(path: Path) -> Path:
    for _ in range(3):
        if path.stat().st_size > 200:
            break
        name = path.read_bytes().decode("ascii", "replace").strip()
        target = path.parent / name
        if not name or target.parent != path.parent or not target.is_file():
            break
        path = target
    return path


def known_options(module: str) -> set[str]:
    """The option names of a training command, by its own parser.

    Args:
        module: Of the command.

    Returns:
        Names as they are in a config.
    """
    with type_checks.quiet_imports():
        trainer = importlib.import_module(module)
        parser: argparse.ArgumentParser = trainer.get_parser()
    return {a.dest for a in parser._actions}


def model_options(module: str) -> set[str]:
    """Those options of a training command that describe a model and its text.

    Args:
        module: Of the command.

    Returns:
        Names as they are in a config.
    """
    parser = type_checks.import_quietly(module).get_parser()
    names = {"version", "non_linguistic_symbols"}
    for group in parser._action_groups:  # 202511 has the heading as a description
        if (group.title or group.description or "").startswith(("Task", "Preproc")):
            names |= {a.dest for a in group._group_actions}
    return {name for name in names if not name.endswith("_scp")}  # noise to train with


def _numbers(phases: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {
        phase: {
            k: v.total_seconds() if isinstance(v, datetime.timedelta) else float(v)
            for k, v in values.items()
            if isinstance(v, (int, float, np.number, datetime.timedelta))
        }
        for phase, values in phases.items()
    }
