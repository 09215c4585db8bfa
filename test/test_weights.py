from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from toys import rnn_weights, write_experiment

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import link, sha256
from espnet_topdown.models.checkpoint import tied_names
from espnet_topdown.models.weights import (
    as_type,
    check_keys,
    differing,
    header_of,
    load_weights,
    read_checkpoint,
    save_weights,
)


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return Path.touch, (self.path,)


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.pth"
    save_weights(rnn_weights(), path)
    return path


def test_round_trip(good, tmp_path):
    assert differing(load_weights(good), rnn_weights(), rnn_weights()) == []
    digest = save_weights(rnn_weights(), tmp_path / "again.pth")
    assert digest == sha256(tmp_path / "again.pth")


@pytest.mark.parametrize("keep", [0, 1, 30, 500, -1])
def test_cut_off_files(good, keep):
    data = good.read_bytes()
    good.write_bytes(data[:keep])
    with pytest.raises(TopDownError) as e:
        load_weights(good)
    expected = {0: "E_CKPT_EMPTY", 1: "E_CKPT_UNSAFE"}.get(keep, "E_CKPT_TRUNCATED")
    assert e.value.code == expected
    assert e.value.status == 65
    assert "unsafe" not in str(e.value).lower() or keep == 1


def test_one_flipped_bit_is_noticed(good):
    data = bytearray(good.read_bytes())
    value = rnn_weights()["ctc.ctc_lo.bias"].numpy().tobytes()
    data[data.index(value) + 3] ^= 0x40  # an exponent bit: torch.load would accept it
    good.write_bytes(data)
    for load in (load_weights, read_checkpoint):
        with pytest.raises(TopDownError, match="E_DIGEST"):
            load(good)


def test_what_is_stored_as_if_it_were_packed(good):
    data = good.read_bytes()
    at = data.index(b"PK\x01\x02") + 10  # the directory's first entry: how it is packed
    good.write_bytes(data[:at] + b"\x08\0" + data[at + 2 :])
    with pytest.raises(TopDownError, match="E_DIGEST: .*good.pth is damaged"):
        load_weights(good)


@pytest.mark.parametrize("bare", [True, False])
def test_code_in_a_checkpoint_is_never_executed(tmp_path, bare):
    canary, path = tmp_path / "canary", tmp_path / "evil.pth"
    if bare:
        path.write_bytes(pickle.dumps(Canary(canary)))
    else:
        torch.save({"w": torch.zeros(1), "x": Canary(canary)}, path)
    for load in (load_weights, read_checkpoint):
        with pytest.raises(TopDownError, match="E_CKPT_UNSAFE"):
            load(path)
    assert not canary.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_refused(tmp_path, value):
    weights = rnn_weights()
    weights["ctc.ctc_lo.bias"][1, 1] = value
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(TopDownError, match="E_CKPT_NONFINITE.*ctc_lo.bias: 1 of 6"):
        load_weights(tmp_path / "a.pth")


def test_what_is_tied_stays_tied_in_another_precision(tmp_path):
    one = torch.ones(2, 3, dtype=torch.float16)
    state = {"embed": one, "out": one, "count": torch.tensor(1)}
    found = as_type(state, "float32", tmp_path / "a.pth")
    assert [t.dtype for t in found.values()] == [torch.float32] * 2 + [torch.int64]
    assert tied_names(header_of(found)) == {"out": "embed"}


@pytest.mark.parametrize("state", [{}, [torch.zeros(1)], {"a": 1}, {"a": {"b": 2}}])
def test_anything_but_named_tensors(tmp_path, state):
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(TopDownError, match="E_CKPT_KEYS"):
        load_weights(tmp_path / "a.pth")


def test_keys_must_be_exactly_the_models():
    check_keys(["a", "b"], ["b", "a"], Path("x"))
    with pytest.raises(TopDownError, match=r"1 missing \(ab.*1 unexpected \(ac"):
        check_keys(["ac"], ["ab"], Path("x"))


def test_differing_compares_bits():
    a = {"x": torch.tensor([0.0, float("nan")]), "y": torch.tensor([1])}
    assert differing(a, {k: v.clone() for k, v in a.items()}, a) == []
    minus_zero = {**a, "x": torch.tensor([-0.0, float("nan")])}
    assert differing(a, minus_zero, a) == ["x"]
    assert differing(a, {**a, "y": torch.tensor([1.0])}, a) == ["y"]


def test_link_replaces_a_link(tmp_path):
    (tmp_path / "best").symlink_to("m5")
    link("m1.4", tmp_path / "best")
    assert str((tmp_path / "best").readlink()) == "m1.4"


def test_reporter_of_a_checkpoint(tmp_path):
    write_experiment(tmp_path / "e", rnn_weights(), epochs=2)
    state = read_checkpoint(tmp_path / "e" / "checkpoint.pth")
    assert state["reporter"]["stats"][2]["valid"]["loss"] == 5.0
