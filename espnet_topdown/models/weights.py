"""Model weights as files: tensors only, checked before they are believed."""

from __future__ import annotations

import datetime
import hashlib
import io
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_topdown.errors import DATA, MISSING, TopDownError, nearest, warn
from espnet_topdown.files import write_bytes

Weights = dict[str, torch.Tensor]
PARALLEL = "module."  # in front of every name, where DataParallel was saved as it is


def check_archive(path: Path) -> None:
    """Refuse a checkpoint that is empty, cut off or damaged.

    ``torch.load`` does not look at the CRC that the archive stores, so a flipped bit
    would be loaded as a weight.

    Raises:
        TopDownError: E_CKPT_MISSING (66), E_CKPT_EMPTY, E_CKPT_TRUNCATED,
            E_CKPT_UNSAFE or E_DIGEST (65).
    """
    path = Path(path)
    if not path.is_file():
        raise TopDownError(
            "E_CKPT_MISSING", f"no file {path}", "check the path", MISSING
        )
    size = path.stat().st_size
    if size == 0:
        raise _broken("E_CKPT_EMPTY", f"{path} has 0 bytes")
    with path.open("rb") as f:
        magic = f.read(2)
    if magic != b"PK":
        raise TopDownError(
            "E_CKPT_UNSAFE",
            f"{path} is no torch archive (a bare pickle or another format)",
            "save it again with a current torch: torch.save(model.state_dict(), ...)",
            DATA,
        )
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


def _unsafe(path: Path, error: Exception, do: str) -> TopDownError:
    """Torch's own message would advise to switch the check off."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    what = f"object {found[1]} refused" if found else "not only tensors"
    return TopDownError("E_CKPT_UNSAFE", f"{path}: {what}", do, DATA)


def load_weights(path: Path, finite: bool = True) -> Weights:
    """Load a state dict on the CPU. Nothing in the file is ever executed.

    Args:
        path: ``Nepoch.pth``, ``valid.*.best.pth``, ``frozen.pth`` or any other file
            that holds nothing but named tensors.
        finite: Refuse NaN and infinity.

    Raises:
        TopDownError: those of check_archive, E_CKPT_UNSAFE for anything but tensors,
            E_CKPT_NONFINITE.
    """
    check_archive(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as e:
        do = "give a file of weights only, such as Nepoch.pth or valid.*.best.pth"
        raise _unsafe(path, e, do) from None
    tensors = isinstance(state, Mapping) and all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    )
    if not tensors or not state:
        raise TopDownError(
            "E_CKPT_KEYS",
            f"{path} is no mapping of names to tensors",
            "give a file of weights only, such as Nepoch.pth or valid.*.best.pth",
            DATA,
        )
    if finite:
        check_finite(state, path)
    if all(name.startswith(PARALLEL) for name in state):
        warn("W_PREFIX", f"{path}: '{PARALLEL}' of a data-parallel model is left out")
        state = {name[len(PARALLEL) :]: value for name, value in state.items()}
    return dict(state)


def as_type(state: Mapping[str, torch.Tensor], name: str, path: Path) -> Weights:
    """The same tensors in the precision that a training computes with.

    Args:
        state: Named tensors; whole numbers stay.
        name: ESPnet's ``train_dtype``, such as "float32".
        path: Their file, for the warning.
    """
    wanted = getattr(torch, name)
    other = {t.dtype for t in state.values() if t.is_floating_point()} - {wanted}
    if not other:
        return dict(state)
    have = ", ".join(sorted(str(t).partition(".")[2] for t in other))
    warn("W_PRECISION", f"{path} holds {have}: converted to {name}")
    return {n: t.to(wanted) if t.is_floating_point() else t for n, t in state.items()}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """ESPnet's checkpoint.pth of either release, without executing anything.

    Release 202511 stores NumPy numbers and time spans beside the tensors; they are
    allowed by name, everything else is refused.

    Raises:
        TopDownError: those of check_archive; E_CKPT_UNSAFE (65).
    """
    check_archive(path)
    scalar = getattr(np, "_core", None) or np.core
    scalar = scalar.multiarray.scalar
    harmless = [datetime.timedelta, np.dtype, (scalar, "numpy.core.multiarray.scalar")]
    harmless += [(scalar, "numpy._core.multiarray.scalar")]
    harmless += [type(np.dtype(t)) for t in ("f8", "f4", "i8", "i4")]
    try:
        with torch.serialization.safe_globals(harmless):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:
        raise _unsafe(path, e, "use a checkpoint that ESPnet's trainer wrote") from None


def check_finite(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse weights with NaN or infinity, naming the first tensor."""
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            bad = int((~torch.isfinite(value)).sum())
            raise TopDownError(
                "E_CKPT_NONFINITE",
                f"{path}: {name}: {bad} of {value.numel()} values are NaN or infinite",
                "take an earlier epoch",
                DATA,
            )


def check_keys(have: Iterable[str], want: Iterable[str], path: Path) -> None:
    """Refuse weights that are not exactly those of the model.

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
    raise TopDownError(
        "E_CKPT_KEYS",
        f"{path}: " + ", ".join(parts),
        "use the weights and the config.yaml of the same experiment",
        DATA,
    )


def save_weights(state: Mapping[str, torch.Tensor], path: Path) -> str:
    """Write tensors atomically; returns the digest of the file."""
    buffer = io.BytesIO()
    torch.save({k: v.detach().clone() for k, v in state.items()}, buffer)
    data = buffer.getvalue()
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def differing(
    a: Mapping[str, torch.Tensor],
    b: Mapping[str, torch.Tensor],
    names: Iterable[str],
) -> list[str]:
    """The names whose tensors are not equal bit for bit (NaN equals itself)."""

    def bits(t: torch.Tensor) -> bytes:
        return t.detach().contiguous().cpu().numpy().tobytes()

    return [
        n
        for n in names
        if a[n].dtype != b[n].dtype
        or a[n].shape != b[n].shape
        or bits(a[n]) != bits(b[n])
    ]
