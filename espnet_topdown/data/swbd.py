"""Switchboard-1 and eval2000: from the corpora to data directories.

Three steps: ``write_lists`` finds and checks everything without reading audio,
``convert`` makes FLAC files of 16 kHz (in shards, resumable), ``write_sets`` writes
``data/<set>``. No Kaldi, no pipes, nothing is fetched, and Fisher is not needed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_topdown.data import eval2000
from espnet_topdown.data.kaldi_dir import (
    c_sorted,
    read_lines,
    read_pairs,
    write_dir,
    write_lines,
    write_pairs,
)
from espnet_topdown.data.stm import only_sides
from espnet_topdown.data.swbd_audio import convert, flac_path, seconds
from espnet_topdown.data.swbd_discs import Discs, scan
from espnet_topdown.data.swbd_lines import read_transcript
from espnet_topdown.data.swbd_text import (
    Repetitions,
    clean,
    read_acronyms,
    undotted,
    write_acronyms,
)
from espnet_topdown.errors import DATA, USAGE, TopDownError, warn
from espnet_topdown.files import read_json, write_json

CONVERSATIONS = (2435, 2438)  # the two counts that complete copies have
DEV = 4000  # utterances, the first of all
REPEATED = 300  # so often a sentence may occur in the training set
SHOWN = 3  # examples in a message
SCRATCH = Path("local") / "swbd"
SETS = ("train_nodup", "train_dev", "eval2000")


@dataclass
class Corpus:
    """What was found; utterance -> recording, start and end in seconds; text."""

    segments: dict[str, tuple[str, float, float]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    sounds: dict[str, Path] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)


def run(
    swbd: str = "",
    output_dir: Path = Path("data"),
    allow_partial: bool = False,
    step: str = "all",
    nj: int = 1,
    job: int | None = None,
) -> None:
    """One step, one shard of the step ``convert``, or everything."""
    if job is not None and step != "convert":
        do = "give --step convert with --job"
        raise TopDownError("E_USAGE", f"--job with --step {step}", do, USAGE)
    out = Path(output_dir)
    if step in ("lists", "all"):
        write_lists(swbd, out, allow_partial)
    if step in ("convert", "all"):
        convert(out / SCRATCH / "sounds", out, nj, job)
    if step in ("sets", "all"):
        write_sets(out)


def write_lists(swbd: str, output_dir: Path, allow_partial: bool = False) -> None:
    """Find and check everything but audio; write lists below ``local/swbd``.

    Raises:
        TopDownError: E_SWBD_ROOT, E_SWBD_TRANSCRIPTS and what ``read_reference``
            raises; and E_SWBD_AUDIO, E_SWBD_SIDE, E_SWBD_TIMES, E_SWBD_LINE or
            E_EVAL2000_COUNT, which are warnings with ``allow_partial``.
    """
    discs = scan(swbd)
    pem, stm, glm = (discs.reference[name] for name in eval2000_files(discs))
    reference = eval2000.read_reference(pem, stm, glm)
    corpus = collect(discs)
    corpus.problems += reference.problems(2 * len(discs.eval_audio))
    known = {f"{name}-{side}" for name in discs.eval_audio for side in "AB"}
    cuts = {u: c for u, c in reference.segments.items() if c[0] in known}
    corpus.problems += _no_eval_audio(reference.segments, known)
    _refuse_or_warn(corpus.problems, allow_partial)
    scratch = Path(output_dir) / SCRATCH
    sounds = {**corpus.sounds, **discs.eval_audio}
    write_pairs(scratch / "sounds", {k: p.as_posix() for k, p in sounds.items()})
    _write_part(scratch / "train", corpus.segments, corpus.texts)
    _write_part(scratch / "eval2000", cuts, {u: reference.text[u] for u in cuts})
    write_lines(scratch / "eval2000" / "stm", only_sides(reference.stm, known))
    write_lines(scratch / "eval2000" / "glm", reference.glm)
    write_json(scratch / "lists.json", {"schema": 1, "partial": allow_partial})
    logging.info(
        "%d conversations, %d utterances; eval2000: %d conversations, %d utterances",
        len(corpus.sounds),
        len(corpus.texts),
        len(discs.eval_audio),
        len(cuts),
    )


def eval2000_files(discs: Discs) -> list[str]:
    """Names of the PEM, STM and GLM files, in this order."""
    return sorted(discs.reference, key=lambda n: ("pem", "stm", "glm").index(n[-3:]))


def _refuse_or_warn(problems: Sequence[tuple[str, str]], allow_partial: bool) -> None:
    if problems and not allow_partial:
        what = "; ".join(text for _, text in problems)
        do = "complete the corpora, or prepare what is there with --allow_partial true"
        do += ' (of a recipe: --local_data_opts "--allow_partial true")'
        raise TopDownError(problems[0][0], what, do, DATA)
    for code, text in problems:
        warn(code.replace("E_", "W_", 1), text)


def _no_eval_audio(
    segments: dict[str, tuple[str, float, float]], known: set[str]
) -> list[tuple[str, str]]:
    missing = sorted({cut[0] for cut in segments.values()} - known)
    if not missing:
        return []
    what = f"eval2000: no audio for {len(missing)} sides, e.g. "
    return [("E_SWBD_AUDIO", what + ", ".join(missing[:SHOWN]))]


def collect(discs: Discs) -> Corpus:
    """Pair audio with transcripts, and read these."""
    corpus = Corpus()
    acronyms = read_acronyms(read_lines(discs.dictionary or Path()))
    talked = {side[:4] for side in discs.transcripts}
    complete = len(discs.audio) in CONVERSATIONS
    _compare(discs, talked, complete, corpus)
    for side in sorted(discs.transcripts):
        if side[:4] not in discs.audio:
            continue
        recording = f"sw0{side[:4]}-{side[4]}"
        corpus.sounds[f"sw0{side[:4]}"] = discs.audio[side[:4]]
        path = discs.transcripts[side]
        for line in read_transcript(path, side, corpus.problems):
            if words := clean(line.words):
                utt = f"{recording}_{line.start:06d}-{line.end:06d}"
                corpus.texts[utt] = write_acronyms(words, acronyms)
                corpus.segments[utt] = (recording, line.start / 100, line.end / 100)
    return corpus


def _compare(discs: Discs, talked: set[str], complete: bool, corpus: Corpus) -> None:
    """Conversations, and sides of them, that only audio or only text has."""
    silent = sorted(talked - set(discs.audio))
    if silent:
        what = f"transcripts of {len(silent)} conversations without audio, e.g. "
        what += ", ".join(str(discs.transcripts[_first(c, discs)]) for c in silent[:1])
        if complete and len(silent) <= CONVERSATIONS[1] - CONVERSATIONS[0]:
            warn("W_SWBD_AUDIO", f"{what}: known from complete copies")
        else:
            corpus.problems.append(("E_SWBD_AUDIO", what))
    lost = sorted(set(discs.audio) - talked)
    if lost:
        what = f"no transcript for {len(lost)} conversations, e.g. "
        what += str(discs.audio[lost[0]])
        corpus.problems.append(("E_SWBD_TEXT", what))
    sides = [f"{c}{s}" for c in sorted(talked) for s in "AB"]
    one = [s for s in sides if s not in discs.transcripts]
    if one:
        other = discs.transcripts[_first(one[0][:4], discs)]
        what = f"no transcript for {len(one)} sides, e.g. {one[0]} beside {other}"
        corpus.problems.append(("E_SWBD_SIDE", what))
    if not complete:
        what = f"{len(discs.audio)} conversations with audio, not "
        what += " or ".join(map(str, CONVERSATIONS))
        corpus.problems.append(("E_SWBD_COUNT", what))


def _first(conversation: str, discs: Discs) -> str:
    return next(s for s in sorted(discs.transcripts) if s[:4] == conversation)


def _write_part(
    folder: Path, segments: dict[str, tuple[str, float, float]], texts: dict[str, str]
) -> None:
    cuts = {u: f"{r} {start:.6g} {end:.6g}" for u, (r, start, end) in segments.items()}
    if folder.name == "eval2000":
        cuts = {u: f"{r} {a:.2f} {b:.2f}" for u, (r, a, b) in segments.items()}
    write_pairs(folder / "segments", cuts)
    write_pairs(folder / "text", texts)


def write_sets(output_dir: Path) -> None:
    """Write ``<set>/{wav.scp,segments,text,utt2spk,spk2utt}``, ``eval2000/{stm,glm}``.

    The validation set is the first 4,000 utterances by id, the training set what is
    left of the others when sentences that are said very often are thinned out.
    """
    out = Path(output_dir)
    scratch = out / SCRATCH
    partial = read_json(scratch / "lists.json")["partial"]
    cuts = read_pairs(scratch / "train" / "segments")
    texts = read_pairs(scratch / "train" / "text")
    utts = c_sorted(texts)
    dev = _dev_size(len(utts), partial)
    kept = Repetitions(REPEATED).keep({u: texts[u] for u in utts[dev:]})
    sets = {
        "train_nodup": {u: undotted(texts[u]) for u in kept},
        "train_dev": {u: undotted(texts[u]) for u in utts[:dev]},
        "eval2000": read_pairs(scratch / "eval2000" / "text"),
    }
    cuts.update(read_pairs(scratch / "eval2000" / "segments"))
    lengths = _lengths(
        out, {cuts[u].split()[0] for text in sets.values() for u in text}
    )
    for name, text in sets.items():
        _check_ends(name, {u: cuts[u] for u in text}, lengths)
        speakers = {u: cuts[u].split()[0] for u in text}
        wavs = {r: flac_path(out, r).as_posix() for r in set(speakers.values())}
        lists = {"wav.scp": wavs, "segments": {u: cuts[u] for u in text}}
        write_dir(out / name, {**lists, "text": text, "utt2spk": speakers})
        logging.info("%s: %d utterances", name, len(text))
    for name in ("stm", "glm"):
        write_lines(out / "eval2000" / name, read_lines(scratch / "eval2000" / name))


def _dev_size(n: int, partial: bool) -> int:
    if n > 2 * DEV:
        return DEV
    if not partial:
        what = f"{n} utterances in all, the first {DEV} are the validation set"
        do = "complete the corpora, or give --allow_partial true"
        raise TopDownError("E_SWBD_COUNT", what, do, DATA)
    warn("W_SWBD_COUNT", f"{n} utterances in all: the first tenth validates")
    return max(1, n // 10)


def _lengths(output_dir: Path, recordings: Iterable[str]) -> dict[str, float]:
    """Seconds of each converted recording."""
    found = {r: seconds(flac_path(output_dir, r)) for r in sorted(recordings)}
    lacking = [r for r, length in found.items() if not length]
    if lacking:
        what = f"{len(lacking)} recordings are not converted, e.g. "
        what += ", ".join(lacking[:SHOWN])
        raise TopDownError("E_SWBD_CONVERT", what, "run stage 1 again", DATA)
    return found


def _check_ends(name: str, cuts: dict[str, str], lengths: dict[str, float]) -> None:
    """Refuse segments that begin where the audio has ended."""
    behind = []
    for utt, cut in cuts.items():
        recording, start, _ = cut.split()
        if float(start) >= lengths[recording]:
            behind.append(f"{utt} (audio ends at {lengths[recording]:.2f} s)")
    if behind:
        what = f"{name}: {len(behind)} segments begin behind the audio's end, e.g. "
        what += "; ".join(behind[:SHOWN])
        do = "compare audio and transcripts: they are not of the same conversation"
        raise TopDownError("E_SWBD_TIMES", what, do, DATA)
