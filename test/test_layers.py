from __future__ import annotations

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.models.layers import generic_stack, load_stack, shipped, stack_for

SOFTMAX = ["ctc.ctc_lo.weight", "ctc.ctc_lo.bias"]


def blstm(i, enc=0):
    lstm = [f"encoder.enc.{enc}.birnn{i}.weight_ih_l0{d}" for d in ("", "_reverse")]
    return [*lstm, f"encoder.enc.{enc}.bt{i}.weight"]


def write(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_ctc_model_has_the_papers_five_layers():
    names = ["frontend.logmel.melmat", *sum(map(blstm, range(4)), []), *SOFTMAX]
    stack = load_stack("asr_rnn").bind(names)
    assert stack.names == ("softmax", "blstm3", "blstm2", "blstm1", "blstm0")
    assert stack.groups[0].params == tuple(SOFTMAX)
    assert stack.groups[2].params == tuple(blstm(2))
    assert stack.ignored == ("frontend.logmel.melmat",)


def test_two_digit_numbers_are_numbers():
    names = [*sum(map(blstm, range(12)), []), *SOFTMAX]
    stack = load_stack("asr_rnn").bind(names)
    assert stack.names[1:4] == ("blstm11", "blstm10", "blstm9")
    assert len(stack.named(["blstm1"])[0].params) == 3


@pytest.mark.parametrize(
    "extra, message",
    [
        (["adapter.weight"], "1 parameters are in no layer, e.g. adapter.weight"),
        (["encoder.enc.1.conv"], "e.g. encoder.enc.1.conv"),
    ],
)
def test_what_no_layer_takes_is_an_error(extra, message):
    with pytest.raises(TopDownError, match="E_STACK") as e:
        load_stack("asr_rnn").bind([*blstm(0), *SOFTMAX, *extra])
    assert message in str(e.value)


def test_a_layer_that_matches_nothing_is_an_error():
    with pytest.raises(TopDownError, match=r"layer blstm\{i\} matches no parameter"):
        load_stack("asr_rnn").bind(SOFTMAX)


def test_a_name_in_two_layers_is_an_error(tmp_path):
    path = write(
        tmp_path, "layers:\n- {name: a, params: [ctc]}\n- {name: b, params: [ctc]}\n"
    )
    with pytest.raises(TopDownError, match="is in two layers, a and b"):
        load_stack(path).bind(SOFTMAX)


@pytest.mark.parametrize(
    "text, message",
    [
        ("layers: []", "'layers' must be a list"),
        ("layers: [{name: a}]", "a layer needs 'name' and 'params'"),
        ("layers: [{name: a, params: [b], frieze: 1}]", "unknown key 'frieze'"),
        ("layers: [{name: 'a{i}', params: [b]}]", "'b' has no {i}, as its layer's"),
        ("layer: []", "unknown key 'layer' .nearest: layers"),
        ("layers: [{name: a, params: ['(']}]", "missing \\)"),
        ("layers: [{name: a, params: [b]}]\nlayers: 1", "E_YAML_DUP.*lines 1 and 2"),
    ],
)
def test_malformed_stack_files(tmp_path, text, message):
    with pytest.raises(TopDownError, match=message):
        load_stack(write(tmp_path, text))


def test_a_scalar_is_read_as_a_list_of_one(tmp_path, caplog):
    path = write(
        tmp_path, "layers:\n- {name: a, params: ctc}\n- {name: b, params: enc}"
    )
    stack = load_stack(path).bind([*SOFTMAX, "encoder.w"])
    assert stack.groups[0].params == tuple(SOFTMAX)
    assert "W_SCALAR_LIST" in caplog.text


@pytest.mark.parametrize(
    "frozen, code",
    [
        (["softmaks"], "E_FREEZE_NOMATCH.*nearest: softmax"),
        (["softmax", "blstm1", "blstm0"], "E_FREEZE_ALL"),
        (["blstm0"], "E_FREEZE_ORDER.*blstm0 is frozen but softmax above it is not"),
        (["softmax", "blstm0"], "E_FREEZE_ORDER.*blstm1"),
    ],
)
def test_what_may_not_be_frozen(frozen, code):
    stack = load_stack("asr_rnn").bind([*blstm(0), *blstm(1), *SOFTMAX])
    with pytest.raises(TopDownError, match=code):
        stack.check_frozen(frozen)


def test_what_may_be_frozen():
    stack = load_stack("asr_rnn").bind([*blstm(0), *blstm(1), *SOFTMAX])
    for frozen in ([], ["softmax"], ["blstm1", "softmax"]):
        stack.check_frozen(frozen)
    stack.check_frozen(["blstm0"], any_order=True)


def test_unknown_stack_names_the_shipped_ones():
    with pytest.raises(TopDownError, match="nearest: asr_rnn"):
        load_stack("asr_rn")


def test_no_stack_fits():
    with pytest.raises(TopDownError, match="no shipped stack fits encoder 'whisper'"):
        stack_for({"encoder": "whisper"})


def test_the_generic_stack_of_a_recurrent_decoder():
    """Its output belongs to the softmax layer, the rest of it is one layer."""
    decoder = ["decoder.embed.weight", "decoder.output.weight"]
    names = [*decoder, *blstm(0), *blstm(1), "ctc.ctc_lo.weight"]
    stack = generic_stack(names).bind(names)
    assert stack.names[:2] == ("softmax", "decoder")
    assert stack.groups[1].params == ("decoder.embed.weight",)


def test_every_shipped_stack_reads():
    for name in shipped():
        spec = load_stack(name)
        chosen_by_name = name.startswith("coarse_")
        assert spec.about and bool(spec.fits) != chosen_by_name
