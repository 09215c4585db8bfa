"""The keys of an ESPnet config that this package reads: their types and ranges.

Every ``config.yaml`` of an experiment comes through :func:`read_config`, so a value
that somebody changed by hand is named here, not by a traceback of who uses it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.errors import CONFIG, TopDownError
from espnet_topdown.files import read_yaml

Check = Callable[[Any], bool]
ABOVE_0, BELOW_1 = math.nextafter(0, 1), math.nextafter(1, 0)


@dataclass(frozen=True)
class Key:
    """One key of a config.

    Attributes:
        allowed: What may stand there, in words.
        fits: Whether a value is allowed.
        used_by: Who reads it.
        default: What ESPnet takes where the key is missing and somebody needs it.
    """

    allowed: str
    fits: Check
    used_by: str
    default: Any = None


def whole(low: int) -> Check:
    """A whole number from ``low`` on; true and false are none."""
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= low


def number(low: float, high: float = math.inf) -> Check:
    """A finite number in a range, also as the text ``1e-3``, which YAML 1.1 reads."""

    def fits(value: Any) -> bool:
        if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+[eE][-+]?\d+", value):
            try:
                value = float(value)
            except ValueError:
                return False
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        return right and math.isfinite(value) and low <= value <= high

    return fits


def is_line(value: Any) -> bool:
    """A text without line breaks and halves of characters, which no file can hold."""
    return isinstance(value, str) and not re.search(r"[\n\r\ud800-\udfff]", value)


def text(value: Any) -> bool:
    """A text of one line that is not empty."""
    return is_line(value) and bool(value)


def is_rate(value: Any) -> bool:
    """A sample rate as ESPnet writes it: 16000, ``16k``, ``22.05k``."""
    if isinstance(value, str):
        return bool(re.fullmatch(r"0*[1-9]\d*|\d*[1-9]\d*(\.\d+)?[kK]", value))
    return whole(1)(value)


def none_or(fits: Check) -> Check:
    """Nothing, or a value that fits."""
    return lambda v: v is None or fits(v)


def list_of(fits: Check, least: int = 0) -> Check:
    """A list of values that all fit, at least so many."""
    return lambda v: (
        isinstance(v, (list, tuple)) and len(v) >= least and all(map(fits, v))
    )


def either(*checks: Check) -> Check:
    """A value that fits one of the checks."""
    return lambda v: any(fits(v) for fits in checks)


def is_criterion(value: Any) -> bool:
    """What an epoch is chosen by, such as ``[valid, loss, min]``."""
    return (
        list_of(text)(value)
        and len(value) == 3
        and value[0] in ("train", "valid")
        and value[2] in ("min", "max")
    )


def is_pair(value: Any) -> bool:
    """What a scheduler looks at, such as ``[valid, loss]``."""
    right = list_of(text)(value) and len(value) == 2
    return right and value[0] in ("train", "valid")


def is_data(value: Any) -> bool:
    """Data of a set, such as ``[dump/raw/dev/text, text, text]``."""
    return list_of(text)(value) and len(value) == 3


def is_mapping(value: Any) -> bool:
    """``{}`` or lines ``key: value``."""
    return isinstance(value, Mapping) and all(isinstance(k, str) for k in value)


def is_flag(value: Any) -> bool:
    """The words true and false of YAML."""
    return isinstance(value, bool)


_ONE = Key("a whole number >= 1", whole(1), "trainer")
_ONE_OR_NONE = Key("null or a whole number >= 1", none_or(whole(1)), "trainer")
_FLAG = Key("true or false", is_flag, "trainer, decoding")
_TEXT = Key("a name", text, "trainer, decoding")
_TEXT_OR_NONE = Key("null or a name", none_or(text), "trainer, decoding")
_FILES = Key("a list of files", none_or(list_of(text)), "checks of the data")
_NAMES = Key(
    "a list of names (in YAML, no and off are false)",
    none_or(either(text, list_of(text))),
    "trainer",
)
_DATA = Key("a list of [file, name, type]", none_or(list_of(is_data)), "checks")
_CRITERIA = [["train", "loss", "min"], ["valid", "loss", "min"]]
_CRITERIA += [["train", "acc", "max"], ["valid", "acc", "max"]]
_CRITERION = "[train or valid, a name, min or max]"

KEYS: dict[str, Key] = {
    "max_epoch": Key("a whole number >= 1", whole(1), "jobs, search", 40),
    "seed": Key("a whole number >= 0", none_or(whole(0)), "jobs, search"),
    "patience": Key("null or a whole number >= 0", none_or(whole(0)), "jobs"),
    "best_model_criterion": Key(
        f"a list of {_CRITERION}", list_of(is_criterion, 1), "jobs", _CRITERIA
    ),
    "early_stopping_criterion": Key(_CRITERION, is_criterion, "jobs"),
    "val_scheduler_criterion": Key("[train or valid, a name]", is_pair, "trainer"),
    "token_list": Key(
        "a list of texts of one line (numbers, true, no, null in quotes), or a file",
        none_or(either(text, list_of(is_line))),
        "checks, decoding",
    ),
    "token_type": _TEXT_OR_NONE,
    "bpemodel": Key("null or a file", none_or(text), "checks, decoding"),
    "cleaner": Key(
        "null, a name or a list of names",
        none_or(either(text, list_of(text))),
        "checks, decoding",
    ),
    "g2p": _TEXT_OR_NONE,
    "non_linguistic_symbols": Key(
        "null, a file or a list of symbols",
        none_or(either(text, list_of(text))),
        "checks, decoding",
    ),
    "train_data_path_and_name_and_type": _DATA,
    "valid_data_path_and_name_and_type": _DATA,
    "train_shape_file": _FILES,
    "valid_shape_file": _FILES,
    "multiple_iterator": _FLAG,
    "use_preprocessor": _FLAG,
    "preprocessor": _TEXT_OR_NONE,
    "frontend_conf.fs": Key("a rate such as 16000 or 16k", is_rate, "checks, decoding"),
    "model_conf.ctc_weight": Key("a number from 0 to 1", number(0, 1), "trainer"),
    "input_size": _ONE_OR_NONE,
    "valid_batch_size": _ONE_OR_NONE,
    "batch_size": _ONE,
    "batch_bins": _ONE,
    "min_batch_size": _ONE,
    "accum_grad": _ONE,
    "num_iters_per_epoch": _ONE_OR_NONE,
    "log_interval": _ONE_OR_NONE,
    "keep_nbest_models": Key(
        "a whole number >= 1 or a list of them",
        either(whole(1), list_of(whole(1), 1)),
        "trainer",
    ),
    "grad_clip": Key("a number above 0", number(ABOVE_0), "trainer"),
    "optim_conf.lr": Key("a number above 0", number(ABOVE_0), "trainer"),
    "max_cache_size": Key("a number >= 0", number(0), "trainer"),
    "bptt": _ONE,
    "ngpu": Key("a whole number >= 0", whole(0), "trainer"),
    "freeze_param": _NAMES,
    "init_param": _NAMES,
    "batch_type": _TEXT,
    "sort_in_batch": _TEXT,
    "iterator_type": _TEXT_OR_NONE,
    "optim": _TEXT,
    "scheduler": _TEXT_OR_NONE,
    "encoder": _TEXT,
    "decoder": _TEXT_OR_NONE,
    "frontend": _TEXT_OR_NONE,
    "model": _TEXT_OR_NONE,
    "lm": _TEXT,
    "init_uniform": Key("a number >= 0", number(0), "trainer"),
    "adadelta_eps_decay": Key(
        "a number from 0, below 1", number(0, BELOW_1), "trainer"
    ),
}
_CONF = Key("a mapping: {} or lines 'key: value'", is_mapping, "trainer, decoding")


def read_config(path: Path) -> dict[str, Any]:
    """The config of an experiment, complete, with the keys that we read checked.

    Raises:
        TopDownError: E_CONFIG_KEY (78), and those of ``read_yaml``.
    """
    config = read_yaml(path)
    check_config(config, path)
    for name, key in KEYS.items():
        if key.default is not None:
            config.setdefault(name, key.default)
    return config


def check_config(config: Mapping[str, Any], where: str | Path) -> None:
    """Refuse the first value that no command could use.

    Args:
        config: A config, or the options of a training under the same names.
        where: The file, for the message.

    Raises:
        TopDownError: E_CONFIG_KEY (78): file, key, value, what is allowed.
    """
    for name, value in config.items():
        if not isinstance(name, str):
            _refuse(where, name, value, "keys that are names")
        key = KEYS.get(name)
        if key is None and name.endswith("_conf"):
            key = _CONF
            if value is None and config.get(name[: -len("_conf")]) is None:
                continue  # of a part that the model does not have
        if key is not None and not key.fits(value):
            _refuse(where, name, value, key.allowed)
        if key is _CONF:
            for inner, found in value.items():
                key = KEYS.get(f"{name}.{inner}")
                if key is not None and not key.fits(found):
                    _refuse(where, f"{name}.{inner}", found, key.allowed)


def _refuse(where: str | Path, name: object, value: object, allowed: str) -> None:
    shown = "null" if value is None else repr(value)
    what = f"{where}: {name} is {shown[:80]}"
    raise TopDownError("E_CONFIG_KEY", what, f"write {allowed}", CONFIG)


@dataclass(frozen=True)
class InitParam:
    """One ``init_param``: ``path[:source[:destination[:excluded,...]]]``."""

    path: Path
    source: str
    destination: str
    excluded: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> InitParam:
        """Read ESPnet's notation."""
        parts = text.split(":")
        if len(parts) > 4:
            raise TopDownError(
                "E_PATH", f"':' in the path of init_param {text}", "rename the file"
            )
        path, source, destination, excluded = [*parts, "", "", ""][:4]
        names = tuple(e for e in excluded.split(",") if e)
        return cls(Path(path), source, destination, names)

    def target(self, name: str) -> str:
        """The model's name for a tensor of the file; "" where it is left out.

        >>> InitParam.parse("a.pth:encoder:body").target("encoder.w")
        'body.w'
        """
        if self.excluded and name.startswith(self.excluded):
            return ""
        if self.source:
            if not name.startswith(self.source + "."):
                return ""
            name = name[len(self.source) + 1 :]
        return f"{self.destination}.{name}" if self.destination else name
