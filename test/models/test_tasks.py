"""Kinds of models are told apart; those that we do not train are refused by name."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_topdown.cli.main import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_yaml, write_yaml
from espnet_topdown.models.tasks import kind_of

REPOSITORY = Path(__file__).parents[2]


NO_ASR = {"specaug": None, "ctc_conf": {}, "transcript_token_list": None}
S2T = "# python3 -m espnet2.bin.s2t_train --use_preprocessor true"
ST = "# Running on a\n# Started\n# python espnet2/bin/st_train.py"


@pytest.mark.parametrize(
    "changes, log, message",
    [
        ({"extra_asr_decoder": None}, "", r"E_KIND.*\(ST\)"),
        ({"preprocessor": "s2t"}, "", r"E_KIND.*OWSM"),
        ({"src_token_list": None}, "", r"E_KIND.*\(MT\)"),
        ({"tts": "x"}, "", r"E_KIND.*\(TTS\)"),
        ({"separator": "x", "encoder": "conv"}, "", r"E_KIND.*\(ENH\)"),
        ({"transcript_token_list": ["a"]}, "", r"E_KIND.*\(SLU\)"),
        ({"specaug": None}, "", r"E_KIND.*\(CLS\)"),
        ({"lm": "seq_rnn", "model": "lm_multitask"}, "", r"E_KIND.*'lm_multitask'"),
        ({"model": "pit_espnet"}, "", "E_KIND.*'pit_espnet'"),
        ({"decoder": "linear_decoder"}, "", r"E_KIND.*\(CLS\)"),
        ({"model": "maskctc"}, "", ""),
        ({}, S2T, "E_KIND.*s2t_train"),
        ({}, ST, "E_KIND.*st_train"),
        ({"use_adapter": True, "adapter": "lora"}, "", "E_PARTIAL.*use_adapter: lora"),
        ({"use_lora": True, "lora_conf": {"rank": 2}}, "", "E_PARTIAL.*use_lora"),
        ({"save_strategy": "required_grad_only"}, "", "E_PARTIAL.*required_grad_only"),
        ({"encoder": "transfomer"}, "", "E_STACK.*nearest: transformer"),
        (NO_ASR, "", ""),
        ({"preprocessor": "default", "joint_net_conf": None}, "", ""),
        ({"save_strategy": "all", "use_adapter": False}, "", ""),
        ({}, "# python3 -m espnet2.bin.asr_train --config asr.yaml", ""),
        ({}, "# python3 -m espnet_topdown.bin.asr_train", ""),
        ({}, "# python3 -m espnet2.bin.slu_train", ""),
        ({}, "# python3 -m my.train", ""),
    ],
)
def test_what_kind_of_model(toy_experiment, capsys, changes, log, message):
    """Refused by name, by the first command that looks at it."""
    pytest.importorskip("espnet2")
    config = read_yaml(toy_experiment / "config.yaml")
    write_yaml(toy_experiment / "config.yaml", {**config, **changes})
    if log:
        (toy_experiment / "train.log").write_text(f"{log}\n[host] INFO: 5\n")
    if not message:
        main(["layers", str(toy_experiment)])
        return
    with pytest.raises(SystemExit, match="78"):
        main(["layers", str(toy_experiment)])
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.nightly
def test_each_training_command_of_espnet_has_a_kind():
    """By the keys of its own defaults: whatever is not named is refused."""
    espnet2 = pytest.importorskip("espnet2")
    kinds = {"asr_train": "asr", "slu_train": "asr", "lm_train": "sentence_lm"}
    for path in sorted((Path(espnet2.__file__).parent / "bin").glob("*_train.py")):
        try:
            parser = importlib.import_module(f"espnet2.bin.{path.stem}").get_parser()
            config = vars(parser.parse_args(["--output_dir", "x"]))
        except (ImportError, SystemExit):  # it needs a package, or more options
            continue
        try:
            assert kind_of(config) == kinds.pop(path.stem), path
        except TopDownError as e:
            assert e.code == "E_KIND" and path.stem not in kinds
    assert not kinds
    with pytest.raises(TopDownError, match="E_KIND.*no encoder"):
        kind_of({"optim": "adam"})


ASK = """
{first}
from typeguard import typechecked
@typechecked
def f(x: int) -> int:
    return x
@typechecked(forward_ref_policy=None)
def g(x: int) -> int:
    return x
try:
    print(f("text"), g("text"))
except Exception as e:
    print(type(e).__name__)
"""


OURS = "import espnet_topdown.trainer"
OPTIONS = """
from espnet_topdown.models.experiment import known_options as known
print("encoder" in known("espnet_topdown.bin.asr_train"))
"""


@pytest.mark.espnet
@pytest.mark.parametrize(
    "script, answer",
    [
        (ASK.format(first=""), "TypeCheckError\n"),
        (ASK.format(first=OURS), "text text\n"),
        (OPTIONS, "True\n"),
    ],
    ids=["typeguard", "ours", "options"],
)
def test_type_checks_are_left_out_where_espnet_is_ours(script, answer, tmp_path):
    """And its imports print nothing, as options are asked for during a search."""
    pytest.importorskip("typeguard")
    file = tmp_path / "ask.py"  # typeguard needs the source
    file.write_text(script)
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    call = [sys.executable, file]
    done = subprocess.run(call, env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (answer, "")
