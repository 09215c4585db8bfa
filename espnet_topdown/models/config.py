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

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json, read_yaml

Check = Callable[[Any], bool]


# A whole number from ``low`` on; true and false are none.
def _whole(low: int) -> Check:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= low


# A finite number in a range, also as the text ``1e-3``, which YAML 1.1 reads.
def _number(low: float, high: float = math.inf) -> Check:
    def fits(value: Any) -> bool:
        text = isinstance(value, str)
        if text and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value):
            value = float(value)
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        return right and math.isfinite(value) and low <= value <= high

    return fits


# A text without what no list can hold: line breaks, halves of characters, NUL, which
# looks like UTF-16.
def _is_line(value: Any) -> bool:
    return isinstance(value, str) and not re.search(r"[\n\r\0\ud800-\udfff]", value)


def _text(value: Any) -> bool:
    return _is_line(value) and bool(value)


# A sample rate as ESPnet writes it: 16000, ``16k``, ``22.05k``.
def _is_rate(value: Any) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"0*[1-9]\d*|\d*[1-9]\d*(\.\d+)?[kK]", value))
    return _whole(1)(value)


def _or_none(*checks: Check) -> Check:
    return lambda v: v is None or any(fits(v) for fits in checks)


def _list_of(fits: Check, least: int = 0, most: float = math.inf) -> Check:
    return lambda v: (
        isinstance(v, (list, tuple))
        and least <= len(v) <= most
        and all(fits(each) for each in v)
    )


# ``[valid, loss, min]``, or the first two parts of it.
def _criterion(parts: int) -> Check:
    names = _list_of(_text, parts, parts)
    return lambda v: (
        names(v) and v[0] in ("train", "valid") and {*v[2:]} <= {"min", "max"}
    )


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) for k in value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


_ABOVE_0, _BELOW_1 = math.nextafter(0, 1), math.nextafter(1, 0)
_CRITERION = "[train or valid, a name, min or max]"
# What may stand there, in words; whether a value does; the keys.
_Rule = tuple[str, Check, str]


def _by_name(*rules: _Rule) -> dict[str, tuple[str, Check]]:
    return {name: (rule, fits) for rule, fits, names in rules for name in names.split()}


KEYS = _by_name(
    (
        "a whole number >= 1",
        _whole(1),
        "max_epoch batch_size batch_bins min_batch_size accum_grad bptt",
    ),
    (
        "null or a whole number >= 1",
        _or_none(_whole(1)),
        "input_size valid_batch_size num_iters_per_epoch log_interval",
    ),
    ("a whole number >= 0", _whole(0), "ngpu"),
    ("null or a whole number >= 0", _or_none(_whole(0)), "patience seed"),
    ("a number >= 0", _number(0), "max_cache_size init_uniform"),
    ("a number above 0", _number(_ABOVE_0), "grad_clip optim_conf.lr"),
    ("a number from 0 to 1", _number(0, 1), "model_conf.ctc_weight"),
    ("a number from 0, below 1", _number(0, _BELOW_1), "adadelta_eps_decay"),
    ("a rate such as 16000 or 16k", _is_rate, "frontend_conf.fs"),
    ("true or false", _is_flag, "multiple_iterator use_preprocessor"),
    ("a name", _text, "batch_type sort_in_batch optim encoder lm"),
    (
        "null or a name",
        _or_none(_text),
        "token_type g2p preprocessor iterator_type scheduler decoder frontend model",
    ),
    ("null or a file", _or_none(_text), "bpemodel"),
    (
        "null, a name or a list of names (in YAML, no and off are false)",
        _or_none(_text, _list_of(_text)),
        "cleaner freeze_param init_param",
    ),
    (
        "null, a file or a list of symbols",
        _or_none(_text, _list_of(_text)),
        "non_linguistic_symbols",
    ),
    (
        "a list of texts of one line (numbers, true, no, null in quotes), or a file",
        _or_none(_text, _list_of(_is_line)),
        "token_list",
    ),
    ("a list of files", _or_none(_list_of(_text)), "train_shape_file valid_shape_file"),
    (
        "a list of [file, name, type]",
        _or_none(_list_of(_list_of(_text, 3, 3))),
        "train_data_path_and_name_and_type valid_data_path_and_name_and_type",
    ),
    (
        "a whole number >= 1 or a list of them",
        lambda v: _whole(1)(v) or _list_of(_whole(1), 1)(v),
        "keep_nbest_models",
    ),
    (f"a list of {_CRITERION}", _list_of(_criterion(3), 1), "best_model_criterion"),
    (_CRITERION, _criterion(3), "early_stopping_criterion"),
    ("[train or valid, a name]", _criterion(2), "val_scheduler_criterion"),
)

_SIZES: Check = lambda v: _is_mapping(v) and all(map(_whole(0), v.values()))  # noqa: E731
_OF_BOTH: tuple[_Rule, ...] = (
    ("a name", _text, "base_exp base_model stack"),
    ("null or a whole number >= 0", _or_none(_whole(0)), "seed"),
    ("true or false", _is_flag, "fix_eval_dropout"),
    ("names with values", _is_mapping, "versions"),
)
# What a search and a retraining write down about themselves, and what was found.
RECORDS = {
    "search.yaml": _by_name(
        *_OF_BOTH,
        ("a name", _text, "strategy criterion decoder retrain_seed reinit trainer"),
        ("a list of names", _list_of(_text), "controls"),
        ("a list of one name at least", _list_of(_text, 1), "layers"),
        ("a list of whole numbers >= 1", _list_of(_whole(1)), "epochs steps"),
        ("a whole number >= 0", _whole(0), "max_frozen budget"),
        ("a whole number >= 1", _whole(1), "width"),
        ("null or a whole number >= 1", _or_none(_whole(1)), "max_epoch"),
    ),
    "result.json": _by_name(
        ("null or a name", _or_none(_text), "best finished reason"),
        ("a list of names", _list_of(_text), "path"),
        ("names with values", _is_mapping, "nodes versions"),
    ),
    "retrain.yaml": _by_name(
        *_OF_BOTH,
        ("a name", _text, "node task"),
        ("null or a name", _or_none(_text), "control frozen_from trainer"),
        ("a list of names", _list_of(_text), "frozen frozen_params"),
        ("a whole number >= 1", _whole(1), "max_epoch"),
        ("names with whole numbers >= 0", _SIZES, "layers"),
        ("names with values", _is_mapping, "trainer_options overrides"),
    ),
}
# What ESPnet takes where a key is missing that somebody here needs.
_DEFAULTS = {
    "max_epoch": 40,
    "best_model_criterion": [
        [phase, key, mode]
        for key, mode in (("loss", "min"), ("acc", "max"))
        for phase in ("train", "valid")
    ],
}


# What stands there in another form if ESPnet 3 wrote it; it is not retrained by us.
_ESPNET3 = ("best_model_criterion", "scheduler")


def is_espnet3(config: Mapping[str, Any]) -> bool:
    """Whether ESPnet 3 wrote a config.

    It puts its own sections beside every key of ESPnet 2's task. The model's keys are
    right then; those of ESPnet 2's trainer (optim, batch_type, data) are defaults.

    Args:
        config: Its keys.

    Returns:
        Whether its sections are there.
    """
    return {"trainer", "dataset", "dataloader"} <= config.keys()


def read_config(path: Path) -> dict[str, Any]:
    """The config of an experiment, complete, with the keys that we read checked.

    Args:
        path: ``config.yaml``.

    Returns:
        Key -> value; keys that ESPnet would need a default for have it.

    Raises:
        TopDownError: E_CONFIG_KEY (78), and those of ``read_yaml``.
    """
    config = read_yaml(path)
    if is_espnet3(config):
        config = {k: v for k, v in config.items() if k not in _ESPNET3}
    check_config(config, path)
    for name, value in _DEFAULTS.items():
        config.setdefault(name, value)
    return config


def read_record(path: Path) -> dict[str, Any]:
    """A file of ``RECORDS``, with the values checked that are read.

    Args:
        path: The file; its name says which.

    Returns:
        Key -> value; an older program did not write every key.

    Raises:
        TopDownError: E_CONFIG_KEY (78), and those of ``read_yaml`` or ``read_json``.
    """
    path = Path(path)
    record = read_json(path) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(record, dict):
        raise _wrong(path, "what it holds", record, "names with values")
    for name, (rule, fits) in RECORDS[path.name].items():
        if name in record and not fits(record[name]):
            raise _wrong(path, name, record[name], rule)
    return record


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
            raise _wrong(where, name, value, "keys that are names")
        values = {name: value}
        if name.endswith("_conf"):
            if value is None and config.get(name.removesuffix("_conf")) is None:
                continue  # of a part that the model does not have
            if not _is_mapping(value):
                allowed = "a mapping: {} or lines 'key: value'"
                raise _wrong(where, name, value, allowed)
            values = {f"{name}.{inner}": each for inner, each in value.items()}
        for key, each in values.items():
            if key in KEYS and not KEYS[key][1](each):
                raise _wrong(where, key, each, KEYS[key][0])


def _wrong(
    where: str | Path, name: object, value: object, allowed: str
) -> TopDownError:
    shown = "null" if value is None else repr(value)
    what = f"{where}: {name} is {shown[:80]}"
    return TopDownError("E_CONFIG_KEY", what, f"write {allowed}")


@dataclass(frozen=True)
class InitParam:
    """One ``init_param``: ``path[:source[:destination[:excluded,...]]]``."""

    path: Path
    source: str
    destination: str
    excluded: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> InitParam:
        """Read ESPnet's notation.

        Args:
            text: One entry of ``init_param``.

        Returns:
            Its parts.

        Raises:
            TopDownError: E_PATH (78) for more than four parts.
        """
        parts = text.split(":")
        if len(parts) > 4:
            what = f"':' in the path of init_param {text}"
            raise TopDownError("E_PATH", what, "rename the file")
        path, source, destination, excluded = [*parts, "", "", ""][:4]
        names = tuple(e for e in excluded.split(",") if e)
        return cls(Path(path), source, destination, names)

    def target(self, name: str) -> str:
        """The model's name for a tensor of the file.

        Args:
            name: Of a tensor in the file.

        Returns:
            Its name in the model; "" where it is left out.

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
