"""Model weights as files: tensors only, checked before they are believed."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_topdown.errors import DATA, TopDownError, nearest
from espnet_topdown.files import read_yaml, write_bytes
from espnet_topdown.models.checkpoint import (
    Header,
    TensorInfo,
    check_archive,
    has_other_dtype,
    strip_prefix,
    tied_names,
)
from espnet_topdown.models.tasks import find_task, kind_of

Weights = dict[str, torch.Tensor]


# Torch's own message would advise to switch the check off.
def _unsafe(path: Path, error: Exception, do: str) -> TopDownError:
    match = re.search(r"GLOBAL ([\w.]+)", str(error))
    what = f"object {match[1]} refused" if match else "not only tensors"
    return TopDownError("E_CKPT_UNSAFE", f"{path}: {what}", do, DATA)


def load_weights(path: Path) -> Weights:
    """Load a state dict on the CPU. Nothing in the file is ever executed.

    Args:
        path: ``Nepoch.pth``, ``valid.*.best.pth``, ``frozen.pth`` or any other file
            that holds nothing but named tensors.

    Returns:
        Name -> tensor.

    Raises:
        TopDownError: those of check_archive, E_CKPT_UNSAFE for anything but tensors,
            E_CKPT_NONFINITE.
    """
    check_archive(path)
    do = "give a file of weights only, such as Nepoch.pth or valid.*.best.pth"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # a damaged or hostile pickle raises whatever it likes
        raise _unsafe(path, e, do) from None
    tensors = isinstance(state, Mapping) and all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    )
    if not tensors or not state:
        what = f"{path} is no mapping of names to tensors"
        raise TopDownError("E_CKPT_KEYS", what, do, DATA)
    _check_finite(state, path)
    return strip_prefix(state, path)


def header_of(state: Mapping[str, torch.Tensor]) -> Header:
    """What ``read_header`` gives, of tensors that are in memory.

    Args:
        state: Named tensors.

    Returns:
        Name -> tensor without its values.
    """

    def info(t: torch.Tensor) -> TensorInfo:
        dtype = str(t.dtype).partition(".")[2]
        return TensorInfo(dtype, tuple(t.shape), tuple(t.stride()), t.data_ptr())

    return {name: info(tensor) for name, tensor in state.items()}


def to_dtype(state: Mapping[str, torch.Tensor], name: str, path: Path) -> Weights:
    """The same tensors in the precision that a training computes with.

    Args:
        state: Named tensors; whole numbers stay, and what is tied stays tied.
        name: ESPnet's ``train_dtype``, such as "float32".
        path: Their file, for the warning.

    Returns:
        Name -> tensor.
    """
    header = header_of(state)
    if not has_other_dtype(name, {info.dtype for info in header.values()}, path):
        return dict(state)
    wanted, tied = getattr(torch, name), tied_names(header)
    first = {n: t for n, t in state.items() if n not in tied}
    first = {n: t.to(wanted) if t.is_floating_point() else t for n, t in first.items()}
    return {n: first[tied.get(n, n)] for n in state}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """ESPnet's checkpoint.pth of either release, without executing anything.

    Release 202511 stores NumPy numbers and time spans beside the tensors; they are
    allowed by name, everything else is refused.

    Args:
        path: Of the file.

    Returns:
        What the trainer saved: "model", "optimizers", "reporter" and others.

    Raises:
        TopDownError: those of check_archive; E_CKPT_UNSAFE (65).
    """
    check_archive(path)
    core = getattr(np, "_core", None) or np.core
    scalar = core.multiarray.scalar
    harmless: list[Any] = [datetime.timedelta, np.dtype]
    harmless += [
        (scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")
    ]
    harmless += [type(np.dtype(t)) for t in ("f8", "f4", "i8", "i4")]
    try:
        with torch.serialization.safe_globals(harmless):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:
        raise _unsafe(path, e, "use a checkpoint that ESPnet's trainer wrote") from None


def _check_finite(state: Mapping[str, torch.Tensor], path: Path) -> None:
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            bad = f"{int((~torch.isfinite(value)).sum())} of {value.numel()} values"
            what = f"{path}: {name}: {bad} are NaN or infinite"
            raise TopDownError("E_CKPT_NONFINITE", what, "take an earlier epoch", DATA)


def check_keys(have: Iterable[str], want: Iterable[str], path: Path) -> None:
    """Refuse weights that are not exactly those of the model.

    Args:
        have: Names in the file.
        want: Names in the model.
        path: The file.

    Raises:
        TopDownError: E_CKPT_KEYS (65) with counts and examples.
    """
    have, want = set(have), set(want)
    missing, extra = sorted(want - have), sorted(have - want)
    if not missing and not extra:
        return
    parts = []
    if missing:
        parts.append(f"{len(missing)} missing ({missing[0]}, ...)")
    if extra:
        hint = nearest(extra[0], want, 1)
        parts.append(f"{len(extra)} unexpected ({extra[0]}, {hint})")
    what = f"{path}: " + ", ".join(parts)
    do = "use the weights and the config.yaml of the same experiment"
    raise TopDownError("E_CKPT_KEYS", what, do, DATA)


def save_weights(state: Mapping[str, torch.Tensor], path: Path) -> str:
    """Write tensors atomically.

    Args:
        state: Named tensors.
        path: The file.

    Returns:
        Its digest (SHA-256).
    """
    buffer = io.BytesIO()
    torch.save({k: v.detach().clone() for k, v in state.items()}, buffer)
    data = buffer.getvalue()
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def mean_weights(files: Sequence[Path]) -> Weights:
    """The mean of epochs of one training, computed exactly; of counters the largest.

    Sums are made in double precision, so that the mean of equal tensors is that tensor
    bit for bit: what a retraining kept frozen is the same in the average.

    Args:
        files: Of weights.

    Returns:
        Tensors with the names, shapes and types that they have in each file.

    Raises:
        TopDownError: E_SHAPE_MISMATCH (65) when a tensor differs in shape or type;
            those of ``check_keys`` and ``load_weights``.
    """
    first, *others = states = [load_weights(path) for path in files]
    for state, path in zip(others, files[1:]):
        check_keys(state, first, path)
        for name, tensor in first.items():
            a, b = header_of({name: tensor})[name], header_of({name: state[name]})[name]
            if (a.shape, a.dtype) != (b.shape, b.dtype):
                what = f"{path}: {name} is {b.shape} {b.dtype}, in "
                what += f"{files[0]} {a.shape} {a.dtype}"
                do = "average epochs of one training only"
                raise TopDownError("E_SHAPE_MISMATCH", what, do, DATA)

    def mean(stacked: torch.Tensor) -> torch.Tensor:
        if not stacked.is_floating_point():
            return stacked.amax(0)
        return (stacked.to(torch.float64).sum(0) / len(files)).to(stacked.dtype)

    return {name: mean(torch.stack([s[name] for s in states])) for name in first}


def save_random_weights(exp: Path, seed: int, output: Path) -> str:
    """Write a model as it is before its first step: a control for a trained classifier.

    Args:
        exp: The experiment whose config describes the model.
        seed: Of its values; the same config and seed give the same weights.
        output: The file.

    Returns:
        The file's digest.

    Raises:
        TopDownError: E_KIND (78).
    """
    config = read_yaml(Path(exp) / "config.yaml")
    task = find_task(kind_of(config)).call("task")
    torch.manual_seed(seed)
    model = task.build_model(argparse.Namespace(**config))
    return save_weights(model.state_dict(), Path(output))


def differing(
    a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor], names: Iterable[str]
) -> list[str]:
    """The names whose tensors are not equal bit for bit (NaN equals itself).

    Args:
        a: Named tensors.
        b: Others.
        names: Those to compare; both have them.

    Returns:
        The names of tensors that differ.
    """

    def bits(t: torch.Tensor) -> bytes:
        return t.detach().contiguous().cpu().numpy().tobytes()

    def same(x: torch.Tensor, y: torch.Tensor) -> bool:
        return (x.dtype, x.shape) == (y.dtype, y.shape) and bits(x) == bits(y)

    return [n for n in names if not same(a[n], b[n])]
