"""A stack file, or a base, that is not what it should be: what the user is told."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tones import tiny_config, write_corpus
from toys import rnn_weights, write_experiment

from espnet_topdown.bin.main import main
from espnet_topdown.cli.fsck import fsck
from espnet_topdown.files import read_json, write_yaml
from espnet_topdown.jobs.prepare import prepare
from espnet_topdown.jobs.spec import spec_by_hand
from espnet_topdown.jobs.verify import verify
from espnet_topdown.models.weights import load_weights
from espnet_topdown.records import Journal

pytestmark = pytest.mark.espnet
EXP = Path("exp/joint")
OUT = r"- {name: out, params: ['ctc\.']}"
HIGH = r"- {name: high, params: ['encoder\.enc\.0\.\w+1\.']}"
LOW = r"- {name: low, params: ['encoder\.enc\.0\.\w+0\.']}"
LAYERS = [OUT, HIGH, LOW]


def stack(*layers: str) -> str:
    return "\n".join(["layers:", *layers]) + "\n"


def said(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Status and messages of a command."""
    status = 0
    try:
        main([str(w) for w in words])
    except SystemExit as e:
        status = int(e.code or 0)
    return status, "".join(capfd.readouterr())


COMMANDS = {
    "layers": (EXP,),
    "plan": (EXP, "--freeze", "out"),
    "retrain": (EXP, "exp/out", "--freeze", "out"),
    "search": (EXP, "exp/out"),
}


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize(
    "text, status, message",
    [
        (stack(*LAYERS, "- {name: x, params: [y]}"), 78, "x matches no parameter"),
        (stack(*LAYERS, r"- {name: x, params: ['ctc\.']}"), 78, "in two layers, out"),
        (stack(OUT, HIGH), 78, r"in no layer, e.g. encoder\.enc\.0\.birnn0"),
        (stack(OUT, HIGH, "- {params: [x]}"), 78, "a layer needs 'name' and 'params'"),
        (stack(OUT, "- {name: x, params: ['(']}"), 78, r"x.params: '\('"),
        ("layers: [", 78, "E_YAML.*mine.yaml"),
        ("- a list\n", 78, "mine.yaml"),
        ("", 78, "mine.yaml"),
        (None, 66, "no stack 'mine.yaml'.*path of a .yaml file"),
    ],
)
def test_a_stack_file_that_is_wrong(toy_experiment, capfd, verb, text, status, message):
    """Each command says so, and nothing is written."""
    if text is not None:
        Path("mine.yaml").write_text(text)
    had = {*Path().rglob("*")}
    found, shown = said(capfd, verb, *COMMANDS[verb], "--stack", "mine.yaml")
    assert (found, "Traceback" in shown) == (status, False), shown
    assert re.search(message, shown, re.DOTALL), shown
    assert {*Path().rglob("*")} == had


@pytest.mark.parametrize("verb", ["layers", "plan"])
def test_a_stack_that_leaves_out_what_is_trained(toy_experiment, capfd, verb):
    """Shown; what builds the model refuses it."""
    Path("mine.yaml").write_text(
        stack(OUT, HIGH) + "ignore: ['encoder.enc.0.[a-z]+0']\n"
    )
    status, shown = said(capfd, verb, *COMMANDS[verb], "--stack", "mine.yaml")
    assert status == 0
    assert re.search(r"2 tensors are in no layer .*encoder\.enc\.0\.birnn0", shown)


def parallel(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"module.{n}": t for n, t in weights.items()}


def of_type(dtype: torch.dtype):  # type: ignore[no-untyped-def]
    return lambda weights: {n: t.to(dtype) for n, t in weights.items()}


@pytest.mark.parametrize("verb", ["layers", "plan"])
@pytest.mark.parametrize(
    "change, message",
    [
        (parallel, "W_PREFIX.*module"),
        (of_type(torch.float16), "W_PRECISION.*float16.*converted to float32"),
        (of_type(torch.bfloat16), "W_PRECISION.*bfloat16.*converted to float32"),
        (of_type(torch.float64), "W_PRECISION.*float64.*converted to float32"),
    ],
)
def test_weights_in_another_form(toy_experiment, capfd, caplog, verb, change, message):
    """Taken, and said; what a job loads has the names and the type of the model."""
    exp = write_experiment(Path("exp/other"), change(rnn_weights()))
    words = {"layers": (), "plan": ("--freeze", "softmax")}[verb]
    status, shown = said(capfd, verb, exp, *words)
    assert status == 0 and "blstm0" in shown
    assert re.search(message, caplog.text + shown, re.DOTALL)
    prepare(spec_by_hand(exp, "softmax"), Path("exp/job"))
    tensors = load_weights(Path("exp/job/frozen.pth"))
    assert set(tensors) == {"ctc.ctc_lo.weight", "ctc.ctc_lo.bias"}
    assert {t.dtype for t in tensors.values()} == {torch.float32}


@pytest.mark.nightly
def test_a_search_with_a_stack_file_is_killed_and_its_file_moved(
    tmp_path, monkeypatch, capfd
):
    """Everything is real; SIGKILL comes in the middle of the first retraining."""
    monkeypatch.chdir(tmp_path)
    from espnet_topdown.bin.asr_train import main as train

    write_yaml(Path("joint.yaml"), tiny_config(write_corpus(tmp_path / "tones")))
    train(["--config", "joint.yaml", "--output_dir", str(EXP)])
    out, file = Path("exp/search"), Path("mine.yaml")
    file.write_text(stack(*LAYERS))
    asked = ["search", str(EXP), str(out), "--stack", str(file), "--max_epoch", "9"]
    command = [sys.executable, "-m", "espnet_topdown", *asked]
    search = subprocess.Popen(command)
    while not (out / "m1.2" / "checkpoint.pth").exists():
        assert search.poll() is None
        time.sleep(0.05)
    search.kill()
    assert search.wait() == -signal.SIGKILL
    assert not (out / "m1.2" / ".done").exists()
    file.rename("elsewhere.yaml")

    assert subprocess.run(command).returncode == 0
    events = [e["event"] for e in Journal(out / "journal.jsonl").events()]
    assert "search_continued" in events
    trained = [n for n in read_json(out / "result.json")["nodes"] if n != "m3"]
    assert "m1.2" in trained
    for name in trained:
        assert verify(out / name)
        assert (out / name / "stack.yaml").read_text() == stack(*LAYERS)
    assert fsck(out).problems == []
    assert said(capfd, "status", out)[0] == 0
    assert said(capfd, "report", out)[0] == 0
    assert "high" in (out / "report.html").read_text()
    file.write_text(stack(*LAYERS) + "# another text\n")
    status, shown = said(capfd, *asked)
    assert status == 78 and "E_CONFIG_CHANGED" in shown and "stack_sha256" in shown
