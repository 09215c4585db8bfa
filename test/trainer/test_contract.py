"""Freezing and initial weights: what is refused before epoch 1, and the table."""

from __future__ import annotations

import os

import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer import contract


class Model(torch.nn.Module):
    """12 blocks, as a Transformer has, and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Module()
        self.encoder.blocks = torch.nn.ModuleList(
            torch.nn.Linear(2, 2) for _ in range(12)
        )
        self.ctc = torch.nn.Module()
        self.ctc.ctc_lo = torch.nn.Linear(2, 3)


def frozen(patterns):
    """As ESPnet freezes: a name or whole parts of it."""
    model = Model()
    for name, p in model.named_parameters():
        hit = any(name == t or name.startswith(t + ".") for t in patterns)
        p.requires_grad = not hit
    return model


@pytest.mark.parametrize(
    "patterns, code, hint",
    [
        (["ctc.ctc_l0"], "E_FREEZE_NOMATCH", "ctc.ctc_lo"),
        (["ctc.ctc_lo."], "E_FREEZE_NOMATCH", "ctc.ctc_lo"),
        (["encoder.*"], "E_FREEZE_NOMATCH", "encoder"),
        (["ctc", "encoder.block"], "E_FREEZE_NOMATCH", "encoder.blocks"),
        (["ctc", "encoder"], "E_FREEZE_ALL", "nothing left"),
    ],
)
def test_freezing_refused(patterns, code, hint):
    with pytest.raises(TopDownError, match=f"{code}.*{hint}") as e:
        contract.check_freeze(patterns, frozen(patterns))
    assert e.value.status == 78


@pytest.mark.parametrize("patterns", [[], ["ctc"], ["encoder.blocks.1"]])
def test_freezing_accepted(patterns):
    contract.check_freeze(patterns, frozen(patterns))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "1epoch.pth"
    torch.save(Model().state_dict(), path)
    return path


@pytest.mark.parametrize(
    "suffix, names",
    [
        ("", 26),
        (":ctc:ctc", 2),
        (":ctc.ctc_lo:ctc.ctc_lo", 2),
        ("::", 26),
        (":::encoder", 2),
        (":::encoder.blocks.1.", 24),
        (":::encoder,ctc.ctc_lo.bias", 1),
    ],
)
def test_initial_weights_accepted(file, suffix, names):
    assert len(contract.check_init(f"{file}{suffix}", Model(), False)) == names


@pytest.mark.parametrize(
    "suffix, code, hint",
    [
        (":ctcc:ctc", "E_INIT_EMPTY", "ctc, encoder"),
        (":ctc:encoder", "E_INIT_EMPTY", "encoder"),
        (":::encodr", "E_INIT_EMPTY", "nearest: encoder"),
        (":::encoder.blocks.1", "E_PREFIX_AMBIGUOUS", "1, 10, 11"),
        ("::ctc", "E_INIT_EMPTY", "ctc"),
        (":a:b:c:d", "E_PATH", "':'"),
    ],
)
def test_initial_weights_refused(file, suffix, code, hint):
    with pytest.raises(TopDownError, match=f"{code}.*{hint}"):
        contract.check_init(f"{file}{suffix}", Model(), False)


def test_other_sizes_and_names(tmp_path):
    state = Model().state_dict()
    state["ctc.ctc_lo.bias"] = torch.zeros(9)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(TopDownError, match=r"E_CKPT_KEYS.*bias is \(9,\).*\(3,\)"):
        contract.check_init(str(tmp_path / "a.pth"), Model(), False)
    state["ctc.ctc_l0.bias"] = state.pop("ctc.ctc_lo.bias")
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(TopDownError, match="E_CKPT_KEYS.*no ctc.ctc_l0.bias"):
        contract.check_init(str(tmp_path / "a.pth"), Model(), False)
    contract.check_init(str(tmp_path / "a.pth"), Model(), True)


def test_nothing_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'canary'}",))

    torch.save({"ctc": Evil()}, tmp_path / "a.pth")
    with pytest.raises(TopDownError, match="E_CKPT_UNSAFE"):
        contract.check_init(str(tmp_path / "a.pth"), Model(), False)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "change, code",
    [
        (lambda p: p.unlink(), "E_CKPT_MISSING"),
        (lambda p: p.write_bytes(b""), "E_CKPT_EMPTY"),
        (lambda p: p.write_bytes(p.read_bytes()[:-50]), "E_CKPT_TRUNCATED"),
        (
            lambda p: torch.save({"a": torch.tensor(float("nan"))}, p),
            "E_CKPT_NONFINITE",
        ),
    ],
)
def test_damaged_files(file, change, code):
    change(file)
    with pytest.raises(TopDownError, match=code):
        contract.check_init(str(file), Model(), False)


def test_table():
    model = frozen(["ctc"])
    text = contract.table(
        model, {"ctc.ctc_lo.weight": "a.pth", "ctc.ctc_lo.bias": "a.pth"}
    )
    rows = [line.split() for line in text.splitlines()]
    assert ["ctc.ctc_lo", "9", "frozen", "a.pth"] in rows
    assert ["encoder.blocks.11", "6", "trained", "new"] in rows
    assert rows[-1] == ["trained", "72", "of", "81"]
    short = contract.table(model, {}, most=3).splitlines()
    assert len(short) == 4
