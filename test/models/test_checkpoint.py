"""Weights as files: what they hold, with torch and without, and what is refused."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from canary import watched
from toys import rnn_weights, write_experiment

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import sha256
from espnet_topdown.models import weights as by_torch
from espnet_topdown.models.checkpoint import read_header, tied_names
from espnet_topdown.models.weights import (
    check_keys,
    differing,
    header_of,
    load_weights,
    read_checkpoint,
    save_weights,
    to_dtype,
)

FILE = Path("a.pth")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_tied_output() -> dict:
    model = torch.nn.ModuleDict(
        {"embed": torch.nn.Embedding(5, 3), "norm": torch.nn.BatchNorm1d(3)}
    )
    model["out"] = torch.nn.Linear(3, 5)
    model["out"].weight = model["embed"].weight
    return model.state_dict()  # an OrderedDict with versions of the modules


def parts() -> dict:
    whole = torch.arange(24.0).reshape(4, 6)
    halves = {"a": whole[:2], "b": whole[2:], "again": whole[:2]}
    return {**halves, "t": whole.t(), "one": whole[0, 0], "none": whole[:0]}


TYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()
PLAIN, NAN = rnn_weights(), float("nan")
STATES = {  # and which names share a tensor
    "plain": (PLAIN, {}),
    "tied": (with_tied_output(), {"out.weight": "embed.weight"}),
    "views": (parts(), {"again": "a"}),
    "types": ({t: torch.ones(2, dtype=getattr(torch, t)) for t in TYPES}, {}),
    "parameter": ({"w": torch.nn.Parameter(torch.zeros(2, 3).t())}, {}),
    "parallel": ({f"module.{n}": t for n, t in PLAIN.items()}, {}),
    "new type": ({"w": torch.zeros(2, dtype=torch.uint16)}, {}),
    "complex": ({"w": torch.zeros(2, dtype=torch.complex64)}, {}),
    "a value that no tensor has": ({"w": torch.tensor([NAN, 1.0])[1:]}, {}),
}
BY_TORCH = ("new type", "complex", "a value that no tensor has")  # it alone can judge


@pytest.mark.parametrize("case", STATES)
def test_as_torch_reads_it(case, monkeypatch):
    state, ties = STATES[case]
    torch.save(state, FILE)
    want = header_of(load_weights(FILE))
    if case not in BY_TORCH:
        monkeypatch.setattr(by_torch, "load_weights", None)  # not called
    have = read_header(FILE)
    assert list(have) == list(want)
    for name, info in have.items():
        other = want[name]
        assert (info.dtype, info.shape) == (other.dtype, other.shape)
        assert (info.stride, info.numel) == (other.stride, other.numel)
    assert tied_names(have) == tied_names(want) == ties


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("canary"),)


def repacked(data: bytes) -> None:
    """A good archive with another pickle."""
    torch.save({"w": torch.zeros(2)}, buffer := io.BytesIO())
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(FILE, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name.endswith("data.pkl") else old.read(name))


def tensor(size: bytes, storage: bytes = b"0", numel: bytes = b"\x02") -> bytes:
    """A pickle of one tensor w of that size."""
    shown = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"
    )
    shown += b"X\x01\0\0\0" + storage + b"X\x03\0\0\0cpuK" + numel + b"tQK\0" + size
    shown += b"K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}X\x01\0\0\0w" + shown + b"s."


def saved(state: object) -> None:
    torch.save(state, FILE)


def written(data: bytes) -> None:
    FILE.write_bytes(data)


torch.save(PLAIN, buffer := io.BytesIO())
GOOD = buffer.getvalue()


def flipped(data: bytes) -> bytes:
    """One bit of an exponent: torch.load would accept it."""
    at = data.index(PLAIN["ctc.ctc_lo.bias"].numpy().tobytes()) + 3
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def packed(data: bytes) -> bytes:
    """What is stored, as if it were packed, by the directory's first entry."""
    at = data.index(b"PK\x01\x02") + 10
    return data[:at] + b"\x08\0" + data[at + 2 :]


STATE = b"ccollections\nOrderedDict\n)R}X\x01\0\0\0acos\nsystem\nsb."
NO_ARGUMENTS = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n)Rs."
SCRIPT = torch.jit.script(torch.nn.ReLU()).save_to_buffer()
TRAINER = {"model": {"w": torch.zeros(1)}, "optimizers": [{}]}
INFINITY = torch.tensor([float("inf")], dtype=torch.bfloat16)
BROKEN = {
    "code": (saved, {"w": torch.zeros(1), "x": Evil()}, "E_CKPT_UNSAFE"),
    "code alone": (repacked, pickle.dumps(Evil(), 2), "E_CKPT_UNSAFE"),
    "code, protocol 4": (repacked, pickle.dumps(Evil(), 4), "E_CKPT_UNSAFE"),
    "code, an old opcode": (repacked, b"(S'x'\nios\nsystem\n.", "E_CKPT_UNSAFE"),
    "code in a state": (repacked, STATE, "E_CKPT_UNSAFE"),
    "a memo of 16 GiB": (repacked, b"\x80\x02}r\xff\xff\xff\x7f.", "E_CKPT_KEYS"),
    "a size below zero": (repacked, tensor(b"J\xff\xff\xff\xff\x85"), "E_CKPT"),
    "more than there is": (repacked, tensor(b"K\x03\x85"), "E_CKPT_UNSAFE"),
    "no storage": (repacked, tensor(b"K\x02\x85", storage=b"1"), "E_CKPT_UNSAFE"),
    "too few arguments": (repacked, NO_ARGUMENTS, "E_CKPT_UNSAFE"),
    "no end": (repacked, b"\x80\x02}", "E_CKPT_UNSAFE"),
    "text for a pickle": (repacked, b"not a pickle", "E_CKPT_UNSAFE"),
    "nothing": (saved, {}, "E_CKPT_KEYS"),
    "a list": (saved, [torch.zeros(1)], "E_CKPT_KEYS"),
    "a tensor": (saved, torch.zeros(1), "E_CKPT_KEYS"),
    "numbers": (saved, {"a": 1}, "E_CKPT_KEYS"),
    "numbered": (saved, {1: torch.zeros(1)}, "E_CKPT_KEYS"),
    "a trainer's state": (saved, TRAINER, "E_CKPT_KEYS"),
    "NaN": (saved, {"w": torch.tensor([1.0, NAN])}, "E_CKPT_NONFINITE"),
    "infinity in half precision": (saved, {"w": INFINITY}, "E_CKPT_NONFINITE"),
    "no archive": (written, pickle.dumps(Evil()), "E_CKPT_UNSAFE"),
    "TorchScript": (written, SCRIPT, "E_CKPT_UNSAFE"),
    "an empty archive": (written, b"PK\5\6" + bytes(18), "E_CKPT"),
    "0 bytes": (written, b"", "E_CKPT_EMPTY"),
    "1 byte": (written, GOOD[:1], "E_CKPT_UNSAFE"),
    "30 bytes": (written, GOOD[:30], "E_CKPT_TRUNCATED"),
    "500 bytes": (written, GOOD[:500], "E_CKPT_TRUNCATED"),
    "all but one byte": (written, GOOD[:-1], "E_CKPT_TRUNCATED"),
    "one flipped bit": (written, flipped(GOOD), "E_DIGEST"),
    "as if packed": (written, packed(GOOD), "E_DIGEST: .*a.pth is damaged"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_refused_in_the_same_words_and_never_run(case, folder):
    write, content, code = BROKEN[case]
    write(content)
    with watched(folder):
        with pytest.raises(TopDownError, match=code) as have:
            read_header(FILE)
        with pytest.raises(TopDownError) as want:
            load_weights(FILE)
        if write is written or case.startswith("code"):
            with pytest.raises(TopDownError, match=code):
                read_checkpoint(FILE)
    assert (str(have.value), have.value.status) == (str(want.value), 65)
    assert not Path("canary").exists()


def test_what_is_tied_stays_tied_in_another_precision():
    one = torch.ones(2, 3, dtype=torch.float16)
    state = {"embed": one, "out": one, "count": torch.tensor(1)}
    taken = to_dtype(state, "float32", FILE)
    assert [t.dtype for t in taken.values()] == [torch.float32] * 2 + [torch.int64]
    assert tied_names(header_of(taken)) == {"out": "embed"}


def test_what_is_written_is_read():
    assert save_weights(rnn_weights(), FILE) == sha256(FILE)
    assert differing(load_weights(FILE), rnn_weights(), rnn_weights()) == []
    write_experiment(Path("e"), rnn_weights(), epochs=2)
    state = read_checkpoint(Path("e/checkpoint.pth"))
    assert state["reporter"]["stats"][2]["valid"]["loss"] == 5.0
    check_keys(["a", "b"], ["b", "a"], FILE)
    with pytest.raises(TopDownError, match=r"1 missing \(ab.*1 unexpected \(ac"):
        check_keys(["ac"], ["ab"], FILE)


def test_differing_compares_bits():
    a = {"x": torch.tensor([0.0, float("nan")]), "y": torch.tensor([1])}
    assert differing(a, {k: v.clone() for k, v in a.items()}, a) == []
    minus_zero = {**a, "x": torch.tensor([-0.0, float("nan")])}
    assert differing(a, minus_zero, a) == ["x"]
    assert differing(a, {**a, "y": torch.tensor([1.0])}, a) == ["y"]


WITHOUT_TORCH = """
import sys
for name in ("torch", "espnet", "espnet2"):
    sys.modules[name] = None
from espnet_topdown.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("words", [["layers"], ["plan", "--freeze", "softmax"]])
def test_commands_that_look_need_no_torch(toy_experiment, words):
    call = [sys.executable, "-c", WITHOUT_TORCH, *words, str(toy_experiment)]
    shown = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    assert "blstm1" in shown.stdout
