"""Does this set hold what training needs? Every error names utterance, file, line.

Text and audio that ESPnet would accept and then train on wrongly (another sample
rate, wrong case, truncated files, overlapping sets) are errors here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_topdown.data import wav_checks
from espnet_topdown.data.kaldi_dir import line_of, read_pairs
from espnet_topdown.data.tokens import check_tokens
from espnet_topdown.data.wav_io import Source, refuse_pipe
from espnet_topdown.errors import DATA, USAGE, TopDownError, warn

MAX_UNKNOWN = 0.05  # share of characters that no token covers
MAX_BAD = 0.01  # share of silent or clipped utterances
FULL_READ_SECONDS = 7200.0


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
        """Encoder outputs of an utterance, at most: what is refused cannot work."""
        return math.ceil((samples // self.hop + 1) / max(self.subsampling, 1))


@dataclass
class SetReport:
    """What was seen in a set. ``full``: every sample was read."""

    utterances: int = 0
    seconds: float = 0.0
    shortest: float = 0.0
    longest: float = 0.0
    full: bool = False
    unknown: int = 0
    samples: dict[str, int] = field(default_factory=dict, repr=False)
    silent: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)


def validate_set(
    wav_scp: Path,
    text: Path,
    *,
    fs: int,
    shape_files: Sequence[Path] = (),
    token_list: Sequence[str] | None = None,
    allow_pipes: bool = False,
    root: Path = Path("."),
    full: bool | None = None,
    token_type: str = "char",
    front: Front | None = None,
    nlsyms: Sequence[str] = (),
) -> SetReport:
    """Check one set; the first thing wrong is raised.

    ``fs`` in Hz; relative audio paths start at ``root``; ``full`` reads every sample
    (by default only of sets below two hours). Each of ``nlsyms``, non-linguistic
    symbols such as ``<NOISE>``, is one token.
    """
    for path in (wav_scp, text, *shape_files):
        _no_comma(path)
    wavs, texts = read_pairs(wav_scp), read_pairs(text)
    if not wavs:
        do = "check the stage that wrote it"
        raise TopDownError("E_SET_EMPTY", f"{wav_scp} has no lines", do, DATA)
    shapes = [read_shape(path) for path in shape_files]
    _same_ids(wavs, {str(text): texts, **dict(zip(map(str, shape_files), shapes))})
    report = SetReport(utterances=len(wavs))
    tokens = {utt: list(units(t, token_type, nlsyms)) for utt, t in texts.items()}
    _check_texts(text, texts, tokens, token_list, token_type, report)
    sources = _files(wav_scp, wavs, allow_pipes)
    _check_audio(sources, root, fs, full, report)
    for path, shape in zip(shape_files, shapes):
        if Path(path).name.startswith("speech_shape"):
            _check_lengths(path, shape, report.samples)
    _check_front(front or Front(), report.samples, tokens, token_type)
    return report


def _files(wav_scp: Path, wavs: Mapping[str, str], allow_pipes: bool) -> list[Source]:
    """What can be looked at without running a command."""
    sources = [
        Source(utt, value, f"utt {utt} ({wav_scp} line {n})")
        for n, (utt, value) in enumerate(wavs.items(), 1)
    ]
    for source in sources:
        if source.is_pipe and not allow_pipes:
            refuse_pipe(source)
    return [source for source in sources if not source.is_pipe]


def _no_comma(path: Path) -> None:
    if "," in str(path):
        what = f"ESPnet cannot use paths with ',': {path}"
        raise TopDownError("E_PATH", what, "rename the folder", USAGE)


def read_shape(path: Path) -> dict[str, list[int]]:
    """``utt 44800`` or ``utt 33,22``; E_SHAPE names the line that is not numeric."""
    shapes = {}
    for utt, value in read_pairs(path).items():
        parts = value.split(",")
        if not all(part.isascii() and part.isdigit() for part in parts):
            what = f"{path} line {line_of(path, utt)} '{value}'"
            raise TopDownError("E_SHAPE", what, "redo stage 10", DATA)
        shapes[utt] = [int(part) for part in parts]
    return shapes


def _same_ids(wavs: Mapping[str, str], others: Mapping[str, Mapping]) -> None:
    differences = []
    for name, pairs in others.items():
        for lacking, missing in (
            (name, wavs.keys() - pairs.keys()),
            (f"wav.scp (against {name})", pairs.keys() - wavs.keys()),
        ):
            if missing:
                differences.append(f"{lacking} lacks {len(missing)} ({min(missing)})")
    if differences:
        do = "run the stage that writes the list again"
        raise TopDownError("E_UTT_SETS", "; ".join(differences), do, DATA)


def _check_texts(
    path: Path,
    texts: Mapping[str, str],
    tokens: Mapping[str, Sequence[str]],
    token_list: Sequence[str] | None,
    token_type: str,
    report: SetReport,
) -> None:
    for utt, words in texts.items():
        if not words.strip():
            what = f"utt {utt} ({path} line {line_of(path, utt)})"
            raise TopDownError("E_TEXT_EMPTY", what, "leave the utterance out", DATA)
    if token_list is None:
        return
    check_tokens(token_list, "the token list")
    known = set(token_list)
    if token_type == "bpe":
        known = {char for token in token_list[2:-1] for char in token}
    total, first = 0, ""
    for utt, cut in tokens.items():
        for unit in cut:
            total += 1
            if unit not in known:
                report.unknown += 1
                first = first or f"'{unit}' in {utt}"
    if report.unknown > MAX_UNKNOWN * total:
        percent = 100 * report.unknown / total
        kind = "words" if token_type == "word" else "characters"
        what = f"{path}: {percent:.0f} % of {kind} unknown (first: {first})"
        do = "check upper and lower case, or make a token list from this text"
        raise TopDownError("E_TEXT_UNK", what, do, DATA)


def units(words: str, token_type: str, nlsyms: Sequence[str] = ()) -> Iterator[str]:
    """What the token list must know: words, or characters with a name for space.

    >>> list(units("<NOISE> A", "char", ["<NOISE>"]))
    ['<NOISE>', '<space>', 'A']
    """
    if token_type == "word":
        yield from words.split()
        return
    space = "<space>" if token_type == "char" else "▁"
    whole = sorted(filter(None, nlsyms), key=len, reverse=True)
    if token_type == "bpe":
        whole = []
    at = 0
    while at < len(words):
        char = words[at]
        found = next((s for s in whole if words.startswith(s, at)), "")
        yield found or (space if char == " " else char)
        at += len(found) or 1


def _check_audio(
    sources: Sequence[Source],
    root: Path,
    fs: int,
    full: bool | None,
    report: SetReport,
) -> None:
    headers = [(s, wav_checks.header(s, root)) for s in sources]
    if not headers:
        return
    wav_checks.same_rate([(s, info.samplerate) for s, info in headers], fs)
    report.samples = {s.utt: info.frames for s, info in headers}
    lengths = [info.frames / fs for _, info in headers]
    report.seconds, report.shortest = sum(lengths), min(lengths)
    report.longest = max(lengths)
    report.full = report.seconds < FULL_READ_SECONDS if full is None else full
    if not report.full:
        return
    for source, info in headers:
        fault = wav_checks.read_all(source, root, info.frames)
        if fault:
            (report.silent if fault == "silent" else report.clipped).append(source.utt)
    for name, utts in (("SILENT", report.silent), ("CLIPPED", report.clipped)):
        _few(name, utts, len(sources))


def _few(name: str, utts: Sequence[str], total: int) -> None:
    """A warning for one utterance or up to 1 %, an error above."""
    if not utts:
        return
    what = f"{len(utts)} of {total} utterances: {', '.join(utts[:10])}"
    if len(utts) > max(1, MAX_BAD * total):
        raise TopDownError(f"E_WAV_{name}", what, "leave them out", DATA)
    warn(f"W_WAV_{name}", what)


def _check_lengths(
    path: Path, shape: Mapping[str, Sequence[int]], samples: Mapping[str, int]
) -> None:
    for utt, n in samples.items():
        if len(shape[utt]) == 1 and shape[utt][0] != n:
            what = f"utt {utt}: {n} samples, {path} line {line_of(path, utt)} says"
            what += f" {shape[utt][0]}"
            raise TopDownError("E_WAV_LENGTH", what, "redo stage 10", DATA)


def _check_front(
    front: Front,
    samples: Mapping[str, int],
    tokens: Mapping[str, Sequence[str]],
    token_type: str,
) -> None:
    for utt, n in samples.items():
        if n < front.min_samples:
            what = f"utt {utt}: {n} samples, need at least {front.min_samples}"
            raise TopDownError("E_WAV_SHORT", what, "leave the utterance out", DATA)
    if not front.subsampling or token_type == "bpe":
        return
    short = []
    for utt, n in samples.items():
        cut = tokens[utt]
        need = len(cut) + sum(a == b for a, b in zip(cut, cut[1:]))
        if need > front.outputs(n):
            short.append(f"{utt} needs {need}, has {front.outputs(n)}")
    if short:
        what = f"{len(short)} of {len(samples)} utterances ({short[0]})"
        do = "leave them out, or use an encoder with less subsampling"
        raise TopDownError("E_CTC_INFEASIBLE", what, do, DATA)
