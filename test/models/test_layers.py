"""Layer stacks: what is frozen, what a wrong stack file is told, how one is kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import rnn_weights, write_experiment

from espnet_topdown.cli.main import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.jobs.prepare import prepare
from espnet_topdown.jobs.spec import spec_by_hand
from espnet_topdown.models.layers import load_stack, shipped, stack_for
from espnet_topdown.models.weights import load_weights

EXP = Path("exp/joint")
SOFTMAX = ["ctc.ctc_lo.weight", "ctc.ctc_lo.bias"]
OUT = r"- {name: out, params: ['ctc\.']}"
HIGH = r"- {name: high, params: ['encoder\.enc\.0\.\w+1\.']}"
LOW = r"- {name: low, params: ['encoder\.enc\.0\.\w+0\.']}"
LAYERS = [OUT, HIGH, LOW]


def stack(*layers: str) -> str:
    return "\n".join(["layers:", *layers]) + "\n"


def blstm(i: int) -> list[str]:
    lstm = [f"encoder.enc.0.birnn{i}.weight_ih_l0{d}" for d in ("", "_reverse")]
    return [*lstm, f"encoder.enc.0.bt{i}.weight"]


@given(st.sets(st.integers(0, 20), min_size=1))
def test_the_papers_layers(numbers):
    """From the top, by number and not by text; a constant is in none of them."""
    names = ["frontend.logmel.melmat", *sum(map(blstm, numbers), []), *SOFTMAX]
    bound = load_stack("asr_rnn").bind(names)
    down = sorted(numbers, reverse=True)
    assert bound.names == ("softmax", *(f"blstm{i}" for i in down))
    assert [g.params for g in bound.groups] == [
        tuple(SOFTMAX),
        *(tuple(blstm(i)) for i in down),
    ]
    assert bound.ignored == ("frontend.logmel.melmat",)
    k = len(numbers)
    bound.check_frozen(bound.names[:k])
    held = bound.hold(blstm(down[0]))
    assert held.n == k and held.held[0].name not in held.names
    with pytest.raises(TopDownError, match="E_FREEZE_NOMATCH.*stays so"):
        held.named([f"blstm{down[0]}"])
    with pytest.raises(TopDownError, match="E_FREEZE_ALL"):
        bound.check_frozen(bound.names)
    left_out = bound.names[k - 1]
    gap = [name for name in bound.names if name != left_out]
    with pytest.raises(TopDownError, match=f"E_FREEZE_ORDER.*{left_out} above it"):
        bound.check_frozen(gap)
    bound.check_frozen(gap, any_order=True)


def test_shipped_stacks():
    for name in shipped():
        spec = load_stack(name)
        chosen_by_name = name.startswith("coarse_")
        assert spec.about and bool(spec.fits) != chosen_by_name
    with pytest.raises(TopDownError, match="E_STACK.*nearest: asr_rnn"):
        load_stack("asr_rn")


def test_the_generic_stack_of_a_recurrent_decoder():
    """Its output belongs to the softmax layer, the rest of it is one layer."""
    decoder = ["decoder.embed.weight", "decoder.output.weight"]
    names = [*decoder, *blstm(0), *blstm(1), "ctc.ctc_lo.weight"]
    bound = stack_for({"encoder": "rnn"}, "generic", lambda: names).bind(names)
    assert bound.names[:2] == ("softmax", "decoder")
    assert bound.groups[1].params == ("decoder.embed.weight",)


def shown_by(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
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
ONE = "layers: [{name: a, params: [b]}]"
UNKNOWN = "- {name: x, params: [y]}"
TWICE = r"- {name: x, params: ['ctc\.']}"
WRONG = [
    (stack(*LAYERS, UNKNOWN), "x matches no parameter"),
    (stack(*LAYERS, TWICE), "in two layers, out"),
    (stack(OUT, HIGH), r"2 parameters are in no layer, e.g. encoder\.enc\.0\.birnn0"),
    (stack(OUT, HIGH, "- {params: [x]}"), "a layer needs 'name' and 'params'"),
    (stack(OUT, "- {name: x, params: ['(']}"), r"x.params: '\('"),
    (stack(OUT, "- {name: x, params: [b], frieze: 1}"), "unknown key 'frieze'"),
    (stack("- {name: 'a{i}', params: [b]}"), "'b' has no {i}, as its layer's"),
    (
        stack(LOW, HIGH, OUT),
        r"ctc\.ctc_lo.* layer out, below low.*near the out",
    ),
    (stack(OUT, HIGH, LOW.replace("low", "high")), "two layers are named 'high'"),
    (stack(OUT, HIGH, LOW.replace("low", "1")), "name 1 is no word"),
    (stack(OUT, HIGH, LOW.replace("low", "'a, b'")), "name 'a, b' is no word"),
    ("task: asrr\n" + stack(*LAYERS), "E_STACK.*'asrr' is unknown .nearest: asr"),
    ("layers: []", "'layers' must be a list"),
    ("layer: []", "unknown key 'layer' .nearest: layers"),
    (f"{ONE}\nlayers: 1", "E_YAML_DUP.*lines 1 and 2"),
    ("layers: [", "E_YAML.*mine.yaml"),
    ("- a list\n", "mine.yaml"),
    ("", "mine.yaml"),
    (None, "no stack 'mine.yaml'.*path of a .yaml file"),
]


@pytest.mark.espnet
@pytest.mark.parametrize("text, message", WRONG)
@pytest.mark.parametrize("verb", COMMANDS)
def test_a_stack_file_that_is_wrong(toy_experiment, capfd, verb, text, message):
    """Each command says so, and nothing is written."""
    if text is not None:
        Path("mine.yaml").write_text(text)
    had = {*Path().rglob("*")}
    status, shown = shown_by(capfd, verb, *COMMANDS[verb], "--stack", "mine.yaml")
    assert status == (66 if text is None else 78) and "Traceback" not in shown
    assert re.search(message, shown, re.DOTALL), shown
    assert {*Path().rglob("*")} == had


IGNORED = r"ignore: ['encoder\.enc\.0\.\w+0']"
SCALAR = "- {name: out, params: ctc}"


@pytest.mark.parametrize("verb", ["layers", "plan"])
@pytest.mark.parametrize(
    "text, message",
    [
        (stack(OUT, HIGH) + IGNORED, r"2 tensors are in no layer .*\.0\.birnn0"),
        (stack(SCALAR, HIGH, LOW), "W_SCALAR_LIST.*out"),
    ],
)
def test_a_stack_file_that_is_taken(toy_experiment, capfd, caplog, verb, text, message):
    """What it leaves out is shown; what builds the model refuses it."""
    Path("mine.yaml").write_text(text)
    status, shown = shown_by(capfd, verb, *COMMANDS[verb], "--stack", "mine.yaml")
    assert status == 0 and re.search(message, caplog.text + shown, re.DOTALL)


FORMS = {"W_PREFIX.*module": {f"module.{n}": t for n, t in rnn_weights().items()}}
for name in ("float16", "bfloat16", "float64"):
    weights = {n: t.to(getattr(torch, name)) for n, t in rnn_weights().items()}
    FORMS[f"W_PRECISION.* {name}: converted to float32"] = weights


@pytest.mark.espnet
@pytest.mark.parametrize("words", [("layers",), ("plan", "--freeze", "softmax")])
@pytest.mark.parametrize("message", FORMS)
def test_weights_in_another_form(toy_experiment, capfd, caplog, words, message):
    """Taken, and said; what a job loads has the names and the type of the model."""
    exp = write_experiment(Path("exp/other"), FORMS[message])
    status, shown = shown_by(capfd, *words, exp)
    assert status == 0 and "blstm0" in shown
    assert re.search(message, caplog.text + shown, re.DOTALL)
    prepare(spec_by_hand(exp, "softmax"), Path("exp/job"))
    tensors = load_weights(Path("exp/job/frozen.pth"))
    assert set(tensors) == {*SOFTMAX}
    assert {t.dtype for t in tensors.values()} == {torch.float32}
