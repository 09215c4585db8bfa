"""Do these sets hold what training needs? Every error names utterance, file, line.

Text and audio that ESPnet would accept and then train on wrongly (another sample
rate, wrong case, truncated files, overlapping sets) are errors here. Lists are read as
ESPnet reads them, and text is cut by ESPnet's own tokenizer, which is handed in.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_topdown.data import audio
from espnet_topdown.data._characters import (
    char_name,
    check_hidden,
    warn_two_spellings,
    warn_unusual,
)
from espnet_topdown.data.audio import Source, sources_of
from espnet_topdown.data.kaldi_dir import locate, read_pairs
from espnet_topdown.data.tokens import BLANK, SOS_EOS, UNK, frames_needed
from espnet_topdown.errors import DATA, USAGE, TopDownError, warn
from espnet_topdown.files import sha256

_MAX_UNKNOWN = 0.05  # share of tokens that the model does not know
_MAX_BAD = 0.01  # share of silent or clipped utterances
_FULL_READ_SECONDS = 7200.0
# text -> tokens, as models.text.TextReader.tokens
_Cut = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class Front:
    """What the encoder needs: samples a frame, and frames merged into one output.

    ``min_samples``: shorter utterances cannot be encoded. ``subsampling`` 0 leaves
    the check for CTC out.
    """

    hop: int = 128
    subsampling: int = 0
    min_samples: int = 1

    def outputs(self, samples: int) -> int:
        """Encoder outputs of an utterance, at most: what is refused cannot work.

        Args:
            samples: Of an utterance.

        Returns:
            Frames.
        """
        return math.ceil((samples // self.hop + 1) / max(self.subsampling, 1))


@dataclass
class SetReport:
    """What was seen in a set: its lists, texts, samples an utterance, seconds in all.

    ``full``: every sample was read.
    """

    wav_scp: Path
    text: Path
    texts: dict[str, str]
    samples: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    full: bool = False

    @property
    def depth(self) -> str:
        """How much of the sound was read."""
        if self.full:
            return "every sample read"
        return "headers read, no sound decoded (validate_data --full true does)"


def validate_set(
    wav_scp: Path,
    text: Path,
    *,
    fs: int,
    cut: _Cut,
    token_list: Sequence[str] | None = None,
    shape_files: Sequence[Path] = (),
    allow_pipes: bool = False,
    full: bool | None = None,
    front: Front = Front(),
    is_trained: bool = False,
) -> SetReport:
    """Check one set; the first thing wrong is raised.

    Args:
        wav_scp: The audio; this list, ``text`` and the shape files may be in splits.
        text: The transcripts.
        fs: The sample rate in Hz.
        cut: What turns a transcript into tokens, as training does it.
        token_list: The tokens that the model knows; None leaves that check out.
        shape_files: Of stage 10.
        allow_pipes: Let ``wav.scp`` hold commands; they are not run here.
        full: Read every sample; by default only of sets below two hours.
        front: What the encoder needs.
        is_trained: A model was trained on this text: what cannot be seen is named.

    Returns:
        What was seen.

    Raises:
        TopDownError: E_PATH (64); with 65 E_SET_EMPTY, E_UTT_SETS, E_SHAPE, E_WAV_RATE,
            E_WAV_RATE_ALL, E_WAV_SILENT, E_WAV_CLIPPED, E_WAV_LENGTH, E_WAV_SHORT,
            E_CTC_INFEASIBLE; those of ``check_text`` and ``header``.
    """
    if odd := [p for p in (wav_scp, text, *shape_files) if "," in str(p)]:
        what = f"ESPnet cannot use paths with ',': {odd[0]}"
        raise TopDownError("E_PATH", what, "rename the folder", USAGE)
    wavs, texts = read_pairs(wav_scp, True), read_pairs(text, True)
    if not wavs:
        what = f"{wav_scp} has no lines"
        raise TopDownError("E_SET_EMPTY", what, "check the stage that wrote it", DATA)
    lengths = _check_ids(wavs, text, texts, shape_files)
    needs = check_text(text, texts, cut, token_list, is_trained)
    report = SetReport(wav_scp, text, texts)
    _check_audio(wav_scp, wavs, fs, allow_pipes, full, report)
    _check_lengths(lengths, report.samples)
    _check_front(front, report.samples, needs)
    return report


def check_text(
    path: Path,
    texts: Mapping[str, str],
    cut: _Cut,
    token_list: Sequence[str] | None = None,
    is_trained: bool = False,
) -> dict[str, int]:
    """Check transcripts or sentences as training will read them.

    Args:
        path: The list.
        texts: What it holds.
        cut: What turns a text into tokens, as training does it.
        token_list: The tokens that the model knows; None leaves that check out.
        is_trained: A model was trained on this text: what cannot be seen is named.

    Returns:
        Utterance -> frames that CTC needs for its tokens.

    Raises:
        TopDownError: E_TEXT_TOKENS, E_TEXT_EMPTY, E_TEXT_UNK, E_TEXT_CHAR or E_TOKENS
            (65).
    """
    if not is_trained:
        check_hidden(texts, path)
    warn_unusual(texts, path)
    if token_list is not None:
        _check_token_list(token_list)
    return _check_tokens(path, texts, cut, token_list)


def _check_token_list(tokens: Sequence[str]) -> None:
    """E_TOKENS unless ``<blank>`` is first and the list is one that ESPnet can use."""
    problem = ""
    if not tokens:
        problem = "is empty"
    elif tokens[0] != BLANK:
        problem = f"starts with '{tokens[0]}', not {BLANK}"
    elif UNK not in tokens or SOS_EOS not in tokens:
        problem = f"lacks {UNK if UNK not in tokens else SOS_EOS}"
    elif len(set(tokens)) != len(tokens):
        twice = next(t for i, t in enumerate(tokens) if t in tokens[:i])
        problem = f"has '{twice}' twice"
    if problem:
        do = "run stage 5 again"
        raise TopDownError("E_TOKENS", f"the token list {problem}", do, DATA)


def read_shape(path: Path) -> dict[str, list[int]]:
    """``utt 44800`` or ``utt 33,22``; E_SHAPE names the line that is not numeric.

    Args:
        path: The shape file, or a folder of its parts.

    Returns:
        Utterance -> shape.

    Raises:
        TopDownError: E_SHAPE (65), and those of ``read_pairs``.
    """
    shapes: dict[str, Any] = read_pairs(path, True)
    for utt, value in shapes.items():
        parts = value.split(",")
        if not all(part.isascii() and part.isdigit() for part in parts):
            what = f"{locate(path, utt)} '{value}'"
            raise TopDownError("E_SHAPE", what, "redo stage 10", DATA)
        shapes[utt] = [int(part) for part in parts]
    return shapes


def _check_ids(
    wavs: Mapping[str, str],
    text: Path,
    texts: Mapping[str, str],
    shape_files: Sequence[Path],
) -> dict[Path, dict[str, int]]:
    """Every list has the utterances of the audio.

    Returns:
        Shape file of speech -> utterance -> samples.
    """
    lengths: dict[Path, dict[str, int]] = {}
    differences = _differences(wavs, text, texts)
    for path in shape_files:
        shapes = read_shape(path)
        differences += _differences(wavs, path, shapes)
        if Path(path).name.startswith("speech_shape"):
            lengths[path] = {u: n[0] for u, n in shapes.items() if len(n) == 1}
    if differences:
        do = "run the stage that writes the list again"
        raise TopDownError("E_UTT_SETS", "; ".join(differences), do, DATA)
    return lengths


def _differences(
    wavs: Mapping[str, str], path: Path, pairs: Mapping[str, Any]
) -> list[str]:
    lost, more = wavs.keys() - pairs.keys(), pairs.keys() - wavs.keys()
    sides = (path, lost), (f"wav.scp (against {path})", more)
    return [f"{name} lacks {len(utts)} ({min(utts)})" for name, utts in sides if utts]


def _check_tokens(
    path: Path, texts: Mapping[str, str], cut: _Cut, token_list: Sequence[str] | None
) -> dict[str, int]:
    """Cut every text; E_TEXT_EMPTY where nothing is left to train on.

    Counts what training reads as ``<unk>``: a warning for a few, E_TEXT_UNK above.

    Returns:
        Utterance -> frames that CTC needs.
    """
    known = None if token_list is None else set(token_list)
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}  # token -> utterance
    total, needs = 0, {}
    for utt, words in texts.items():
        try:
            tokens = cut(words)
        except ValueError as e:
            what = f"utt {utt} ({locate(path, utt)}): {e}"
            raise TopDownError("E_TEXT_TOKENS", what, "correct the text", DATA) from e
        if not words or not tokens:
            left = " holds nothing that the cleaner leaves" if words else ""
            what = f"utt {utt} ({locate(path, utt)}){left}"
            raise TopDownError("E_TEXT_EMPTY", what, "leave the utterance out", DATA)
        needs[utt] = frames_needed(tokens)
        total += len(tokens)
        for unit in tokens:
            if known is not None and unit not in known:
                counts[unit] += 1
                first.setdefault(unit, utt)
    unknown = sum(counts.values())
    if unknown:
        shown = ", ".join(
            f"{n} x '{unit}'{_code(unit)} in {first[unit]}"
            for unit, n in counts.most_common(5)
        )
        what = f"{path}: {unknown} of {total} tokens ({100 * unknown / total:.1f} %)"
        what += f" are unknown to the token list: {shown}"
        if unknown > _MAX_UNKNOWN * total:
            do = "check upper and lower case, or make a token list from this text"
            raise TopDownError("E_TEXT_UNK", what, do, DATA)
        warn("W_TEXT_UNK", what)
    return needs


def _code(unit: str) -> str:
    return f" ({char_name(unit)})" if len(unit) == 1 and not unit.isascii() else ""


def _check_audio(
    wav_scp: Path,
    wavs: Mapping[str, str],
    fs: int,
    allow_pipes: bool,
    full: bool | None,
    report: SetReport,
) -> None:
    """Look at what can be read without running a command."""
    counts: Counter[int] = Counter()
    first: dict[int, Source] = {}  # rate -> source
    for source in sources_of(wav_scp, wavs):
        if not (source.is_pipe and allow_pipes):
            report.samples[source.utt], rate = audio.header(source)
            counts[rate] += 1
            first.setdefault(rate, source)
    if not counts:
        return
    _same_rate(first, counts, fs)
    report.seconds = sum(report.samples.values()) / fs
    report.full = report.seconds < _FULL_READ_SECONDS if full is None else full
    faults: dict[str, list[str]] = {"silent": [], "clipped": [], "": []}
    for source in sources_of(wav_scp, wavs) if report.full else ():
        if source.utt in report.samples:
            faults[audio.check_samples(source)].append(source.utt)
    for name in ("silent", "clipped"):
        _few(name.upper(), faults[name], len(report.samples))


def _few(name: str, utts: Sequence[str], total: int) -> None:
    """A warning for one utterance or up to 1 %, an error above."""
    if not utts:
        return
    what = f"{len(utts)} of {total} utterances: {', '.join(utts[:10])}"
    if len(utts) > max(1, _MAX_BAD * total):
        raise TopDownError(f"E_WAV_{name}", what, "leave them out", DATA)
    warn(f"W_WAV_{name}", what)


def _same_rate(first: Mapping[int, Source], counts: Counter[int], fs: int) -> None:
    """E_WAV_RATE for some files, E_WAV_RATE_ALL when the set has one other rate."""
    if set(counts) == {fs}:
        return
    do = "run stage 3 again, or correct fs"
    if len(counts) == 1:
        what = f"files {min(counts)} Hz, config fs {fs}"
        raise TopDownError("E_WAV_RATE_ALL", what, do, DATA)
    usual = fs if fs in counts else counts.most_common(1)[0][0]
    rate = next(rate for rate in first if rate != usual)
    what = f"{first[rate].where} {rate} Hz, others {usual}"
    raise TopDownError("E_WAV_RATE", what, do, DATA)


def _check_lengths(
    lengths: Mapping[Path, Mapping[str, int]], samples: Mapping[str, int]
) -> None:
    for path, listed in lengths.items():
        for utt, n in samples.items():
            if listed.get(utt, n) != n:
                what = f"utt {utt}: {n} samples, {locate(path, utt)} says {listed[utt]}"
                raise TopDownError("E_WAV_LENGTH", what, "redo stage 10", DATA)


def _check_front(
    front: Front, samples: Mapping[str, int], needs: Mapping[str, int]
) -> None:
    for utt, n in samples.items():
        if n < front.min_samples:
            what = f"utt {utt}: {n} samples, need at least {front.min_samples}"
            raise TopDownError("E_WAV_SHORT", what, "leave the utterance out", DATA)
    if not front.subsampling:
        return
    short = []
    for utt, n in samples.items():
        if needs[utt] > front.outputs(n):
            short.append(f"{utt} needs {needs[utt]}, has {front.outputs(n)}")
    if short:
        what = f"{len(short)} of {len(samples)} utterances ({short[0]})"
        do = "leave them out, or use an encoder with less subsampling"
        raise TopDownError("E_CTC_INFEASIBLE", what, do, DATA)


def validate_sets(
    train: Path | None = None,
    dev: Path | None = None,
    test: Sequence[Path] = (),
    texts: Sequence[Path] = (),
    stats_dir: Path | None = None,
    allow_overlap: bool = False,
    check_speakers: bool = False,
    **options: Any,
) -> list[SetReport]:
    """Validate every set named, print a line each, then look for overlap.

    Shapes are compared where ``stats_dir`` has them: ``train`` and ``valid``. Only
    training and validation need an encoder that is fast enough for CTC.

    Args:
        train: Data directory.
        dev: Data directory.
        test: Data directories.
        texts: Lists of sentences, of a language model.
        stats_dir: Of stage 10.
        allow_overlap: Do not look for overlap.
        check_speakers: Sets must not share speakers.
        options: Of ``validate_set``: ``fs``, ``cut``, ``token_list``, ``front``, ...

    Returns:
        What was seen, in the order of these.

    Raises:
        TopDownError: E_USAGE (64) without a set, E_DEV_EMPTY (65), and those of
            ``validate_set`` and ``compare_sets``.
    """
    tests = [("test", t) for t in dict.fromkeys(test) if t != dev]  # WSJ decodes it too
    roles = [("train", train), ("dev", dev), *tests]
    folders = [(role, Path(f)) for role, f in roles if f is not None]
    if not (folders or texts):
        do = "give --train, --dev, --test or --texts"
        raise TopDownError("E_USAGE", "no set to check", do, USAGE)
    reports = [_validate(role, f, stats_dir, **options) for role, f in folders]
    sentences = {path: _validate_text(path, **options) for path in texts}
    compare_sets(reports, allow_overlap, check_speakers, sentences)
    return reports


def _validate(
    role: str,
    folder: Path,
    stats_dir: Path | None,
    front: Front = Front(),
    **options: Any,
) -> SetReport:
    """Validate a set and print a line about it.

    Returns:
        What was seen; ``samples`` is empty where all audio comes from commands.
    """
    shapes: list[Path] = []
    if role not in ("train", "dev"):  # it is only decoded
        front = Front(front.hop, 0, front.min_samples)
    elif stats_dir is not None:
        part = Path(stats_dir) / ("train" if role == "train" else "valid")
        shapes = [part / "speech_shape", part / "text_shape"]
    lists = folder / "wav.scp", folder / "text"
    try:
        report = validate_set(*lists, shape_files=shapes, front=front, **options)
    except TopDownError as e:
        if role != "dev" or e.code != "E_SET_EMPTY":
            raise
        what = f"{folder} has no utterances to choose models by"
        raise TopDownError("E_DEV_EMPTY", what, "give another --dev", DATA) from None
    seconds = [n / options["fs"] for n in report.samples.values()] or [0.0]
    print(
        f"{folder}: {len(report.texts)} utterances, {report.seconds:.1f} s"
        f" ({min(seconds):.2f} to {max(seconds):.2f}), {report.depth}: good",
        flush=True,
    )
    return report


def _validate_text(
    path: Path, cut: _Cut, token_list: Sequence[str] | None = None, **of_sound: Any
) -> dict[str, str]:
    texts = read_pairs(path, as_espnet=True)
    check_text(path, texts, cut, token_list)
    print(f"{path}: {len(texts)} sentences: good", flush=True)
    return texts


def compare_sets(
    reports: Collection[SetReport],
    allow_overlap: bool = False,
    speakers: bool = False,
    sentences: Mapping[Path, Mapping[str, str]] | None = None,
) -> None:
    """Refuse sets that share something; name letters that they write in two ways.

    The bytes of the audio are compared where every sample of all sets was read.

    Args:
        reports: Of the sets.
        allow_overlap: They may share utterances.
        speakers: Compare ``utt2spk``: a corpus of one speaker is a fair corpus.
        sentences: More lists, of a language model: list -> line -> text.

    Raises:
        TopDownError: E_OVERLAP (65), and those of ``audio_path``.
    """
    warn_two_spellings({**{r.text: r.texts for r in reports}, **(sentences or {})})
    if not allow_overlap and len(reports) > 1:
        sets = [report.wav_scp for report in reports]
        _check_overlap(sets, all(report.full for report in reports), speakers)


def _check_overlap(sets: Sequence[Path], recordings: bool, speakers: bool) -> None:
    wavs = {path: read_pairs(path) for path in sets}
    _compare([(p, {u: u for u in wavs[p]}) for p in sets], "utterances")
    if speakers:
        lists = {path: read_pairs(path.parent / "utt2spk") for path in sets}
        _compare([(p, {s: s for s in lists[p].values()}) for p in sets], "speakers")
    if recordings:
        _compare([(p, _digests(p, wavs[p])) for p in sets], "recordings")


def _digests(path: Path, wavs: Mapping[str, str]) -> dict[str, str]:
    files = (source for source in sources_of(path, wavs) if not source.is_pipe)
    return {sha256(audio.audio_path(source)): source.utt for source in files}


def _compare(sets: Sequence[tuple[Path, Mapping[str, str]]], what: str) -> None:
    """What is the same in two sets; the values are its names."""
    for (a, names_a), (b, names_b) in itertools.combinations(sets, 2):
        both = names_a.keys() & names_b.keys()
        if both:
            names = ", ".join(sorted(names_a[key] for key in both)[:3])
            shared = f"{len(both)} {what} in both {a} and {b} ({names})"
            do = "split the data again, or give --allow_overlap true"
            raise TopDownError("E_OVERLAP", shared, do, DATA)
