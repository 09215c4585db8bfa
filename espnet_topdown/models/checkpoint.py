"""What a PyTorch checkpoint holds: names, shapes and types, read without torch.

The archive is a zip file: ``data.pkl`` says how the tensors are put together from the
bytes in ``data/``. That pickle is never unpickled: its opcodes are read one by one,
and the few that a state dict consists of are carried out on plain values. Whatever
else stands there is left to ``torch.load(weights_only=True)``, which refuses it.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.errors import DATA, MISSING, TopDownError, warn

_PARALLEL = "module."  # in front of every name, where DataParallel was saved as it is

# Storage -> the type of its values and their size in bytes.
_STORAGES = {
    "torch DoubleStorage": ("float64", 8),
    "torch FloatStorage": ("float32", 4),
    "torch HalfStorage": ("float16", 2),
    "torch BFloat16Storage": ("bfloat16", 2),
    "torch LongStorage": ("int64", 8),
    "torch IntStorage": ("int32", 4),
    "torch ShortStorage": ("int16", 2),
    "torch CharStorage": ("int8", 1),
    "torch ByteStorage": ("uint8", 1),
    "torch BoolStorage": ("bool", 1),
}
# Type -> the bits as a number, and those of its exponent: all set in NaN and infinity.
_EXPONENTS = {
    "float64": ("<u8", 0x7FF0_0000_0000_0000),
    "float32": ("<u4", 0x7F80_0000),
    "float16": ("<u2", 0x7C00),
    "bfloat16": ("<u2", 0x7F80),
}


@dataclass(frozen=True)
class TensorInfo:
    """A tensor without its values.

    Attributes:
        dtype: The type of its values, such as "float32".
        shape: Its size in each dimension.
        stride: Values from one index of a dimension to the next.
        storage: What holds its values; two tensors may share it.
        offset: Its first value there.
    """

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    storage: str | int
    offset: int = 0

    @property
    def numel(self) -> int:
        """The number of its values."""
        return math.prod(self.shape)


Header = dict[str, TensorInfo]


def read_header(path: Path) -> Header:
    """Names, shapes, types and ties of a state dict; nothing in the file is executed.

    Args:
        path: ``Nepoch.pth``, ``valid.*.best.pth`` or any other file that holds nothing
            but named tensors.

    Returns:
        Name -> tensor without its values, in the file's order.

    Raises:
        TopDownError: those of ``weights.load_weights``, in its words.
    """
    check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            header = _read(archive)
    except (ValueError, TypeError, LookupError):  # only torch knows what it is
        from espnet_topdown.models.weights import header_of, load_weights

        return header_of(load_weights(path))
    return strip_prefix(header, path)


def check_archive(path: Path) -> None:
    """Refuse a checkpoint that is empty, cut off or damaged.

    ``torch.load`` does not look at the CRC that the archive stores, so a flipped bit
    would be loaded as a weight.

    Args:
        path: Of the file.

    Raises:
        TopDownError: E_CKPT_MISSING (66), E_CKPT_EMPTY, E_CKPT_TRUNCATED,
            E_CKPT_UNSAFE or E_DIGEST (65).
    """
    path = Path(path)
    if not path.is_file():
        what = f"no file {path}"
        raise TopDownError("E_CKPT_MISSING", what, "check the path", MISSING)
    size = path.stat().st_size
    if size == 0:
        raise _broken("E_CKPT_EMPTY", f"{path} has 0 bytes")
    with path.open("rb") as f:
        magic = f.read(2)
    if magic != b"PK":
        what = f"{path} is no torch archive (a bare pickle or another format)"
        do = "save it again with a current torch: torch.save(model.state_dict(), ...)"
        raise TopDownError("E_CKPT_UNSAFE", what, do, DATA)
    try:
        with zipfile.ZipFile(path) as z:
            bad = z.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError):
        raise _broken("E_CKPT_TRUNCATED", f"{path} ({size} bytes) is cut off") from None
    except Exception as e:  # zlib.error, NotImplementedError: a damaged header
        raise _broken("E_DIGEST", f"{path} is damaged ({e})") from None
    if bad:
        raise _broken("E_DIGEST", f"{path}: '{bad}' differs from its stored checksum")


def _broken(code: str, what: str) -> TopDownError:
    do = "take another epoch's file, or train that epoch again"
    return TopDownError(code, what, do, DATA)


def strip_prefix(state: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The same values by the names that the model has without DataParallel.

    Args:
        state: Name -> value.
        path: Their file, for the warning.

    Returns:
        The values, without ``module.`` where every name begins with it.
    """
    if not all(name.startswith(_PARALLEL) for name in state):
        return dict(state)
    warn("W_PREFIX", f"{path}: '{_PARALLEL}' of a data-parallel model is left out")
    return {name[len(_PARALLEL) :]: value for name, value in state.items()}


def has_other_dtype(train_dtype: str, dtypes: Iterable[str], path: Path) -> bool:
    """Whether a file has another precision than the training; warns of it.

    Args:
        train_dtype: ESPnet's name of it, such as "float32".
        dtypes: Of the file's tensors; whole numbers stay as they are.
        path: The file.

    Returns:
        Whether it does.
    """
    other = {d for d in dtypes if d.startswith(("float", "bfloat"))} - {train_dtype}
    if other:
        have = ", ".join(sorted(other))
        warn("W_PRECISION", f"{path} holds {have}: converted to {train_dtype}")
    return bool(other)


def tied_names(header: Header) -> dict[str, str]:
    """The further names of tensors that a file holds once.

    Args:
        header: Of the file.

    Returns:
        Second name -> first name.
    """
    first: dict[TensorInfo, str] = {}
    tied = {}
    for name, info in header.items():
        if info.numel and first.setdefault(info, name) != name:
            tied[name] = first[info]
    return tied


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    numel: int
    size: int  # in bytes


class _Name(str):
    """What a pickle wants to import."""


# Raises ValueError, TypeError or LookupError where torch has to decide.
def _read(archive: zipfile.ZipFile) -> Header:
    folder = archive.namelist()[0].split("/")[0]
    entries = {e.filename: e for e in archive.infolist()}
    stored = all(e.compress_type == zipfile.ZIP_STORED for e in entries.values())
    if not stored or len(entries) < len(archive.infolist()):
        raise ValueError("not as torch packs it")
    if f"{folder}/constants.pkl" in entries:
        raise ValueError("a TorchScript archive")
    order = f"{folder}/byteorder"
    if order in entries and archive.read(order) != b"little":
        raise ValueError("of a machine with another order of bytes")
    storages: dict[str, _Storage] = {}
    header = _carry_out(archive.read(f"{folder}/data.pkl"), storages)
    if type(header) is not dict or not header:
        raise ValueError("not a mapping")
    if any(type(info) is not TensorInfo for info in header.values()):
        raise ValueError("not only tensors")
    for storage in storages.values():
        data = archive.read(f"{folder}/data/{storage.key}")
        if len(data) != storage.size or not _is_finite(data, storage.dtype):
            raise ValueError("a size is wrong, or a value is NaN or infinite")
    return header


def _is_finite(data: bytes, dtype: str) -> bool:
    import numpy as np

    if dtype not in _EXPONENTS:
        return True
    bits, exponent = _EXPONENTS[dtype]
    return not ((np.frombuffer(data, bits) & exponent) == exponent).any()


_PUSHED = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


# The value that a pickle of named tensors describes; adds what holds them. Raises
# ValueError, TypeError or LookupError for what such a pickle does not have.
def _carry_out(data: bytes, storages: dict[str, _Storage]) -> Any:
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}
    for opcode, arg, _ in pickletools.genops(data):
        name = opcode.name
        if name in _PUSHED:
            stack.append(arg)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "GLOBAL":
            stack.append(_Name(arg))
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[arg] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[arg])
        elif name in _TUPLES or name == "TUPLE":
            start = marks.pop() if name == "TUPLE" else len(stack) - _TUPLES[name]
            stack[start:] = [tuple(stack[start:])]
        elif name in ("SETITEM", "SETITEMS"):
            start = marks.pop() if name == "SETITEMS" else len(stack) - 2
            _set_items(stack[start - 1], stack[start:])
            del stack[start:]
        elif name == "BINPERSID":
            stack.append(_storage(storages, *stack.pop()))
        elif name == "REDUCE":
            args = stack.pop()
            stack.append(_made(stack.pop(), args))
        elif name == "BUILD" and type(stack[-2]) is dict:
            stack.pop()  # versions of the modules, an attribute of the state dict
        elif name not in ("PROTO", "STOP"):
            raise ValueError(f"opcode {name}")
    (value,) = stack
    return value


def _set_items(target: Any, items: list[Any]) -> None:
    if type(target) is not dict or any(type(key) is not str for key in items[::2]):
        raise ValueError("not a mapping of names")
    target.update(zip(items[::2], items[1::2]))


def _storage(
    storages: dict[str, _Storage], kind: str, cls: str, key: str, device: str, n: int
) -> _Storage:
    if kind != "storage" or type(cls) is not _Name or type(key) is not str:
        raise ValueError("no storage")
    dtype, size = _STORAGES[cls]
    storage = _Storage(key, dtype, _whole(n), n * size)
    if storages.setdefault(key, storage) != storage:
        raise ValueError("one storage of two types")
    return storage


# What the function of that name would return.
def _made(name: Any, args: tuple[Any, ...]) -> Any:
    if type(name) is not _Name:
        raise ValueError("not a function")
    if name == "collections OrderedDict" and not args:
        return {}
    if name == "torch._utils _rebuild_parameter":
        tensor, _requires_grad, _hooks = args
        return tensor
    if name != "torch._utils _rebuild_tensor_v2":
        raise ValueError(f"{name} is not for a state dict")
    storage, offset, shape, stride, _requires_grad, _hooks = args
    if type(storage) is not _Storage or len(shape) != len(stride):
        raise ValueError("no tensor")
    last = sum((_whole(n) - 1) * _whole(by) for n, by in zip(shape, stride))
    info = TensorInfo(storage.dtype, tuple(shape), tuple(stride), storage.key, offset)
    if _whole(offset) + (last + 1 if info.numel else 0) > storage.numel:
        raise ValueError("larger than its storage")
    return info


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("no size")
    return value
