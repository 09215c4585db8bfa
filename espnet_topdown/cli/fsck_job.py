"""Check one job of a search: digests, frozen tensors, scores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import DATA, TopDownError
from espnet_topdown.files import link, read_json, read_yaml, sha256
from espnet_topdown.jobs.run import is_done
from espnet_topdown.jobs.verify import verify
from espnet_topdown.models.checkpoint import check_archive
from espnet_topdown.records import DONE, check_seal, read_seal
from espnet_topdown.scoring.counts import FILE, read_counts, summary
from espnet_topdown.scoring.score import hypothesis_digest, recount
from espnet_topdown.search.state import ERROR_UNITS, sealed_score

Event = Mapping[str, Any]


def sealed(folder: Path, event: Event | None) -> int:
    """Nothing has changed since the job was finished; returns the files compared."""
    if not is_done(folder):
        return 0
    seal = read_seal(folder)
    check_seal(folder, seal)
    if event and event.get("done") and sha256(folder / DONE) != event["done"]:
        raise _wrong("E_DIGEST", f"{folder / DONE} is not the one that was scored")
    return len(seal.get("sha256", {}))


def archives(folder: Path, event: Event | None) -> int:
    """Every file of weights agrees with the checksums that it holds."""
    files = [p for p in sorted(folder.glob("*.pth")) if not p.is_symlink()]
    for path in files:
        check_archive(path)
    for path in folder.glob("*.pth"):
        if path.is_symlink() and not path.exists():
            what = f"{path} -> {os.readlink(path)} is not there"
            raise _wrong("E_LINK", what, "run fsck --repair true")
    return len(files)


def frozen(folder: Path, event: Event | None) -> int:
    """Frozen tensors are what they were, in every epoch file, bit for bit."""
    job = read_yaml(folder / "retrain.yaml")
    if not is_done(folder) or not job["trainer"]:
        return 0
    return len(verify(folder))


def scored(folder: Path, event: Event | None) -> int:
    """The score's integers add up, and are those that the journal has."""
    if not is_done(folder):
        return 0
    score, _ = sealed_score(folder, event or {})
    for unit in ERROR_UNITS:
        if unit in score:
            check_counts(score[unit], folder / "score.json")
    if event and not folder.name.startswith("control."):
        criterion = read_yaml(folder.parent / "search.yaml")["criterion"]
        counts = score[criterion]
        if "ref" in counts and errors(counts) != event["errors"]:
            what = f"{folder}/score.json has {errors(counts)} errors, the journal"
            raise _wrong("E_SCORE", f"{what} {event['errors']}")
    return 1


CHECKS = (sealed, archives, frozen, scored)


def check_counts(counts: Mapping[str, int], path: Path) -> None:
    """Integers that can be: a reference token is correct, wrong or missing."""
    if "ref" not in counts:  # a perplexity
        return
    names = ("ref", "corr", "sub", "del", "ins")
    whole = all(type(counts[n]) is int and counts[n] >= 0 for n in names)
    if not whole or counts["corr"] + counts["sub"] + counts["del"] != counts["ref"]:
        raise _wrong("E_SCORE", f"{path}: {dict(counts)} does not add up")


def errors(counts: Mapping[str, int]) -> int:
    """Substitutions, deletions and insertions."""
    return counts["sub"] + counts["del"] + counts["ins"]


def decoded(place: Path) -> bool:
    """A decoded set's score follows from its hypotheses; False if there is none."""
    path = place / "score.json"
    if not path.is_file():
        return False
    score = read_json(path)
    digest = score.get("hyp_sha256")
    text = place / "text"
    if digest and text.is_file() and hypothesis_digest(read_pairs(text)) != digest:
        raise _wrong("E_SCORE", f"{text} is not what {path} was counted from")
    for part in sorted(place.glob("score_*")):
        unit = part.name[len("score_") :]
        if unit not in score or not (part / "ref.trn").is_file():
            continue
        counts = recount(part)
        if len(counts) != score["utts"]:
            raise _wrong("E_UTT_SETS", f"{part}: utterances differ from {path}")
        counted = summary(counts)
        if counted != {k: score[unit].get(k) for k in counted}:
            what = f"{path}: {unit} is {score[unit]}, {part} gives {counted}"
            raise _wrong("E_SCORE", what)
        # in order: ids of a .trn file begin with the speaker, those here do not
        listed = read_counts(part) if (part / FILE).is_file() else counts
        if list(listed.values()) != list(counts.values()):
            raise _wrong("E_SCORE", f"{part / FILE} is not what {part}/*.trn give")
    return True


def decode_again(folder: Path) -> bool:
    """Decode the validation set anew; the same integers must come out."""
    if not is_done(folder):
        return False
    from espnet_topdown.jobs.run import score

    old, new = (
        read_json(folder / "score.json"),
        score(folder, read_yaml(folder / "retrain.yaml")),
    )
    for key in (*ERROR_UNITS, "utts", "hyp_sha256"):
        if key in old and old[key] != new.get(key):
            what = (
                f"{folder}: decoding again gives {key} {new.get(key)}, not {old[key]}"
            )
            raise _wrong("E_SCORE", what)
    return True


def relink(folder: Path) -> list[str]:
    """Restore links to models as they were when the job was finished."""
    done = []
    for name, target in read_seal(folder).get("links", {}).items():
        path = folder / name
        have = os.readlink(path) if path.is_symlink() else None
        if (
            have != target
            and (have or not path.exists())
            and (folder / target).is_file()
        ):
            link(target, path)
            done.append(f"{path} -> {target}")
    return done


def _wrong(
    code: str, what: str, do: str = "bring it back, or decode again"
) -> TopDownError:
    return TopDownError(code, what, do, DATA)
