"""YAML and JSON files: read strictly, written whole or not at all."""

from __future__ import annotations

import argparse
import copy
import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from espnet_topdown.errors import DATA, MISSING, TopDownError, disk_error

MAX_BYTES = 8_000_000  # a BPE token list inlined in config.yaml is far below this


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML in which a key can be given only once and `1e-3` is a number."""

    def construct_mapping(self, node, deep=False):  # type: ignore[no-untyped-def]
        if isinstance(node, yaml.MappingNode):
            lines: dict[Any, int] = {}
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                line = key_node.start_mark.line + 1
                if isinstance(key, str) and key in lines:
                    raise TopDownError(
                        "E_YAML_DUP",
                        f"'{key}' in lines {lines[key]} and {line} of {self.name}",
                        "keep one of them",
                    )
                if isinstance(key, str):
                    lines[key] = line
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Everything written out, quoted where _StrictLoader would read a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _class in (_StrictLoader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )


def read_text(path: Path) -> str:
    """The UTF-8 text of a file.

    Raises:
        TopDownError: E_MISSING, E_TOO_LARGE or E_UTF8.
    """
    path = Path(path)
    if not path.is_file():
        raise TopDownError("E_MISSING", f"no file {path}", "check the path", MISSING)
    if path.stat().st_size > MAX_BYTES:
        raise TopDownError(
            "E_TOO_LARGE",
            f"{path} has {path.stat().st_size} bytes, at most {MAX_BYTES} are read",
            "check that this is the right file",
            DATA,
        )
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        raise TopDownError(
            "E_UTF8", f"{path} line {line} is not UTF-8", "convert it to UTF-8", DATA
        ) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping: no tags that make objects, no key twice, few aliases.

    Raises:
        TopDownError: E_YAML, E_YAML_DUP, E_YAML_UNSAFE or those of read_text.
    """
    return copy.deepcopy(_parsed(str(path), read_text(path)))


@functools.lru_cache(maxsize=32)  # by its text: parsing takes most of a search's time
def _parsed(path: str, text: str) -> dict[str, Any]:
    if len(re.findall(r"(?m)(?:^|[\s\[,:])\*[A-Za-z0-9_]", text)) > 100:
        raise TopDownError(
            "E_YAML_UNSAFE", f"more than 100 aliases in {path}", "write them out"
        )
    loader = None
    try:
        loader = _StrictLoader(text)
        loader.name = path
        data = loader.get_single_data()
    except yaml.constructor.ConstructorError as e:
        raise _yaml_error("E_YAML_UNSAFE", path, e) from None
    except (yaml.YAMLError, ValueError) as e:
        raise _yaml_error("E_YAML", path, e) from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"holds a {type(data).__name__}"
        raise TopDownError(
            "E_YAML", f"{path} {what}, need a mapping", "write 'key: value' lines"
        )
    return data


def _yaml_error(code: str, path: str, error: Exception) -> TopDownError:
    mark = getattr(error, "problem_mark", None)
    line = f" line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or str(error)
    return TopDownError(code, f"{path}{line}: {problem}", "correct that line")


def read_json(path: Path) -> Any:
    """Read JSON; a broken file is E_JSON (65)."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as e:
        raise TopDownError(
            "E_JSON",
            f"{path} line {e.lineno}: {e.msg}",
            "move the file aside and run the same command again",
            DATA,
        ) from None


def write_yaml(path: Path, data: Mapping[str, Any]) -> None:
    """Write a mapping in its own order, atomically."""
    text = yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    write_bytes(path, text.encode())


def json_bytes(data: Any) -> bytes:
    """JSON with one key a line."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def write_json(path: Path, data: Any) -> None:
    """Write JSON with one key a line, atomically."""
    write_bytes(path, json_bytes(data))


def write_bytes(path: Path, data: bytes) -> None:
    """Write to a temporary name, fsync, rename: a reader sees all of it or none.

    Raises:
        TopDownError: E_DISK (74) when the disk is full, E_CREATE (73) when the
            folder cannot be written to; what was there before stays.
    """
    path = Path(path)
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with tmp.open("wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(tmp, path)
        sync_folder(path.parent)
    except OSError as e:
        try:
            tmp.unlink()
        except OSError:
            pass
        raise disk_error(path, len(data), e) from e


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256(path: Path) -> str:
    """Digest of a file's bytes."""
    h = hashlib.sha256()
    with Path(path).open("rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            h.update(block)
    return h.hexdigest()


def link(target: str, path: Path) -> None:
    """Point a relative symlink at ``target``, atomically."""
    tmp = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.tmp")
    if tmp.is_symlink():
        tmp.unlink()
    tmp.symlink_to(target)
    os.replace(tmp, path)


def true_or_false(text: str) -> bool:
    """The two words that ESPnet's options take."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, got '{text}'")
    return text.lower() == "true"
