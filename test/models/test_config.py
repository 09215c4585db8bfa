"""Every key of a config that we read, with what people leave in it.

A command answers each with success or with one line that names the file and the key.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

from espnet_topdown.cli.main import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.jobs.check import check_asr_data, check_trained
from espnet_topdown.models.config import (
    KEYS,
    RECORDS,
    InitParam,
    check_config,
    read_config,
    read_record,
)
from espnet_topdown.models.experiment import Experiment

BASE = Path("exp/joint")
MISSING = object()  # the key is not there
WRONG = [None, "", [], "many", -1, {}, [None], 1.5, True, "1e5", [[]], float("nan")]
# These and every other ``*_conf`` hold options of one part.
CONFS = ["frontend_conf", "model_conf", "encoder_conf", "optim_conf", "scheduler_conf"]
NAMES = [*(name for name in KEYS if "." not in name), *CONFS]
INNER = [name for name in KEYS if "." in name]


def change(key: str, value: object) -> None:
    path = BASE / "config.yaml"
    config = yaml.safe_load(path.read_text())
    part, _, name = key.partition(".")
    config[part] = {**(config.get(part) or {}), name: value} if name else value
    if value is MISSING:
        (config[part] if name else config).pop(name or part)
    path.write_text(yaml.safe_dump(config))


COMMANDS = (["layers", str(BASE)], ["plan", str(BASE), "--freeze", "softmax"])


@pytest.mark.parametrize("key", [*NAMES, *INNER])
def test_any_value_of_any_key(toy_experiment, key, capsys):
    before = (BASE / "config.yaml").read_text()
    for value in [*WRONG, MISSING]:
        change(key, value)
        try:
            for words in COMMANDS:
                main(words)
            check_trained(Experiment(BASE), allow_unfinished=True)
            check_asr_data(Experiment(BASE))
        except (SystemExit, TopDownError) as e:
            by_command = isinstance(e, SystemExit)
            message = capsys.readouterr().err.splitlines()[-1] if by_command else str(e)
            assert message.startswith("E_"), message
            if message.startswith("E_CONFIG_KEY"):
                assert f"{BASE}/config.yaml" in message
                assert key.split(".")[0] in message
        (BASE / "config.yaml").write_text(before)


FINISHED = Path(__file__).parents[1] / "golden" / "finished"


@pytest.mark.parametrize("file, key", [(f, key) for f in RECORDS for key in RECORDS[f]])
def test_any_value_of_what_a_search_wrote(tmp_path, monkeypatch, capsys, file, key):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(FINISHED, "exp", symlinks=True)
    path = Path("exp/search", "m1.2" if file == "retrain.yaml" else ".", file)
    before = yaml.safe_load(path.read_text())  # JSON is YAML
    write = json.dumps if path.suffix == ".json" else yaml.safe_dump
    for value in (*WRONG, MISSING):
        changed = {**before, key: value}
        path.write_text(write({k: v for k, v in changed.items() if v is not MISSING}))
        for verb in ("status", "fsck"):
            with contextlib.suppress(SystemExit):
                main([verb, "exp/search"])
            said = "".join(capsys.readouterr())
            assert "E_INTERNAL" not in said
        if value is not MISSING and not RECORDS[file][key][1](value):
            with pytest.raises(SystemExit, match="78"):
                main(["status", "exp/search"])
            assert f"E_CONFIG_KEY: {path}: {key} is" in capsys.readouterr().err


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_holds_a_list(tmp_path, name):
    (tmp_path / name).write_text("[1, 2]\n")
    message = r"(E_YAML|E_CONFIG_KEY): .*(a list|\[1, 2\])"
    with pytest.raises(TopDownError, match=message):
        read_record(tmp_path / name)


@pytest.mark.parametrize(
    "key, value, allowed",
    [
        ("max_epoch", -1, "a whole number >= 1"),
        ("grad_clip", -1.0, "a number above 0"),
        ("keep_nbest_models", [3, 0], "a whole number >= 1 or a list of them"),
        ("freeze_param", False, "no and off are false"),
        ("init_param", [3], ""),
        ("best_model_criterion", [["dev", "loss", "min"]], "train or valid"),
        ("max_epoch", "many", "a whole number >= 1"),
        ("max_epoch", True, "a whole number >= 1"),
        ("max_epoch", "1e5", "a whole number >= 1"),
        ("best_model_criterion", [], "a list of [train or valid, a name, min or max]"),
        ("best_model_criterion", None, "min or max]"),
        ("best_model_criterion", [["valid", "loss"]], "min or max]"),
        ("token_list", ["<blank>", 1e5], "in quotes"),
        ("token_list", ["<blank>", False], "in quotes"),
        ("token_list", ["<blank>", "A\nB"], "texts of one line"),
        ("token_list", ["<blank>", "\ud800"], "texts of one line"),
        ("token_list", ["<blank>", "\0"], "texts of one line"),
        ("non_linguistic_symbols", ["\ud800"], "a list of symbols"),
        ("bpemodel", "\ud800", "null or a file"),
        ("frontend_conf.fs", "16 kHz", "16000 or 16k"),
        ("frontend_conf.fs", 0, "16000 or 16k"),
        ("encoder_conf", None, "a mapping"),
        ("train_data_path_and_name_and_type", [["a", "b"]], "[file, name, type]"),
        ("patience", -1, "null or a whole number >= 0"),
        ("optim_conf.lr", 0.0, "a number above 0"),
        ("grad_clip", float("inf"), "a number above 0"),
    ],
)
def test_the_message_says_what_is_allowed(toy_experiment, key, value, allowed):
    change(key, value)
    with pytest.raises(TopDownError) as e:
        read_config(BASE / "config.yaml")
    shown = "null" if value is None else repr(value)
    assert e.value.what == f"{BASE}/config.yaml: {key} is {shown}"
    assert e.value.code == "E_CONFIG_KEY" and e.value.status == 78
    assert allowed in e.value.remedy


def test_a_key_that_is_no_name():
    with pytest.raises(TopDownError, match="E_CONFIG_KEY: x: 1 is 2.*keys that are"):
        check_config({1: 2}, "x")
    with pytest.raises(TopDownError, match="E_PATH: ':' in the path of init_param"):
        InitParam.parse("a:b:c:d:e")


def test_what_espnet_writes_is_right():
    """Its defaults, and ``1e-3``: a text in YAML 1.1, and a number all the same."""
    get_parser = pytest.importorskip("espnet2.bin.asr_train").get_parser
    defaults = vars(get_parser().parse_args(["--output_dir", "x"]))
    check_config({**defaults, "optim_conf": {"lr": "1e-3"}, "grad_clip": "5e0"}, "x")
