from __future__ import annotations

import errno
import os

import pytest

from espnet_topdown import files as yaml_io
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json, read_yaml, write_bytes, write_yaml


@pytest.mark.parametrize(
    "text, data",
    [
        (
            "lr: 1e-3\nt: [1e5, 7e7, 1.0e5]",
            {"lr": "1e-3", "t": ["1e5", "7e7", "1.0e5"]},
        ),
        ("lr: 1.0e-3\nn: 5", {"lr": 0.001, "n": 5}),
        ("\ufeffa: b", {"a": "b"}),
        ("a: {b: [1, x]}", {"a": {"b": [1, "x"]}}),
        ("name: 1e-3x", {"name": "1e-3x"}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
    ],
)
def test_what_is_read(tmp_path, text, data):
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_yaml(path) == data


@pytest.mark.parametrize(
    "raw, message, status",
    [
        (b"grad_clip: 1\ngrad_clip: 2", "E_YAML_DUP: 'grad_clip' in lines 1 and 2", 78),
        (b"a: {b: 1, b: 2}", "E_YAML_DUP", 78),
        (b"a: 1\n\tb: 2", "E_YAML: .*line 2", 78),
        (b"", "is empty", 78),
        (b"- a", "holds a list", 78),
        (b"a: [1", "E_YAML", 78),
        (b"a: !!python/object/apply:os.system [touch /tmp/x]", "E_YAML_UNSAFE", 78),
        (b"a: \xff", "E_UTF8: .*line 1", 65),
        (b"a: " + b"[" * 3000 + b"]" * 3000, "E_YAML: .*too deep", 78),
        (b"a: &x [1]\n" + b"b: [" + b"*x, " * 101 + b"1]", "more than 100 aliases", 78),
    ],
)
def test_what_is_refused(tmp_path, raw, message, status):
    path = tmp_path / "a.yaml"
    path.write_bytes(raw)
    with pytest.raises(TopDownError, match=message) as e:
        read_yaml(path)
    assert e.value.status == status


def test_no_file(tmp_path):
    with pytest.raises(TopDownError, match="E_MISSING") as e:
        read_yaml(tmp_path / "none.yaml")
    assert e.value.status == 66


def test_a_file_too_large_to_be_one(tmp_path):
    with (tmp_path / "a.yaml").open("wb") as f:
        f.truncate(yaml_io.MAX_BYTES + 1)
    with pytest.raises(TopDownError, match="E_TOO_LARGE.*8000001 bytes") as e:
        read_yaml(tmp_path / "a.yaml")
    assert e.value.status == 65


def test_broken_json_names_the_line(tmp_path):
    (tmp_path / "a.json").write_text('{\n"a": \n}')
    with pytest.raises(TopDownError, match="line 3"):
        read_json(tmp_path / "a.json")


def test_round_trip_keeps_order_and_aliases_out(tmp_path):
    shared = [1, 2]
    data = {"z": shared, "a": shared, "t": "1e-3", "u": "ñ"}
    write_yaml(tmp_path / "a.yaml", data)
    assert read_yaml(tmp_path / "a.yaml") == data
    text = (tmp_path / "a.yaml").read_text(encoding="utf-8")
    assert text.index("z:") < text.index("a:") and "*" not in text and "ñ" in text


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "a.json"
    write_bytes(path, b"old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "write":
        monkeypatch.setattr(yaml_io.Path, "open", full)
    else:
        monkeypatch.setattr(os, call, full)
    with pytest.raises(TopDownError, match="E_DISK.*No space left.*need 3 B") as e:
        write_bytes(path, b"new")
    monkeypatch.undo()
    assert e.value.status == 74
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(TopDownError, match="E_CREATE") as e:
        write_bytes(tmp_path / "no" / "a.json", b"x")
    assert e.value.status == 73


def test_what_was_read_before_is_neither_stale_nor_shared(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: [1]\n")
    read_yaml(path)["a"].append(2)
    assert read_yaml(path) == {"a": [1]}
    path.write_text("a: [3]\n")
    assert read_yaml(path) == {"a": [3]}
