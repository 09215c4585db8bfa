"""Check all sets of a recipe together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.data.kaldi_dir import read_lines
from espnet_topdown.data.overlap import check_overlap
from espnet_topdown.data.validate import Front, SetReport, validate_set
from espnet_topdown.data.wav_io import parse_rate
from espnet_topdown.errors import DATA, USAGE, TopDownError


def validate_sets(
    fs: str,
    train: Path | None = None,
    dev: Path | None = None,
    test: Sequence[Path] = (),
    stats_dir: Path | None = None,
    token_list: Path | None = None,
    token_type: str = "char",
    full: bool | None = None,
    hop_length: int = 128,
    subsampling: int = 0,
    min_samples: int = 1,
    allow_pipes: bool = False,
    allow_overlap: bool = False,
    check_speakers: bool = False,
    nlsyms: Path | None = None,
) -> dict[str, SetReport]:
    """Validate every set named, print a line each, then look for overlap.

    Shapes are compared where ``stats_dir`` has them: ``train`` and ``valid``. Only
    training and validation need an encoder that is fast enough for CTC.
    """
    roles = {"train": train, "dev": dev, **{str(t): t for t in test}}
    folders = {role: Path(f) for role, f in roles.items() if f is not None}
    if not folders:
        do = "give --train, --dev or --test"
        raise TopDownError("E_USAGE", "no set to check", do, USAGE)
    tokens = None if token_list is None else read_lines(token_list)
    symbols = [] if nlsyms is None else read_lines(nlsyms)
    reports = {}
    for role, folder in folders.items():
        decoded_only = role not in ("train", "dev")
        front = Front(hop_length, 0 if decoded_only else subsampling, min_samples)
        reports[role] = _validate(
            role,
            folder,
            fs=parse_rate(fs),
            shape_files=_shapes(stats_dir, role),
            token_list=tokens,
            allow_pipes=allow_pipes,
            full=full,
            token_type=token_type,
            front=front,
            nlsyms=symbols,
        )
        _print(folder, reports[role])
    if not allow_overlap:
        audio = all(report.full for report in reports.values())
        check_overlap(list(folders.values()), audio, check_speakers)
    return reports


def _validate(role: str, folder: Path, **options: Any) -> SetReport:
    try:
        return validate_set(folder / "wav.scp", folder / "text", **options)
    except TopDownError as e:
        if role != "dev" or e.code != "E_SET_EMPTY":
            raise
    what = f"{folder} has no utterances to choose models by"
    raise TopDownError("E_DEV_EMPTY", what, "name another --valid_set", DATA)


def _shapes(stats_dir: Path | None, role: str) -> list[Path]:
    if stats_dir is None or role not in ("train", "dev"):
        return []
    folder = Path(stats_dir) / ("train" if role == "train" else "valid")
    return [folder / "speech_shape", folder / "text_shape"]


def _print(folder: Path, report: SetReport) -> None:
    depth = "every sample read" if report.full else "headers read"
    print(
        f"{folder}: {report.utterances} utterances, {report.seconds:.1f} s"
        f" ({report.shortest:.2f} to {report.longest:.2f}), {depth}: good",
        flush=True,
    )
